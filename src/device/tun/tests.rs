use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::device::BATCH;
use crate::device::own_network::{own_network, run};
use crate::wire::buf::{Checksum, MAX_PACKET, Offload};

const LONG: Duration = Duration::from_secs(20);

fn settings(queues: u8, offloads: bool) -> Settings {
    Settings { name: "gate%d".into(), queues, mtu: 1500, offloads }
}

fn opened(queues: u8, offloads: bool) -> (Interface, Vec<Queue>) {
    let (interface, queues) = open(&settings(queues, offloads), Vec::new()).expect("opens");
    run(&format!("ip addr add 10.9.0.1/24 dev {}", interface.name()));
    run(&format!("ip -6 addr add 2001:db8:9::1/64 dev {} nodad", interface.name()));
    (interface, queues)
}

/// Swaps source and destination, so that the packet returns as if from its receiver. The checksum
/// stays correct.
fn swap_addresses(packet: &mut PacketBuf) {
    let bytes = packet.bytes_mut();
    let (at, len) = if bytes[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    let (src, dst) = bytes[at..at + 2 * len].split_at_mut(len);
    src.swap_with_slice(dst);
}

/// Returns all packets to their sender until `end` is set.
fn reflect(mut queue: Queue, waker: &Waker, end: &AtomicBool) {
    let mut packets: Vec<_> = (0..BATCH).map(|_| PacketBuf::new(MAX_PACKET)).collect();
    while !end.load(Ordering::SeqCst) {
        let filled = queue.recv(&mut packets).expect("readable");
        packets[..filled].iter_mut().for_each(swap_addresses);
        let refs: Vec<_> = packets[..filled].iter().collect();
        assert_eq!(queue.send(&refs), 0, "nothing refused");
        if filled == 0 {
            waker.arm();
            if !end.load(Ordering::SeqCst) {
                queue.wait(waker, Some(LONG)).expect("waits");
            }
            waker.disarm();
        }
    }
}

/// Sends 4 MiB over TCP from this host to itself through the device.
fn bulk(listen: &str, connect: &str) {
    const BYTES: usize = 4 << 20;
    let listener = TcpListener::bind(listen).expect("own address");
    let to = connect.parse::<std::net::IpAddr>().expect("literal");
    let mut client =
        TcpStream::connect((to, listener.local_addr().expect("bound").port())).expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    server.set_read_timeout(Some(LONG)).expect("set");
    let sender = std::thread::spawn(move || {
        let data: Vec<u8> = (0..BYTES).map(|n| (n * 7 + n / 251) as u8).collect();
        client.write_all(&data).expect("sent");
        data
    });
    let mut got = Vec::with_capacity(BYTES);
    while got.len() < BYTES {
        let mut buf = [0; 65_536];
        let n = server.read(&mut buf).expect("received");
        assert!(n > 0, "ended early");
        got.extend_from_slice(&buf[..n]);
    }
    assert!(got == sender.join().expect("sent"), "the same bytes");
}

fn bulk_with(offloads: bool) {
    let (interface, mut queues) = opened(1, offloads);
    let queue = queues.remove(0);
    let tallies = queue.tallies().clone();
    let (waker, end) = (Waker::new().expect("eventfd"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| reflect(queue, &waker, &end));
        bulk("10.9.0.1:0", "10.9.0.2");
        bulk("[2001:db8:9::1]:0", "2001:db8:9::2");
        end.store(true, Ordering::SeqCst);
        waker.wake();
    });
    if offloads {
        assert!(interface.offloads().tcp, "every supported kernel segments TCP");
        assert!(tallies.received_super.read() > 0, "super-packets were received");
    } else {
        assert_eq!(tallies.received_super.read(), 0);
        assert_eq!(tallies.joined.read(), 0);
    }
}

#[test]
fn tcp_passes_in_super_packets() {
    own_network("tcp_passes_in_super_packets", || bulk_with(true));
}

#[test]
fn tcp_passes_without_offloads() {
    own_network("tcp_passes_without_offloads", || bulk_with(false));
}

