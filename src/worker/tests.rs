use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::addr::Proto;
use crate::addr::{PortRange, Pref64, Transport4, Transport6, ZoneId};
use crate::device::memory::{self, Frame, MemoryDevice, MemoryPeer};
use crate::device::{BATCH_BYTES, Offloads, Waker};
use crate::nat64;
use crate::reason::Reason;
use crate::translator::{Event, SessionRecord};
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::xlat;

/// Timeout that no test reaches.
const LONG: Duration = Duration::from_secs(20);

fn settings(worker: u8, workers: u8) -> Settings {
    let limits = nat64::Limits {
        sessions: 64,
        bindings: 64,
        blocks: 16,
        hosts: 16,
        fragment_bytes: 64 << 10,
        unsolicited_syns: 8,
        unsolicited_syns_per_source: 2,
        events: 8,
    };
    Settings {
        worker: WorkerId(worker),
        workers,
        seed: 1,
        owner_seed: 1,
        local: Default::default(),
        rules: xlat::RewriteRules::default(),
        siit: None,
        nat64: nat64::Settings {
            zones: Vec::new(),
            pools: Vec::new(),
            unsolicited_syn: nat64::UnsolicitedSyn::Drop,
            limits,
            address6: Ipv6Addr::LOCALHOST,
            address4: Ipv4Addr::LOCALHOST,
            ..nat64::Settings::default()
        },
    }
}

fn memory() -> (MemoryDevice, MemoryPeer) {
    memory::pair(1024).expect("eventfd")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(future)
}

/// A device whose `recv` calls the given function, and whose filter has dropped packets.
struct Faulty<F> {
    recv: F,
    filtered: u64,
    tallies: Arc<Tallies>,
}

/// A device whose `recv` calls the given function.
fn faulty<F>(recv: F) -> Faulty<F> {
    Faulty { recv, filtered: 0, tallies: Arc::default() }
}

impl<F: FnMut() -> io::Result<usize> + Send> Device for Faulty<F> {
    fn recv(&mut self, _: &mut [PacketBuf]) -> io::Result<usize> {
        (self.recv)()
    }

    fn filtered(&mut self) -> u64 {
        std::mem::take(&mut self.filtered)
    }

    fn send(&mut self, packets: &[&PacketBuf]) -> usize {
        packets.len()
    }

    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
        waker.sleep(None, timeout)
    }

    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }
}

#[test]
fn waiting_packets_are_read_before_a_worker_stops() {
    let (device, peer) = memory();
    let assignment =
        Assignment { settings: settings(0, 1), device: Box::new(device), saved: Saved::default() };
    let started = start(vec![assignment], 1, 8).expect("starts");
    assert!(peer.inject(Frame::plain(vec![0; 40])));
    let tallies = started.workers.tallies();
    started.workers.stop(LONG);
    assert_eq!(tallies[0].received.read(), 1);
}

/// Settings that translate 2001:db8:1::/64 to 192.0.2.1.
fn translating(worker: u8, workers: u8) -> Settings {
    let mut settings = settings(worker, workers);
    settings.nat64.zones.push(nat64::Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec![Pref64::WELL_KNOWN],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 1024,
        sessions_per_host: 16,
        bindings_per_second: 0,
    });
    let address = "192.0.2.1".parse().expect("literal");
    settings.nat64.pools.push(nat64::Pool { ranges: vec![(address, PortRange::ALL)] });
    settings
}

#[test]
fn a_stop_translates_what_waits_in_the_queue() {
    // More than several batches.
    const WAITING: u16 = 300;
    let (device, peer) = memory();
    let to = Pref64::WELL_KNOWN.embed(Ipv4Addr::new(8, 8, 8, 8)).octets();
    for number in 0..WAITING {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number / 50);
        let mut query = Vec::new();
        let builder = etherparse::PacketBuilder::ipv6(client.octets(), to, 64).udp(5000, 53);
        builder.write(&mut query, b"question").expect("fits");
        assert!(peer.inject(Frame::plain(query)));
    }
    let mut settings = translating(0, 1);
    (settings.nat64.limits.sessions, settings.nat64.limits.bindings) = (1000, 1000);
    let assignment = Assignment { settings, device: Box::new(device), saved: Saved::default() };
    let started = start(vec![assignment], 1, 8).expect("starts");
    started.workers.stop(LONG);
    let mut out = Default::default();
    assert_eq!(peer.take_all(&mut out), usize::from(WAITING));
    assert!(out.iter().all(|frame| frame.bytes[0] == 0x45));
}

