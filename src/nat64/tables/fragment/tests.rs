use super::*;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Fragments of an IPv4 datagram whose data byte at offset n is n * 7 + 1.
fn fragment4(id: u16, offset: u16, len: u16, more: bool) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 60, 17, 0, 0, 198, 51, 100, 7, 203, 0, 113, 1];
    packet[2..4].copy_from_slice(&(20 + len).to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    packet.extend((offset..offset + len).map(|n| (n * 7 + 1) as u8));
    packet
}

fn fragment6(id: u32, offset: u16, len: u16, more: bool) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 44, 64];
    packet[4..6].copy_from_slice(&(8 + len).to_be_bytes());
    packet.extend([0x20; 16]);
    packet.extend([0x21; 16]);
    packet.extend([58, 0]);
    packet.extend((offset | u16::from(more)).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend((offset..offset + len).map(|n| (n * 7 + 1) as u8));
    packet
}

fn arrival(packet: &[u8], first: First) -> Arrival<'_> {
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (key, offset, more, data_at) = if packet[0] >> 4 == 4 {
        let key = Key::v4([198, 51, 100, 7].into(), [203, 0, 113, 1].into(), packet[9], word(4));
        (key, word(6) % 0x2000 * 8, word(6) & 0x2000 != 0, usize::from(packet[0] & 15) * 4)
    } else {
        let id = u32::from(word(44)) << 16 | u32::from(word(46));
        let key = Key::v6([0x20; 16].into(), [0x21; 16].into(), packet[40], id);
        (key, word(42) & !7, word(42) & 1 != 0, 48)
    };
    let source = u128::from(key.id);
    Arrival {
        key,
        source,
        site: source,
        offset,
        more,
        packet,
        data_at,
        first: (offset == 0).then_some(first),
    }
}

const PORTS: First = First::Ports(4000, 53);

fn cache() -> FragmentCache {
    FragmentCache::new(1 << 20, TIMEOUT, 1)
}

fn offer(cache: &mut FragmentCache, packet: &[u8], first: First) -> Step {
    cache.offer(Instant::from_secs(10), &arrival(packet, first))
}

fn pass(step: Step) -> Option<Datagram> {
    match step {
        Step::First { ports: (4000, 53), datagram } => Some(datagram),
        Step::Pass { ports: (4000, 53), held } => held,
        other => panic!("{other:?}"),
    }
}

#[test]
fn in_order_fragments_pass_and_leave_no_state() {
    let mut cache = cache();
    for (offset, more) in [(0, true), (80, true), (160, false)] {
        pass(offer(&mut cache, &fragment4(1, offset, 80, more), PORTS));
    }
    assert!(cache.is_empty());
}

#[test]
fn early_fragments_follow_the_first_in_order_of_arrival() {
    // id 6146-3.4-frag-ooo
    let mut cache = cache();
    let early = [fragment6(1, 2400, 3000, false), fragment6(1, 1200, 1200, true)];
    for packet in &early {
        assert_eq!(offer(&mut cache, packet, PORTS), Step::Held);
    }
    let datagram = pass(offer(&mut cache, &fragment6(1, 0, 1200, true), PORTS)).expect("two held fragments");
    assert_eq!(cache.held(datagram), 2);
    let mut out = PacketBuf::new(4096);
    for packet in &early {
        assert!(cache.release(datagram, &mut out));
        assert_eq!(out.bytes(), packet);
        assert_eq!(out.meta.ports, Some((4000, 53)));
    }
    assert!(!cache.release(datagram, &mut out));
    assert!(cache.is_empty(), "the datagram was complete");
    assert_eq!(cache.room(), 1 << 20);
}

#[test]
fn fragments_without_room_in_the_batch_are_returned_again() {
    let mut cache = cache();
    assert_eq!(offer(&mut cache, &fragment4(1, 80, 80, true), PORTS), Step::Held);
    assert!(pass(offer(&mut cache, &fragment4(1, 0, 80, true), PORTS)).is_some());
    let again = pass(offer(&mut cache, &fragment4(1, 160, 80, false), PORTS)).expect("still held");
    let mut out = PacketBuf::new(2048);
    assert!(cache.release(again, &mut out));
    assert!(cache.is_empty());
}