/// Sends datagrams of these sizes through the device to a local socket. Returns the received ones.
/// The datagram at index `damage` has a wrong checksum.
fn datagrams(queue: &mut Queue, sizes: &[usize], damage: Option<usize>) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("own address");
    let port = socket.local_addr().expect("bound").port();
    let packet = |(index, &size): (usize, &usize)| {
        let payload: Vec<u8> = (0..size).map(|n| (n + index) as u8).collect();
        let mut bytes = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).udp(4000, port);
        builder.write(&mut bytes, &payload).expect("fits");
        if damage == Some(index) {
            bytes[26] ^= 1;
        }
        PacketBuf::with_packet(&bytes)
    };
    let packets: Vec<_> = sizes.iter().enumerate().map(packet).collect();
    assert_eq!(queue.send(&packets.iter().collect::<Vec<_>>()), 0);
    // The kernel delivers to the socket within the write; an empty datagram marks the end.
    socket.send_to(&[], socket.local_addr().expect("bound")).expect("sent");
    let mut got = Vec::new();
    loop {
        let mut buf = [0; 2000];
        match socket.recv(&mut buf).expect("received") {
            0 => return got,
            n => got.push(buf[..n].to_vec()),
        }
    }
}

#[test]
fn joined_datagrams_arrive_separately() {
    own_network("joined_datagrams_arrive_separately", || {
        let (_interface, mut queues) = opened(1, true);
        let queue = &mut queues[0];
        let sizes = [100, 100, 100, 40];
        let got = datagrams(queue, &sizes, None);
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert!(got.iter().enumerate().all(|(index, bytes)| bytes[0] == index as u8), "in order");
        let want = if queue.offloads().udp { (4, 1) } else { (0, 4) };
        assert_eq!((queue.tallies().joined.read(), queue.tallies().writes.read()), want);
    });
}

#[test]
fn a_damaged_datagram_is_not_repaired() {
    own_network("a_damaged_datagram_is_not_repaired", || {
        let (_interface, mut queues) = opened(1, true);
        let got = datagrams(&mut queues[0], &[100, 100, 100], Some(1));
        assert_eq!(got.iter().map(|b| b[0]).collect::<Vec<_>>(), [0, 2]);
    });
}

#[test]
fn a_refused_super_packet_is_segmented_in_software() {
    own_network("a_refused_super_packet_is_segmented_in_software", || {
        let (_interface, mut queues) = opened(1, true);
        let queue = &mut queues[0];
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("own address");
        let port = socket.local_addr().expect("bound").port();
        let payload: Vec<u8> = (0..2500).map(|n| (n / 1000) as u8).collect();
        let mut bytes = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).udp(4000, port);
        builder.write(&mut bytes, &payload).expect("fits");
        let mut packet = PacketBuf::with_packet(&bytes);
        packet.offload =
            Offload { segmentation: Segmentation::Udp { size: 1000 }, checksum: Checksum::Partial };
        let refusal = || io::Error::from_raw_os_error(libc::EINVAL);
        write_segments(&queue.file, &packet, &mut queue.segment, refusal())
            .expect("each segment is accepted");
        for want in [1000, 1000, 500] {
            let mut got = [0; 2000];
            assert_eq!(socket.recv(&mut got).expect("received"), want);
        }
        packet.offload = Offload::default();
        assert!(
            write_segments(&queue.file, &packet, &mut queue.segment, refusal()).is_err(),
            "not a super-packet"
        );
    });
}

#[test]
fn a_datagram_leaves_with_a_partial_checksum() {
    own_network("a_datagram_leaves_with_a_partial_checksum", || {
        let (_interface, mut queues) = opened(1, true);
        let queue = &mut queues[0];
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("own address");
        socket.send_to(b"hello", (Ipv4Addr::new(10, 9, 0, 2), 9)).expect("sent");
        let waker = Waker::new().expect("eventfd");
        let mut packets = [PacketBuf::new(MAX_PACKET)];
        loop {
            queue.wait(&waker, Some(LONG)).expect("waits");
            // Skip the kernel's IPv6 router solicitations.
            if queue.recv(&mut packets).expect("readable") == 1 && packets[0].bytes()[0] == 0x45 {
                break;
            }
        }
        assert_eq!(packets[0].offload.checksum, Checksum::Partial);
        assert_eq!(packets[0].bytes()[28..], *b"hello");
    });
}