#[test]
fn drops_of_the_overload_filter_have_a_reason() {
    let device = Box::new(Faulty { filtered: 7, ..faulty(|| Ok(0)) });
    let assignment = Assignment { settings: settings(0, 1), device, saved: Saved::default() };
    let started = start(vec![assignment], 1, 8).expect("starts");
    let counters = started.workers.counters();
    started.workers.stop(LONG);
    assert_eq!(counters[0].drops(Reason::Overload), 7);
}

#[test]
fn a_packet_at_the_wrong_worker_is_handed_to_its_owner() {
    const WORKERS: u8 = 3;
    let (devices, peers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| memory()).unzip();
    let assignments = devices.into_iter().zip(0..).map(|(device, worker)| Assignment {
        saved: Saved::default(),
        settings: translating(worker, WORKERS),
        device: Box::new(device),
    });
    let started = start(assignments.collect(), 1, 64).expect("starts");
    let owners = translating(0, WORKERS).nat64.owners(1, WORKERS);
    let server = Ipv4Addr::new(8, 8, 8, 8);
    for host in 1..10u16 {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host);
        let owner = owners.source(client).0;
        let wrong = &peers[usize::from((owner + 1) % WORKERS)];
        let mut query = Vec::new();
        let to = Pref64::WELL_KNOWN.embed(server).octets();
        let builder = etherparse::PacketBuilder::ipv6(client.octets(), to, 64).udp(5000 + host, 53);
        builder.write(&mut query, b"question").expect("fits");
        assert!(wrong.inject(Frame::plain(query)));
        let out = peers[usize::from(owner)].take(LONG).expect("from its owner");
        let port = u16::from_be_bytes([out.bytes[20], out.bytes[21]]);

        let mut answer = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4(server.octets(), [192, 0, 2, 1], 64).udp(53, port);
        builder.write(&mut answer, b"answer").expect("fits");
        assert!(wrong.inject(Frame::plain(answer)));
        let back = peers[usize::from(owner)].take(LONG).expect("from the same");
        assert_eq!(back.bytes[24..40], client.octets());
        assert!(back.bytes.ends_with(b"answer"));
    }
    let counters = started.workers.counters();
    started.workers.stop(LONG);
    assert_eq!(counters.iter().map(|c| c.handed_over.read()).sum::<u64>(), 18);
    assert_eq!(counters.iter().map(|c| c.drops(Reason::RingFull)).sum::<u64>(), 0);
    let mut events = started.events;
    assert!(matches!(block_on(events.recv()).expect("an event").event, Event::BlockAssigned { .. }));
}

/// Linux sends UDP super-packets without DF: each of their datagrams becomes two fragments.
#[test]
fn the_fragments_of_a_full_batch_fit() {
    const SIZE: usize = 1400;
    const EACH: usize = 44;
    let mut settings = translating(0, 1);
    settings.nat64.statics.push(nat64::StaticBinding {
        proto: Proto::Udp,
        v6: Transport6 { addr: "2001:db8:1::53".parse().expect("literal"), port: 53 },
        v4: Transport4 { addr: Ipv4Addr::new(192, 0, 2, 1), port: 53 },
    });
    let mut bytes = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([8, 8, 8, 8], [192, 0, 2, 1], 64).udp(5000, 53);
    builder.write(&mut bytes, &[7; SIZE * EACH]).expect("fits");
    // etherparse sets DF.
    let (sum, carry) = u16::from_be_bytes([bytes[10], bytes[11]]).overflowing_add(0x4000);
    bytes[6] = 0;
    bytes[10..12].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    let offload =
        Offload { segmentation: Segmentation::Udp { size: SIZE as u16 }, checksum: Checksum::Verified };
    let many = BATCH_BYTES / bytes.len() + 1;
    let (device, peer) = memory();
    for _ in 0..many {
        assert!(peer.inject(Frame { bytes: bytes.clone(), offload }));
    }
    let assignment = Assignment { settings, device: Box::new(device), saved: Saved::default() };
    let started = start(vec![assignment], 1, 8).expect("starts");
    let counters = started.workers.counters();
    started.workers.stop(LONG);
    let mut out = Default::default();
    assert_eq!((peer.take_all(&mut out), counters[0].drops(Reason::ExtraFull)), (2 * EACH * many, 0));
}

