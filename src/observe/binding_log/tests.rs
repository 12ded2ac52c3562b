//! Tests of the log's task: events to records, reload, loss.

use super::fixtures::{self, at};
use super::*;
use crate::addr::{Proto, Transport4, Transport6, WorkerId};
use crate::config::tests::{FakeHost, load_on};
use crate::counters::Counters;

fn config(statics: &str) -> Config {
    let text = format!("{}\n{statics}", include_str!("../../../configs/nat64.toml"));
    load_on(&text, &FakeHost::new()).expect("a good file")
}

fn binding(port: u16) -> String {
    format!(
        "[[static]]\nprotocol = \"tcp\"\noutside = \"192.0.2.65:{port}\"\ninside = \"[2001:db8:1::80]:443\"\n"
    )
}

/// A log with one sink of limited capacity.
fn writer(capacity: usize) -> (Writer, mpsc::Receiver<Arc<Record>>) {
    let (queue, records) = mpsc::channel(capacity);
    let sinks = vec![Sink { queue, status: SinkStatus::new("test") }];
    let (assignments, hosts) = (Assignments::default(), Hosts::Plain);
    let names = Names::default();
    let node = "gw1".to_owned();
    (Writer { node, hosts, records: None, names, assignments, sinks, now: || at(100) }, records)
}

fn notice(secs: u64, event: Event) -> Notice {
    Notice { worker: WorkerId(0), at: at(secs), event }
}

fn received(records: &mut mpsc::Receiver<Arc<Record>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(record) = records.try_recv() {
        let mapping = record.mapping.as_ref().map(|m| {
            let end = m.end.map(|end| end.to_string()).unwrap_or_default();
            format!(" {} {} {}:{}-{} {}/{end}", m.zone, m.host, m.address, m.ports.0, m.ports.1, m.start)
        });
        all.push(format!("{:?}{}", record.event, mapping.unwrap_or_default()));
    }
    all
}

#[test]
fn a_block_is_recorded_with_its_beginning_and_end() {
    // id 6888-12
    let (mut writer, mut records) = writer(16);
    let config = config("");
    writer.rename(Names::of(&config));
    let host = HostKey::new(config.nat64.zones[0].id, "2001:db8:1::5".parse().expect("literal"), 128);
    let addr = Ipv4Addr::new(192, 0, 2, 64);
    let ports = PortRange::new(1024, 1039).expect("a range");
    writer.note(&notice(0, Event::BlockAssigned { host, addr, ports }));
    writer.note(&notice(5, Event::BlockAssigned { host, addr, ports }));
    assert_eq!(writer.assignments.find(addr, 1039).len(), 1, "the same as before, of a restored block");
    writer.note(&notice(60, Event::BlockReleased { host, addr, ports }));
    writer.note(&notice(70, Event::BlockReclaimed { host, addr, ports }));
    let zone = &config.zone_names[0];
    let block = |times: &str| format!(" {zone} 2001:db8:1::5 192.0.2.64:1024-1039 {times}");
    let want = [
        format!("Assign{}", block("2026-11-29T10:00:00Z/")),
        format!("Release{}", block("2026-11-29T10:00:00Z/2026-11-29T10:01:00Z")),
        format!("Reclaim{}", block("2026-11-29T10:01:10Z/2026-11-29T10:01:10Z")),
    ];
    assert_eq!(received(&mut records), want);
    assert_eq!(writer.assignments.find(addr, 1039), []);
}

#[test]
fn sessions_are_recorded_if_asked_and_destinations_if_asked() {
    // id 6888-12
    let (mut writer, mut records) = writer(16);
    let config = config("");
    writer.rename(Names::of(&config));
    let session = LoggedSession {
        proto: Proto::Udp,
        zone: config.nat64.zones[0].id,
        client: Transport6::new("2001:db8:1::5".parse().expect("literal"), 5_353),
        mapped: Transport4::new(Ipv4Addr::new(192, 0, 2, 64), 1_029),
        remote: Transport4::new(Ipv4Addr::new(198, 51, 100, 7), 53),
        server: "64:ff9b::198.51.100.7".parse().expect("literal"),
        is_static: false,
    };
    writer.note(&notice(0, Event::SessionStarted { session }));
    assert!(records.try_recv().is_err(), "not asked for");
    writer.records = Some(SessionRecords { destinations: false });
    writer.note(&notice(0, Event::SessionStarted { session }));
    writer.records = Some(SessionRecords { destinations: true });
    writer.note(&notice(70, Event::SessionEnded { session, age: Duration::from_secs(70) }));
    let mut next = || records.try_recv().expect("a record").session.clone().expect("a session");
    let started = Session {
        zone: config.zone_names[0].clone(),
        host_port: 5_353,
        port: 1_029,
        protocol: Protocol::Udp,
        ..fixtures::session(0, None)
    };
    assert_eq!(next(), started);
    let destination = Some(Destination { destination_port: 53, ..fixtures::destination() });
    assert_eq!(next(), Session { destination, end: Some(timestamp(at(70))), ..started });
}

#[test]
fn a_reload_begins_and_ends_static_bindings() {
    let (mut writer, mut records) = writer(16);
    writer.rename(Names::of(&config(&binding(443))));
    writer.rename(Names::of(&config(&binding(443))));
    writer.rename(Names::of(&config(&binding(8443))));
    let got = received(&mut records);
    let short: Vec<_> =
        got.iter().map(|r| r.split(' ').filter(|w| !w.contains('T')).collect::<Vec<_>>()).collect();
    let zone = &config("").zone_names[0];
    let one = |kind, port| vec![kind, zone.as_str(), "2001:db8:1::80", port];
    let want = [
        one("Assign", "192.0.2.65:443-443"),
        one("Release", "192.0.2.65:443-443"),
        one("Assign", "192.0.2.65:8443-8443"),
    ];
    assert_eq!(short, want);
    assert_eq!(writer.assignments.find(Ipv4Addr::new(192, 0, 2, 65), 8443)[0].host_port, Some(443));
}

#[tokio::test]
async fn lost_records_are_counted_and_recorded() {
    let (mut writer, mut records) = writer(2);
    let counters = Arc::new(Counters::new(1));
    let mut alarm = Alarm::new(vec![Arc::clone(&counters)]);
    let now = tokio::time::interval(POLL).tick().await;
    alarm.check(now, &mut writer);
    assert_eq!(received(&mut records), [""; 0]);
    (0..5).for_each(|_| writer.write(Kind::Start, None));
    counters.events_lost.add(4);
    alarm.check(now, &mut writer);
    assert_eq!(received(&mut records), ["Start", "Start"], "the queue was full");
    assert_eq!((alarm.known, alarm.unreported), (4 + 3 + 1, 0));
    counters.events_lost.add(2);
    alarm.check(now, &mut writer);
    assert_eq!(records.try_recv().expect("a record").lost, Some(2));
    assert_eq!(alarm.unreported, 2, "warned already");
    alarm.check(now + WARNING_INTERVAL, &mut writer);
    assert_eq!(alarm.unreported, 0);
}
