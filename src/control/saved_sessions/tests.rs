use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::addr::{Proto, Transport4, Transport6};
use crate::config::tests::{FakeHost, load_on};
use crate::time::Instant;
use crate::worker::state::{self, Header, RECORD};

const NOW: Instant = Instant::from_secs(1000);

fn record(host: u16) -> SessionRecord {
    SessionRecord {
        proto: Proto::Udp,
        v6: Transport6::new([0x2001, 0xdb8, 1, 0, 0, 0, 0, host].into(), 5000),
        v4: Transport4::new(Ipv4Addr::new(192, 0, 2, 64), 1025),
        remote: Transport4::new(Ipv4Addr::new(198, 51, 100, 7), 53),
        pref64: "2001:db8:64::/96".parse().expect("literal"),
        state: 0,
        remaining: Duration::from_secs(300),
        silent: Duration::ZERO,
        inbound: false,
        answered: true,
        packets: [1, 1],
        bytes: [60, 60],
    }
}

/// Writes a file as a worker does.
fn write(dir: &Path, name: &str, owner_seed: u32, hosts: &[u16]) {
    let header = Header { owner_seed, written: moment(journal::boot_id()), clock: NOW };
    let mut bytes = header.encode().to_vec();
    for host in hosts {
        let mut slot = [0; RECORD];
        state::encode(Kind::Session, Some(&record(*host)), NOW, &mut slot);
        bytes.extend(slot);
    }
    fs::write(dir.join(name), bytes).expect("written");
}

fn config(dir: &Path, workers: u8) -> Config {
    let mut config =
        load_on(include_str!("../../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
    config.host.state_dir = dir.to_owned();
    config.host.workers = workers;
    config
}

fn names(dir: &Path) -> Vec<String> {
    files(dir).iter().map(ToString::to_string).collect()
}

#[test]
fn names_are_parsed_strictly() {
    assert_eq!(Name::parse("sessions.12.3"), Some(Name(12, 3)));
    for name in
        ["sessions.12", "sessions.012.3", "sessions.+1.3", "sessions.1.300", "sessions.1.2.3", "blocks.json"]
    {
        assert_eq!(Name::parse(name), None, "{name}");
    }
}

#[test]
fn a_new_generation_replaces_the_old_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "sessions.4.0", 7, &[2]);
    write(dir.path(), "sessions.5.0", 8, &[2, 3]);
    write(dir.path(), "sessions.5.1", 8, &[4]);
    let config = config(dir.path(), 2);
    let (mut saved, inherited) = SavedSessions::open(&config, None);
    assert_eq!(inherited.owner_seed, Some(8), "that of the newest");
    let hosts: Vec<_> = inherited.sessions.iter().map(|record| record.v6.addr.segments()[7]).collect();
    assert_eq!(hosts, [4, 2, 3, 2], "the newest generation first");
    let owners = config.nat64.owners(8, 2);
    let each = saved.begin(&owners, inherited);
    for (worker, part) in each.iter().enumerate() {
        let own = |record: &SessionRecord| usize::from(owners.source(record.v6.addr).0) == worker;
        assert!(part.sessions.iter().all(own));
    }
    assert_eq!(each.iter().map(|part| part.sessions.len()).sum::<usize>(), 4);
    let all = ["sessions.4.0", "sessions.5.0", "sessions.5.1", "sessions.6.0", "sessions.6.1"];
    assert_eq!(names(dir.path()), all);
    saved.check();
    assert_eq!(names(dir.path()), all, "no worker has saved its sessions");
    saved.progress[0].sweeps.add(1);
    saved.check();
    assert_eq!(names(dir.path()), all, "one has not");
    saved.progress[1].sweeps.add(1);
    saved.check();
    assert_eq!(names(dir.path()), all[3..]);
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_others() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "sessions.1.0", 7, &[2]);
    fs::write(dir.path().join("sessions.2.0"), "of another program").expect("written");
    std::os::unix::fs::symlink(dir.path().join("sessions.1.0"), dir.path().join("sessions.3.0"))
        .expect("linked");
    let (_, inherited) = SavedSessions::open(&config(dir.path(), 1), None);
    assert_eq!((inherited.owner_seed, inherited.sessions.len()), (Some(7), 1));
}

#[test]
fn a_gateway_without_a_writable_directory_runs_and_removes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "sessions.1.0", 7, &[2]);
    let config = config(dir.path(), 1);
    let (mut saved, inherited) = SavedSessions::open(&config, None);
    fs::create_dir(dir.path().join("sessions.2.0")).expect("created");
    let each = saved.begin(&config.nat64.owners(7, 1), inherited);
    assert!(each[0].snapshot.is_none());
    saved.check();
    assert!(names(dir.path()).contains(&"sessions.1.0".to_owned()));
}

#[test]
fn files_in_memory_are_copied_at_exit() {
    let (dir, live) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    write(dir.path(), "sessions.1.0", 7, &[2]);
    write(live.path(), "sessions.2.0", 7, &[3, 4]);
    write(dir.path(), "sessions.2.0", 7, &[]);
    let config = config(dir.path(), 1);
    let (mut saved, inherited) = SavedSessions::open(&config, Some(live.path().to_owned()));
    assert_eq!(inherited.sessions.len(), 3, "the copy in memory is the newer one");
    let mut each = saved.begin(&config.nat64.owners(7, 1), inherited);
    assert_eq!((names(live.path()).len(), names(dir.path()).len()), (2, 2));
    let target = each[0].snapshot.take().expect("a file");
    io::Write::write_all(&mut &target.file, b"content").expect("written");
    saved.progress[0].sweeps.add(1);
    saved.finish();
    for at in [dir.path(), live.path()] {
        assert_eq!(names(at), ["sessions.3.0"]);
        assert_eq!(fs::read(at.join("sessions.3.0")).expect("there"), b"content");
    }
}