#[test]
fn the_outgoing_list_keeps_its_allocation() {
    let buf = PacketBuf::new(10);
    let mut outgoing = run::SendList::default();
    let mut list = outgoing.lend();
    list.resize(100, &buf);
    let (start, capacity) = (list.as_ptr(), list.capacity());
    outgoing.return_list(list);
    let again = outgoing.lend();
    assert_eq!((again.as_ptr(), again.capacity()), (start, capacity));
}

#[test]
fn all_workers_switch_before_reconfigure_returns() {
    let assignments = (0..2).map(|w| Assignment {
        settings: settings(w, 2),
        device: Box::new(memory().0),
        saved: Saved::default(),
    });
    let started = start(assignments.collect(), 1, 8).expect("starts");
    let new = vec![settings(0, 2), settings(1, 2)];
    assert_eq!(block_on(started.workers.reconfigure(new)), Ok(()));
    assert_eq!(started.workers.stop(LONG).len(), 2);
}

#[test]
fn a_panic_is_reported_and_other_workers_continue() {
    let panicking = faulty(|| panic!("as planned"));
    let assignments = vec![
        Assignment { settings: settings(0, 2), device: Box::new(panicking), saved: Saved::default() },
        Assignment { settings: settings(1, 2), device: Box::new(memory().0), saved: Saved::default() },
    ];
    let mut started = start(assignments, 1, 8).expect("starts");
    let failure = block_on(started.failures.recv()).expect("reported");
    assert_eq!(failure.worker, WorkerId(0));
    assert!(matches!(failure.cause, Cause::Panic(text) if text == "as planned"));
    let new = vec![settings(0, 2), settings(1, 2)];
    assert_eq!(block_on(started.workers.reconfigure(new)), Err(WorkerId(0)));
    assert_eq!(started.workers.stop(LONG).len(), 2, "both devices are returned");
}

#[test]
fn a_failing_device_is_reported_once() {
    let mut calls = 0;
    let fails_twice = move || {
        calls += 1;
        if calls < 3 { Err(io::Error::from_raw_os_error(libc::EBADFD)) } else { Ok(0) }
    };
    let device = Box::new(faulty(fails_twice));
    let mut started =
        start(vec![Assignment { settings: settings(0, 1), device, saved: Saved::default() }], 1, 8)
            .expect("starts");
    let failure = block_on(started.failures.recv()).expect("reported");
    assert!(matches!(failure.cause, Cause::Device(e) if e.raw_os_error() == Some(libc::EBADFD)));
    started.workers.stop(LONG);
    assert!(started.failures.try_recv().is_err());
}

#[test]
fn dropped_workers_stop() {
    let started = start(
        vec![Assignment { settings: settings(0, 1), device: Box::new(memory().0), saved: Saved::default() }],
        1,
        8,
    )
    .expect("starts");
    let mut failures = started.failures;
    drop(started.workers);
    assert!(block_on(failures.recv()).is_none(), "the thread has dropped its sender");
}

/// Sends a query of a client; returns the packet to the server.
fn query(peer: &MemoryPeer) -> Frame {
    let to = Pref64::WELL_KNOWN.embed(Ipv4Addr::new(8, 8, 8, 8)).octets();
    let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets();
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ipv6(client, to, 64).udp(5000, 53).write(&mut bytes, b"?").expect("fits");
    assert!(peer.inject(Frame::plain(bytes)));
    peer.take(LONG).expect("translated")
}