#[test]
fn a_refused_first_fragment_refuses_its_datagram() {
    let mut cache = cache();
    for (offset, more) in [(80, true), (240, false)] {
        assert_eq!(offer(&mut cache, &fragment4(1, offset, 80, more), PORTS), Step::Held);
    }
    let first = pass(offer(&mut cache, &fragment4(1, 0, 80, true), PORTS)).expect("held fragments");
    assert_eq!(cache.refuse(first, Reason::HopLimit), 2);
    assert_eq!(cache.room(), 1 << 20);
    let duplicate = offer(&mut cache, &fragment4(1, 0, 80, true), PORTS);
    assert_eq!(duplicate, Step::Drop { reason: Reason::FragmentDuplicate, held: 0 });
    let last = offer(&mut cache, &fragment4(1, 160, 80, true), PORTS);
    assert_eq!(last, Step::Drop { reason: Reason::HopLimit, held: 0 });
    assert!(cache.is_empty(), "all of it has been refused");
}

#[test]
fn fragments_are_reassembled_in_any_order() {
    // ids 6146-3.4-udp0, 6146-3.4-icmp-frag
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        for v6 in [false, true] {
            let make = if v6 { |o, l, m| fragment6(9, o, l, m) } else { |o, l, m| fragment4(9, o, l, m) };
            let parts = [make(0, 3000, true), make(3000, 1200, true), make(4200, 33, false)];
            let mut cache = cache();
            let steps = order.map(|n| offer(&mut cache, &parts[n], First::Reassemble));
            let [Step::Held, Step::Held, Step::Reassemble(datagram)] = steps else { panic!("{steps:?}") };
            let mut out = PacketBuf::new(65_535);
            assert!(cache.reassemble(datagram, &mut out));
            let mut whole = make(0, 4233, false);
            if !v6 {
                reassembly::header4(&mut whole, 20);
            }
            assert_eq!(out.bytes(), whole, "{order:?}");
            assert!(out.meta.reassembled);
            assert!(cache.is_empty());
            assert_eq!(cache.room(), 1 << 20);
        }
    }
}

#[test]
fn an_assembled_ipv4_header_has_a_right_checksum() {
    let mut packet = fragment4(0xbeef, 0, 80, true);
    reassembly::header4(&mut packet, 20);
    let sum: u32 = packet[..20].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    assert_eq!(packet[4..8], [0xbe, 0xef, 0, 0]);
}

#[test]
fn overlapping_fragments_kill_the_datagram_until_its_deadline() {
    // ids 6146-3.4-frag-overlap6, 6146-3.4-frag-overlap4
    let dead = |held| Step::Drop { reason: Reason::FragmentOverlap, held };
    let mut cache = cache();
    assert_eq!(offer(&mut cache, &fragment6(1, 80, 80, true), PORTS), Step::Held);
    assert_eq!(offer(&mut cache, &fragment6(1, 88, 80, true), PORTS), dead(1));
    assert_eq!(cache.room(), 1 << 20);
    assert_eq!(offer(&mut cache, &fragment6(1, 0, 80, true), PORTS), dead(0));
    assert_eq!(offer(&mut cache, &fragment6(2, 160, 80, false), PORTS), Step::Held, "another datagram");
    assert_eq!(offer(&mut cache, &fragment6(2, 240, 8, true), PORTS), dead(1), "after the last one");
    assert_eq!(offer(&mut cache, &fragment4(3, 160, 80, true), PORTS), Step::Held);
    assert_eq!(
        offer(&mut cache, &fragment4(3, 80, 80, false), PORTS),
        dead(1),
        "a last fragment in the middle"
    );
    assert_eq!(offer(&mut cache, &fragment4(4, 80, 80, false), PORTS), Step::Held);
    assert_eq!(offer(&mut cache, &fragment4(4, 88, 80, false), PORTS), dead(1), "two different ends");
    let later = Instant::from_secs(10) + TIMEOUT;
    assert_eq!(std::iter::from_fn(|| cache.expire(later)).map(|e| e.held).sum::<u32>(), 0);
    assert_eq!(offer(&mut cache, &fragment6(1, 80, 80, true), PORTS), Step::Held, "a new datagram");
}

