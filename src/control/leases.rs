//! Which host has which ports, over a restart: ports must not come to somebody else at once, whose peers' late
//! packets would be another's (RFC 6888 REQ-8).
//!
//! What is held is gathered from the workers' events and written to a file now and then and at the end. A
//! gateway that starts within the rest of that time gives the blocks back to those who had them. A killed gateway
//! has missed the blocks of its last seconds; so has one whose workers lost events.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::atomic_file;
use crate::addr::{HostKey, Ipv6Prefix, PortRange};
use crate::config::Config;
use crate::translator::{BlockAssignment, Event};

const FILE: &str = "leases.json";
/// How often the file is written.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// The file.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Seconds since 1970.
    written: u64,
    /// Zone, host, address, first and last port.
    leases: Vec<(String, String, Ipv4Addr, u16, u16)>,
}

/// What is held now.
pub(super) struct Leases {
    path: PathBuf,
    held: BTreeMap<(Ipv4Addr, u16), BlockAssignment>,
    changed: bool,
}

impl Leases {
    /// Reads what an earlier gateway has written, if its ports have not rested enough by `now`. A file that
    /// can't be read counts as none, with a warning.
    pub(super) fn open(config: &Config, now: SystemTime) -> Self {
        let path = config.host.state_dir.join(FILE);
        let leases = read(&path).map_or_else(Vec::new, |record| current(&record, config, now));
        let held = leases.into_iter().map(|lease| ((lease.addr, lease.ports.first()), lease)).collect();
        Self { path, held, changed: true }
    }