/// Starts a worker that saves its sessions to `file`.
fn start_saving(file: std::fs::File, sessions: Vec<SessionRecord>) -> (Started, MemoryPeer, Arc<Progress>) {
    let (device, peer) = memory();
    let progress = Arc::new(Progress::default());
    let target = Target { file, owner_seed: 9, boot: [1; 16], progress: progress.clone() };
    let saved = Saved { sessions, snapshot: Some(target), ..Saved::default() };
    let assignment = Assignment { settings: translating(0, 1), device: Box::new(device), saved };
    (start(vec![assignment], 1, 8).expect("starts"), peer, progress)
}

fn read_saved(file: &std::fs::File) -> Vec<SessionRecord> {
    use std::io::Seek;
    let mut file = file.try_clone().expect("a descriptor");
    file.rewind().expect("a file");
    let mut reader = state::Reader::new(file).expect("a header");
    let now = reader.header().clock + moment([1; 16]).since(&reader.header().written);
    let mut sessions = Vec::new();
    while let Some(saved) = reader.next_session().expect("readable") {
        sessions.extend(saved.at(now));
    }
    assert_eq!((reader.header().owner_seed, reader.skipped()), (9, (0, 0)));
    sessions
}

#[test]
fn sessions_are_saved_at_the_end_and_restored() {
    let file = tempfile::tempfile().expect("a file");
    let (started, peer, _) = start_saving(file.try_clone().expect("a descriptor"), Vec::new());
    let sent = query(&peer);
    started.workers.stop(LONG);
    let sessions = read_saved(&file);
    assert_eq!((sessions.len(), sessions[0].packets), (1, [1, 0]));
    assert!(sessions[0].remaining > Duration::from_secs(200), "{sessions:?}");

    let next = tempfile::tempfile().expect("a file");
    let outside_all_zones =
        SessionRecord { v6: Transport6::new("2001:db8:2::1".parse().expect("literal"), 9), ..sessions[0] };
    let (started, peer, _) =
        start_saving(next.try_clone().expect("a descriptor"), vec![sessions[0], outside_all_zones]);
    let restored = started.workers.restored();
    assert_eq!((restored.sessions, restored.refused.get("no_zone").copied()), (1, Some(1)), "{restored:?}");
    let port = u16::from_be_bytes([sent.bytes[20], sent.bytes[21]]);
    let mut answer = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([8, 8, 8, 8], [192, 0, 2, 1], 64).udp(53, port);
    builder.write(&mut answer, b"answer").expect("fits");
    assert!(peer.inject(Frame::plain(answer)));
    assert!(peer.take(LONG).expect("to the client").bytes.ends_with(b"answer"));
    assert_eq!(query(&peer).bytes[20..22], sent.bytes[20..22], "the outside port stays");
    started.workers.stop(LONG);
    assert_eq!(read_saved(&next)[0].packets, [2, 1], "its counters go on");
}

/// After a kill, the file has what the running worker wrote.
#[test]
fn a_running_worker_saves_its_sessions() {
    let file = tempfile::tempfile().expect("a file");
    let (started, peer, progress) = start_saving(file.try_clone().expect("a descriptor"), Vec::new());
    query(&peer);
    let before = progress.sweeps.read();
    // An idle worker wakes up for it.
    while progress.sweeps.read() < before + 2 {
        std::thread::yield_now();
    }
    assert_eq!(read_saved(&file).len(), 1);
    started.workers.stop(LONG);
    assert_eq!(progress.failures.read(), 0);
}

#[test]
fn failed_writes_are_counted() {
    let read_only = std::fs::File::open("/dev/null").expect("a file");
    let (device, _peer) = memory();
    let target = Target { file: read_only, owner_seed: 9, boot: [1; 16], progress: Arc::default() };
    let saved = Saved { snapshot: Some(target), ..Saved::default() };
    let assignment = Assignment { settings: settings(0, 1), device: Box::new(device), saved };
    assert!(start(vec![assignment], 1, 8).is_err(), "the header cannot be written");
}
