use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::device::memory::{self, Frame, MemoryDevice, MemoryPeer};
use crate::device::{Offloads, Waker};
use crate::nat64;
use crate::wire::buf::PacketBuf;
use crate::xlat;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn settings(worker: u8, workers: u8) -> Settings {
    let limits = nat64::Limits {
        sessions: 64,
        bindings: 64,
        blocks: 16,
        hosts: 16,
        hold_bytes: 64 << 10,
        unsolicited_syns: 8,
        unsolicited_syns_per_source: 2,
        events: 8,
    };
    Settings {
        worker: WorkerId(worker),
        workers,
        seed: 1,
        owner_seed: 1,
        rules: xlat::Rules::default(),
        nat64: nat64::Settings {
            zones: Vec::new(),
            pools: Vec::new(),
            statics: Vec::new(),
            deny: Vec::new(),
            private_under_well_known: false,
            filtering: [nat64::Filtering::EndpointIndependent; 3],
            unsolicited_syn: nat64::UnsolicitedSyn::Drop,
            inbound_refresh: true,
            parity: true,
            timers: nat64::Timers::default(),
            limits,
            address6: Ipv6Addr::LOCALHOST,
            address4: Ipv4Addr::LOCALHOST,
        },
    }
}

fn memory() -> (MemoryDevice, MemoryPeer) {
    memory::pair(1024).expect("eventfd")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(future)
}

/// Does in `recv` what it is told to.
struct Faulty<F>(F, Arc<Tallies>);

impl<F: FnMut() -> io::Result<usize> + Send> Device for Faulty<F> {
    fn recv(&mut self, _: &mut [PacketBuf]) -> io::Result<usize> {
        (self.0)()
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
        &self.1
    }
}

#[test]
fn what_waits_is_read_before_a_worker_stops() {
    let (device, peer) = memory();
    let assignment = Assignment { settings: settings(0, 1), device: Box::new(device) };
    let started = start(vec![assignment], 1, 8).expect("starts");
    assert!(peer.inject(Frame::plain(vec![0; 40])));
    let tallies = started.workers.tallies();
    started.workers.stop(LONG);
    assert_eq!(tallies[0].received.read(), 1);
}

#[test]
fn all_workers_switch_before_reconfigure_returns() {
    let assignments = (0..2).map(|w| Assignment { settings: settings(w, 2), device: Box::new(memory().0) });
    let started = start(assignments.collect(), 1, 8).expect("starts");
    let new = vec![settings(0, 2), settings(1, 2)];
    assert_eq!(block_on(started.workers.reconfigure(new)), Ok(()));
    assert_eq!(started.workers.stop(LONG).len(), 2);
}

#[test]
fn a_panic_is_reported_and_the_others_go_on() {
    let faulty = Faulty(|| panic!("as planned"), Arc::default());
    let assignments = vec![
        Assignment { settings: settings(0, 2), device: Box::new(faulty) },
        Assignment { settings: settings(1, 2), device: Box::new(memory().0) },
    ];
    let mut started = start(assignments, 1, 8).expect("starts");
    let failure = block_on(started.failures.recv()).expect("reported");
    assert_eq!(failure.worker, WorkerId(0));
    assert!(matches!(failure.cause, Cause::Panic(text) if text == "as planned"));
    let new = vec![settings(0, 2), settings(1, 2)];
    assert_eq!(block_on(started.workers.reconfigure(new)), Err(WorkerId(0)));
    assert_eq!(started.workers.stop(LONG).len(), 2, "both devices come back");
}

#[test]
fn a_failing_device_is_reported_once_a_streak() {
    let mut calls = 0;
    let faulty = move || {
        calls += 1;
        if calls < 3 { Err(io::Error::from_raw_os_error(libc::EBADFD)) } else { Ok(0) }
    };
    let device = Box::new(Faulty(faulty, Arc::default()));
    let mut started = start(vec![Assignment { settings: settings(0, 1), device }], 1, 8).expect("starts");
    let failure = block_on(started.failures.recv()).expect("reported");
    assert!(matches!(failure.cause, Cause::Device(e) if e.raw_os_error() == Some(libc::EBADFD)));
    started.workers.stop(LONG);
    assert!(started.failures.try_recv().is_err());
}

#[test]
fn dropped_workers_end() {
    let started = start(vec![Assignment { settings: settings(0, 1), device: Box::new(memory().0) }], 1, 8)
        .expect("starts");
    let mut failures = started.failures;
    drop(started.workers);
    assert!(block_on(failures.recv()).is_none(), "the thread has let go of its end");
}
