use std::io::Cursor;

use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant::from_secs(1000);

fn moment(boot: u8, monotonic: u64, wall: u64) -> Moment {
    Moment { boot: [boot; 16], monotonic, wall }
}

fn header() -> Header {
    Header { owner_seed: 7, written: moment(1, 5, 6), clock: NOW }
}

fn record() -> SessionRecord {
    SessionRecord {
        proto: Proto::Tcp,
        v6: Transport6::new("2001:db8:1::2".parse().expect("literal"), 40_000),
        v4: Transport4::new(Ipv4Addr::new(192, 0, 2, 64), 1025),
        remote: Transport4::new(Ipv4Addr::new(198, 51, 100, 7), 443),
        pref64: "2001:db8:64::/96".parse().expect("literal"),
        state: 3,
        remaining: Duration::from_secs(7200),
        silent: Duration::from_secs(10),
        inbound: true,
        answered: true,
        packets: [3, u32::MAX],
        bytes: [1500, u64::MAX],
    }
}

fn file(records: &[Option<SessionRecord>]) -> Vec<u8> {
    let mut bytes = header().encode().to_vec();
    for record in records {
        let mut slot = [0xff; RECORD];
        encode(Kind::Session, record.as_ref(), NOW, &mut slot);
        bytes.extend(slot);
    }
    bytes
}

/// All sessions at [`NOW`], damaged and unknown records.
fn read(bytes: &[u8]) -> Result<(Vec<SessionRecord>, (u64, u64)), StateError> {
    let mut reader = Reader::new(Cursor::new(bytes))?;
    let mut read = Vec::new();
    while let Some(saved) = reader.next_session()? {
        read.extend(saved.at(NOW));
    }
    Ok((read, reader.skipped()))
}

#[test]
fn sessions_return_as_they_were() {
    let inbound = SessionRecord { inbound: false, ..record() };
    let udp = SessionRecord { proto: Proto::Udp, state: 0, answered: false, ..record() };
    let bytes = file(&[Some(record()), None, Some(inbound), Some(udp)]);
    assert_eq!(*Reader::new(&bytes[..]).expect("a header").header(), header());
    assert_eq!(read(&bytes).expect("readable"), (vec![record(), inbound, udp], (0, 0)));
}

#[test]
fn bindings_in_quarantine_are_records_of_their_own() {
    let nobody = Transport4::new(Ipv4Addr::UNSPECIFIED, 0);
    let binding = SessionRecord { proto: Proto::Udp, state: 0, remote: nobody, ..record() };
    let mut bytes = file(&[Some(record())]);
    let mut slot = [0; RECORD];
    encode(Kind::Quarantined, Some(&binding), NOW, &mut slot);
    bytes.extend(slot);
    let mut reader = Reader::new(&bytes[..]).expect("a header");
    let mut next = || reader.next_record().expect("readable").map(|(kind, saved)| (kind, saved.at(NOW)));
    assert_eq!(next(), Some((Kind::Session, Some(record()))));
    assert_eq!(next(), Some((Kind::Quarantined, Some(binding))));
    assert_eq!(next(), None);
    // Sessions alone.
    assert_eq!(read(&bytes).expect("readable"), (vec![record()], (0, 0)));
}

#[test]
fn time_goes_on_between_two_gateways() {
    let saved =
        Reader::new(&file(&[Some(record())])[..]).expect("a header").next_session().expect("readable");
    let saved = saved.expect("a session");
    let later = saved.at(NOW + Duration::from_secs(7000)).expect("alive");
    assert_eq!((later.remaining, later.silent), (Duration::from_secs(200), Duration::from_secs(7010)));
    assert_eq!(saved.at(NOW + Duration::from_secs(7200)), None);
}

#[test]
fn the_wall_clock_counts_only_after_a_reboot() {
    let secs = |secs| Duration::from_secs(secs).as_nanos() as u64;
    let earlier = moment(1, secs(100), secs(5000));
    for (now, want, what) in [
        (moment(1, secs(130), secs(9000)), 30, "the same boot; the clock was set"),
        (moment(2, secs(10), secs(5060)), 60, "after a reboot"),
        (moment(2, secs(10), secs(10)), 0, "after a reboot; the clock was set back"),
    ] {
        assert_eq!(now.since(&earlier), Duration::from_secs(want), "{what}");
    }
}

#[test]
fn a_damaged_record_loses_only_itself() {
    let bytes = file(&[Some(record()); 3]);
    for at in 0..RECORD {
        let mut bytes = bytes.clone();
        bytes[HEADER + RECORD + at] ^= 0x10;
        assert_eq!(read(&bytes).expect("readable"), (vec![record(); 2], (1, 0)), "byte {at}");
    }
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(read(cut).expect("readable"), (vec![record(); 2], (1, 0)), "a file that ends within a record");
}

#[test]
fn headers_that_cannot_be_read_are_refused() {
    let bytes = file(&[Some(record())]);
    for (what, at, byte, want) in [
        ("another file", 0, b'x', "not a file of saved sessions"),
        ("a newer version", 8, 2, "saved by another version of gate64 (format 2, this one reads 1)"),
        ("a short header", 12, 8, "damaged header"),
        ("short records", 14, 8, "damaged header"),
        ("a long header", 13, 0xff, "damaged header"),
        ("a flipped bit", 20, 0xff, "damaged header"),
    ] {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        assert_eq!(read(&bytes).expect_err(what).to_string(), want, "{what}");
    }
    assert_eq!(read(&bytes[..HEADER - 1]).expect_err("short").to_string(), "not a file of saved sessions");
}

#[test]
fn fields_and_kinds_of_a_newer_minor_version_are_skipped() {
    let lengthen = |bytes: &[u8], by: usize| {
        let mut longer = bytes[..bytes.len() - 4].to_vec();
        longer.resize(bytes.len() + by, 0xaa);
        seal(&mut longer);
        longer
    };
    let mut head = header().encode();
    (head[10], head[12], head[14]) = (2, (HEADER + 32) as u8, (RECORD + 8) as u8);
    let mut bytes = lengthen(&head, 32);
    let mut slot = [0; RECORD];
    encode(Kind::Session, Some(&record()), NOW, &mut slot);
    let mut other = slot;
    other[0] = 9;
    for slot in [&slot, &other, &slot] {
        bytes.extend(lengthen(slot, 8));
    }
    assert_eq!(read(&bytes).expect("readable"), (vec![record(); 2], (0, 1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..600), keep in 0..=HEADER + RECORD) {
        let mut bytes = file(&[Some(record())]);
        bytes.truncate(keep);
        bytes.extend(tail);
        if let Ok((records, (damaged, unknown))) = read(&bytes) {
            prop_assert!(records.len() as u64 + damaged + unknown <= bytes.len() as u64 / RECORD as u64 + 1);
        }
    }

    #[test]
    fn sealed_records_of_any_content_are_read_or_counted(mut slot in prop::collection::vec(any::<u8>(), RECORD)) {
        slot[0] = Kind::Session as u8;
        seal(&mut slot);
        let mut bytes = header().encode().to_vec();
        bytes.extend(slot);
        let mut reader = Reader::new(&bytes[..]).expect("a header");
        let is_read = reader.next_session().expect("readable").is_some();
        prop_assert_eq!(u64::from(is_read) + reader.skipped().0, 1);
    }
}