#[test]
fn the_interface_is_deleted_with_its_last_queue() {
    own_network("the_interface_is_deleted_with_its_last_queue", || {
        let (interface, queues) = opened(3, true);
        let show = format!("ip link show dev {}", interface.name());
        assert_eq!(queues.len(), 3);
        assert!(interface.index() > 1);
        drop(interface);
        run(&show);
        drop(queues);
        // A child process that another test is starting holds our descriptors until its exec.
        assert!((0..50).any(|_| std::panic::catch_unwind(|| run(&show)).is_err()), "deleted");
    });
}

#[test]
fn a_deleted_interface_is_an_error_not_a_loop() {
    own_network("a_deleted_interface_is_an_error_not_a_loop", || {
        let (interface, mut queues) = opened(1, true);
        run(&format!("ip link del {}", interface.name()));
        let mut packets = [PacketBuf::new(MAX_PACKET)];
        assert!(queues[0].recv(&mut packets).is_err());
    });
}

#[test]
fn errors_name_interface_and_cause() {
    own_network("errors_name_interface_and_cause", || {
        let too_long = Settings { name: "a-name-of-16-byt".into(), ..settings(1, true) };
        let error = open(&too_long, Vec::new()).err().expect("refused").to_string();
        assert!(error.contains("a-name-of-16-byt") && error.contains("15 bytes"), "{error}");
        let taken = Settings { name: "lo".into(), ..settings(1, true) };
        let error = open(&taken, Vec::new()).err().expect("refused").to_string();
        assert!(error.starts_with("interface lo exists already: "), "{error}");
    });
}

#[test]
fn an_interface_is_opened_once() {
    own_network("an_interface_is_opened_once", || {
        let named = Settings { name: "gate64".into(), ..settings(2, true) };
        let (first, queues) = open(&named, Vec::new()).expect("opens");
        let error = open(&named, Vec::new()).err().expect("refused").to_string();
        assert!(error.starts_with("interface gate64 exists already"), "{error}");
        run("ip link show dev gate64 up");
        assert_eq!((first.name(), queues.len()), ("gate64", 2));
    });
}

#[test]
fn queues_of_an_earlier_process_keep_the_interface() {
    own_network("queues_of_an_earlier_process_keep_the_interface", || {
        let named = |queues| Settings { name: "gate64".into(), ..settings(queues, true) };
        let keep = |queues: &[Queue]| -> Vec<OwnedFd> {
            queues.iter().map(|queue| queue.as_fd().try_clone_to_owned().expect("a descriptor")).collect()
        };
        let (first, queues) = open(&named(2), Vec::new()).expect("opens");
        let index = first.index();
        assert!(!first.is_adopted());
        let mut stored = keep(&queues);
        drop((first, queues));
        for count in [2, 1, 3] {
            let (interface, queues) = open(&named(count), stored).expect("adopts");
            assert_eq!((interface.is_adopted(), interface.index()), (true, index), "{count} queues");
            assert_eq!(queues.len(), usize::from(count));
            stored = keep(&queues);
        }
        let other = Settings { name: "other".into(), ..settings(1, true) };
        let (interface, _queues) = open(&other, keep_one(&stored)).expect("opens another");
        assert!(!interface.is_adopted());
        run("ip link del gate64");
        let (interface, queues) = open(&named(2), stored).expect("creates it again");
        assert_eq!((interface.is_adopted(), queues.len()), (false, 2));
        assert_ne!(interface.index(), index);
    });
}

fn keep_one(stored: &[OwnedFd]) -> Vec<OwnedFd> {
    stored.iter().take(1).map(|queue| queue.try_clone().expect("a descriptor")).collect()
}

#[test]
fn a_refused_packet_is_counted() {
    own_network("a_refused_packet_is_counted", || {
        let (_interface, mut queues) = opened(1, true);
        let nonsense = PacketBuf::with_packet(&[0xff; 30]);
        assert_eq!(queues[0].send(&[&nonsense]), 1);
        assert_eq!(queues[0].tallies().refused.read(), 1);
    });
}