#[test]
fn exact_duplicates_are_ignored() {
    // id 6146-3.4-frag-dup
    let duplicate = Step::Drop { reason: Reason::FragmentDuplicate, held: 0 };
    let mut cache = cache();
    assert_eq!(offer(&mut cache, &fragment4(1, 80, 80, true), PORTS), Step::Held);
    assert_eq!(offer(&mut cache, &fragment4(1, 80, 80, true), PORTS), duplicate);
    assert!(pass(offer(&mut cache, &fragment4(1, 0, 80, true), PORTS)).is_some());
    assert_eq!(offer(&mut cache, &fragment4(1, 0, 80, true), PORTS), duplicate);
}

#[test]
fn impossible_lengths_are_refused_and_leave_no_state() {
    // id 6146-3.4-frag-64k
    let size = Step::Drop { reason: Reason::FragmentSize, held: 0 };
    let mut cache = cache();
    for (offset, len, more) in [(80, 0, false), (65_504, 64, false), (65_512, 4, false)] {
        assert_eq!(offer(&mut cache, &fragment4(1, offset, 0, more), PORTS), size);
        let mut packet = fragment4(1, offset, 0, more);
        packet.resize(20 + len, 0);
        assert_eq!(offer(&mut cache, &packet, PORTS), size, "{offset} {len}");
        let mut packet = fragment6(1, offset, 0, more);
        packet.resize(48 + len, 0);
        assert_eq!(offer(&mut cache, &packet, PORTS), size, "{offset} {len}");
    }
    assert!(cache.is_empty());
    let mut packet = fragment4(1, 65_512, 0, false);
    packet.resize(20 + 3, 0);
    assert_eq!(offer(&mut cache, &packet, PORTS), Step::Held, "ends at 65,535");
}

#[test]
fn incomplete_datagrams_expire_the_oldest_first() {
    // ids 6146-3.4-frag-time, 6146-3.4-frag-timeout
    let mut cache = cache();
    let at = Instant::from_millis;
    for (id, came) in [(1, 0), (2, 500), (1, 600)] {
        let offset = if came == 600 { 160 } else { 80 };
        let packet = fragment4(id, offset, 80, true);
        assert_eq!(cache.offer(at(came), &arrival(&packet, PORTS)), Step::Held);
    }
    assert_eq!(cache.next_deadline(), Some(at(2000)));
    assert_eq!(cache.expire(at(1999)), None);
    let expired = cache.expire(at(2000)).expect("the first");
    assert_eq!((expired.key.id, expired.held), (1, 2));
    assert_eq!(cache.expire(at(2000)), None);
    assert_eq!(cache.next_deadline(), Some(at(2500)));
    let late = fragment4(1, 0, 80, true);
    let first = pass(cache.offer(at(2001), &arrival(&late, PORTS))).expect("the first");
    assert_eq!(cache.held(first), 0, "its state has expired");
}

#[test]
fn a_full_cache_refuses_until_datagrams_expire() {
    // id 6146-3.4-frag-limit
    let mut cache = FragmentCache::new(64 << 10, TIMEOUT, 1);
    let limit = Step::Drop { reason: Reason::FragmentLimit, held: 0 };
    let steps: Vec<_> =
        (0..100_u16).map(|id| offer(&mut cache, &fragment4(id, 80, 80, true), PORTS)).collect();
    assert!(steps[..32].iter().all(|step| *step == Step::Held));
    assert!(steps[32..].iter().all(|step| *step == limit));
    // Fragments that need no packet memory still pass while entries are free.
    pass(offer(&mut cache, &fragment4(200, 0, 80, true), PORTS));
    let later = Instant::from_secs(12);
    assert_eq!(std::iter::from_fn(|| cache.expire(later)).map(|e| e.held).sum::<u32>(), 32);
    assert!(cache.is_empty());
    assert_eq!(cache.room(), 64 << 10);
    assert_eq!(offer(&mut cache, &fragment4(7, 80, 80, true), PORTS), Step::Held);
}