    /// All that are held.
    pub(super) fn all(&self) -> impl Iterator<Item = BlockAssignment> + '_ {
        self.held.values().copied()
    }

    /// Follows an event.
    pub(super) fn note(&mut self, event: &Event) {
        match *event {
            Event::BlockAssigned { host, addr, ports } => {
                self.held.insert((addr, ports.first()), BlockAssignment { host, addr, ports });
            }
            Event::BlockReleased { addr, ports, .. } => {
                self.held.remove(&(addr, ports.first()));
            }
            Event::QuotaReached { .. }
            | Event::PoolExhausted { .. }
            | Event::WithoutChecksum { .. }
            | Event::SessionEnded { .. } => return,
        }
        self.changed = true;
    }

    /// Writes the file if an assignment changed, and as long as blocks are in use: its time stamp
    /// says when they were last known to be. A failed write is repeated at the next call.
    pub(super) fn save(&mut self, config: &Config, now: SystemTime) {
        if !self.changed && self.held.is_empty() {
            return;
        }
        let zones = || config.nat64.zones.iter().zip(&config.zone_names);
        let line = |lease: &BlockAssignment| {
            let (_, zone) = zones().find(|(zone, _)| zone.id == lease.host.zone)?;
            let (first, last) = (lease.ports.first(), lease.ports.last());
            Some((zone.clone(), lease.host.prefix.to_string(), lease.addr, first, last))
        };
        let record = Record { written: seconds(now), leases: self.held.values().filter_map(line).collect() };
        let written = write(&self.path, &record);
        self.changed = written.is_err();
        if let Err(why) = written {
            tracing::warn!(
                "{}: {why}; after a restart, ports may come to other hosts at once",
                self.path.display()
            );
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn read(path: &Path) -> Option<Record> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
        Err(why) => {
            tracing::warn!("{}: {why}", path.display());
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|why| tracing::warn!("{}: {why}; counted as empty", path.display()))
        .ok()
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    atomic_file::replace(path, &serde_json::to_vec(record)?)
}

/// The leases that still bind, of zones that are still there.
fn current(record: &Record, config: &Config, now: SystemTime) -> Vec<BlockAssignment> {
    if seconds(now).saturating_sub(record.written) > config.nat64.timers.quarantine.as_secs() {
        return Vec::new();
    }
    let lease = |(zone, host, addr, first, last): &(String, String, Ipv4Addr, u16, u16)| {
        let place = config.zone_names.iter().position(|name| name == zone)?;
        let prefix: Ipv6Prefix = host.parse().ok()?;
        let host = HostKey { zone: config.nat64.zones[place].id, prefix };
        Some(BlockAssignment { host, addr: *addr, ports: PortRange::new(*first, *last)? })
    };
    record.leases.iter().filter_map(lease).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn what_is_held_comes_back_while_it_rests() {
        // id 6888-8-restart
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            load_on(include_str!("../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
        config.host.state_dir = dir.path().to_owned();
        let host = |n: u16| {
            let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n);
            HostKey::new(config.nat64.zones[0].id, addr, 128)
        };
        let (addr, ports) = (Ipv4Addr::new(192, 0, 2, 64), |first| PortRange::new(first, first + 255));
        let ports = |first| ports(first).expect("a range");
        let mut leases = Leases::open(&config, at(1000));
        assert_eq!(leases.all().count(), 0);
        leases.note(&Event::BlockAssigned { host: host(2), addr, ports: ports(1024) });
        leases.note(&Event::BlockAssigned { host: host(3), addr, ports: ports(2048) });
        leases.note(&Event::BlockReleased { host: host(2), addr, ports: ports(1024) });
        leases.note(&Event::PoolExhausted { host: host(9) });
        leases.save(&config, at(1000));
        let want = [BlockAssignment { host: host(3), addr, ports: ports(2048) }];
        assert_eq!(Leases::open(&config, at(1120)).all().collect::<Vec<_>>(), want);
        assert_eq!(Leases::open(&config, at(1121)).all().count(), 0, "they have rested");
        assert_eq!(Leases::open(&config, at(0)).all().collect::<Vec<_>>(), want, "the clock was set back");
        leases.save(&config, at(5000));
        assert_eq!(Leases::open(&config, at(5120)).all().collect::<Vec<_>>(), want, "still in use at 5000");
        config.zone_names[0] = "another".to_owned();
        assert_eq!(Leases::open(&config, at(1000)).all().count(), 0);
        fs::write(dir.path().join(FILE), "nonsense").expect("written");
        assert_eq!(Leases::open(&config, at(1000)).all().count(), 0);
    }

    #[test]
    fn a_failed_save_is_repeated() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            load_on(include_str!("../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
        config.host.state_dir = dir.path().join("later");
        let mut leases = Leases::open(&config, at(1000));
        leases.save(&config, at(1000));
        fs::create_dir(&config.host.state_dir).expect("made");
        leases.save(&config, at(1001));
        assert!(config.host.state_dir.join(FILE).exists());
    }

    #[test]
    fn blocks_return_to_the_zone_of_the_same_name() {
        // id 6888-8-restart
        let dir = tempfile::tempdir().expect("a directory");
        let zone = |name, net| format!("[[zone]]\nname = \"{name}\"\nclients = [\"2001:db8:{net}::/64\"]\n");
        let load = |zones: [String; 2]| {
            let text = format!("[translator]\npool4 = \"192.0.2.64/28\"\n{}", zones.concat());
            let mut config = load_on(&text, &FakeHost::new()).expect("a good file");
            config.host.state_dir = dir.path().to_owned();
            config
        };
        let config = load([zone("first", 1), zone("second", 2)]);
        let lease = |config: &Config, name: &str, net: u16| {
            let place = config.zone_names.iter().position(|n| n == name).expect("a zone");
            let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, 2);
            let ports = PortRange::new(1024 * net, 1024 * net + 255).expect("a range");
            let host = HostKey::new(config.nat64.zones[place].id, addr, 128);
            BlockAssignment { host, addr: Ipv4Addr::new(192, 0, 2, 64), ports }
        };
        let mut leases = Leases::open(&config, at(1000));
        for (name, net) in [("first", 1), ("second", 2)] {
            let BlockAssignment { host, addr, ports } = lease(&config, name, net);
            leases.note(&Event::BlockAssigned { host, addr, ports });
        }
        leases.save(&config, at(1000));
        // Numbers follow the order in the file, which may change with a restart.
        let turned = load([zone("second", 2), zone("first", 1)]);
        assert_ne!(lease(&turned, "second", 2).host, lease(&config, "second", 2).host);
        for config in [&config, &turned] {
            let got: Vec<_> = Leases::open(config, at(1000)).all().collect();
            assert_eq!(got, [lease(config, "first", 1), lease(config, "second", 2)]);
        }
        let other = load([zone("second", 2), zone("third", 3)]);
        let got: Vec<_> = Leases::open(&other, at(1000)).all().collect();
        assert_eq!(got, [lease(&other, "second", 2)], "the other zone is gone");
    }

    #[test]
    fn a_start_rewrites_the_file() {
        // id 6888-8-restart
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            load_on(include_str!("../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
        config.host.state_dir = dir.path().to_owned();
        let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
        let host = HostKey::new(config.nat64.zones[0].id, addr, 128);
        let ports = PortRange::new(1024, 1279).expect("a range");
        let mut leases = Leases::open(&config, at(1000));
        leases.note(&Event::BlockAssigned { host, addr: Ipv4Addr::new(192, 0, 2, 64), ports });
        leases.save(&config, at(1000));
        // What has rested is gone from the file, so that a clock set back does not bring it back.
        Leases::open(&config, at(5000)).save(&config, at(5000));
        let written = read(&dir.path().join(FILE)).expect("a file");
        assert_eq!((written.written, written.leases.len()), (5000, 0));
    }
}