#[test]
fn one_source_leaves_room_to_the_others() {
    let mut cache = cache();
    let limit = Step::Drop { reason: Reason::FragmentLimit, held: 0 };
    let from = |cache: &mut FragmentCache, source: u128, packet: &[u8]| {
        cache.offer(Instant::from_secs(10), &Arrival { source, site: source, ..arrival(packet, PORTS) })
    };
    // First fragments without followers: 128 of 1,024 datagrams, then no more.
    let passed = (0..1000).filter(|id| from(&mut cache, 1, &fragment4(*id, 0, 80, true)) != limit).count();
    assert_eq!(passed, 128);
    // Fragments that wait for their first fragment: at most the memory of the longest datagram.
    let held = (2000..3000).filter(|id| from(&mut cache, 2, &fragment4(*id, 80, 80, true)) != limit).count();
    assert_eq!(held, 128);
    pass(from(&mut cache, 3, &fragment4(4000, 0, 80, true)));
    assert_eq!(from(&mut cache, 3, &fragment4(4001, 80, 80, true)), Step::Held);
    while cache.expire(Instant::NEVER).is_some() {}
    assert!(cache.shares.are_empty());
}

#[test]
fn a_datagram_of_many_tiny_fragments_is_refused() {
    let mut cache = cache();
    let mut refused = 0;
    for n in 0..200 {
        match offer(&mut cache, &fragment4(1, n * 8, 8, true), PORTS) {
            Step::First { .. } | Step::Pass { .. } => {}
            step => {
                assert_eq!(step, Step::Drop { reason: Reason::FragmentLimit, held: 0 });
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 200 - MAX_FRAGMENTS);
}

#[test]
fn a_cache_without_memory_refuses_everything() {
    let mut cache = FragmentCache::new(0, TIMEOUT, 1);
    let limit = Step::Drop { reason: Reason::FragmentLimit, held: 0 };
    assert_eq!(offer(&mut cache, &fragment4(1, 0, 8, true), PORTS), limit);
    assert_eq!(cache.next_deadline(), None);
}

#[test]
fn any_order_of_any_fragments_leaks_nothing() {
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut cache = FragmentCache::new(32 << 10, TIMEOUT, 1);
    let mut out = PacketBuf::new(65_535);
    for step in 0..20_000 {
        let now = Instant::from_millis(step);
        while cache.expire(now).is_some() {}
        let (offset, more) = (next(6) as u16 * 80, next(3) > 0);
        let packet = fragment4(next(40) as u16, offset, 80 * (1 + next(2) as u16), more);
        let first = if next(2) == 0 { PORTS } else { First::Reassemble };
        match cache.offer(now, &arrival(&packet, first)) {
            Step::First { datagram, .. } if next(3) == 0 => {
                let held = cache.held(datagram);
                assert_eq!(cache.refuse(datagram, Reason::HopLimit), held);
            }
            Step::First { datagram, .. } | Step::Pass { held: Some(datagram), .. } => {
                while cache.release(datagram, &mut out) {}
            }
            Step::Reassemble(datagram) => assert!(cache.reassemble(datagram, &mut out)),
            Step::Pass { .. } | Step::Held | Step::Drop { .. } => {}
        }
    }
    while cache.expire(Instant::NEVER).is_some() {}
    assert!(cache.is_empty());
    assert_eq!(cache.room(), 32 << 10);
    assert!(cache.shares.are_empty());
    let mut free = 0;
    let mut at = cache.free;
    while at != NONE {
        free += 1;
        at = cache.pieces[at as usize].next;
    }
    assert_eq!(free, cache.pieces.len());
}
