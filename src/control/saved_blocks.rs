//! Saved block assignments: which host has which port block, across a restart. Without them, another host could
//! get a block immediately and receive late packets of the previous one (RFC 6888 REQ-8).
//!
//! The assignments follow the workers' events; a file has them every [`INTERVAL`] and at exit. A gateway that
//! starts within the quarantine (`port_quarantine`) returns the blocks to their hosts. After a kill, or after lost
//! events, the assignments of the last seconds are missing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::json_file;
use crate::addr::{HostKey, Ipv6Prefix, PortRange};
use crate::config::Config;
use crate::observe::unix_seconds;
use crate::translator::{BlockAssignment, Event};

const FILE: &str = "blocks.json";
/// Interval between writes of the file.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Unix time in seconds.
    written: u64,
    /// Zone, host prefix, address, first and last port.
    blocks: Vec<(String, String, Ipv4Addr, u16, u16)>,
}

/// The present assignments.
pub(super) struct SavedBlocks {
    path: PathBuf,
    assigned: BTreeMap<(Ipv4Addr, u16), BlockAssignment>,
    changed: bool,
}

impl SavedBlocks {
    /// Reads the file of the previous gateway if its quarantine has not ended by `now`. An unreadable file counts
    /// as empty, with a warning.
    pub(super) fn open(config: &Config, now: SystemTime) -> Self {
        let path = config.host.state_dir.join(FILE);
        let blocks = json_file::read(&path).map_or_else(Vec::new, |record| current(&record, config, now));
        let assigned = blocks.into_iter().map(|block| ((block.addr, block.ports.first()), block)).collect();
        Self { path, assigned, changed: true }
    }

    /// All assignments.
    pub(super) fn all(&self) -> impl Iterator<Item = BlockAssignment> + '_ {
        self.assigned.values().copied()
    }

    /// Updates the assignments after an event.
    pub(super) fn note(&mut self, event: &Event) {
        match *event {
            Event::BlockAssigned { host, addr, ports } => {
                self.assigned.insert((addr, ports.first()), BlockAssignment { host, addr, ports });
            }
            Event::BlockReleased { addr, ports, .. } | Event::BlockReclaimed { addr, ports, .. } => {
                self.assigned.remove(&(addr, ports.first()));
            }
            Event::SessionStarted { .. }
            | Event::SessionEnded { .. }
            | Event::QuotaReached { .. }
            | Event::PoolExhausted { .. }
            | Event::WithoutChecksum { .. } => {
                return;
            }
        }
        self.changed = true;
    }

    /// Writes the file if an assignment changed, and as long as blocks are in use: its time stamp
    /// says when they were last known to be. A failed write is repeated at the next call.
    pub(super) fn save(&mut self, config: &Config, now: SystemTime) {
        if !self.changed && self.assigned.is_empty() {
            return;
        }
        let zones = || config.nat64.zones.iter().zip(&config.zone_names);
        let line = |block: &BlockAssignment| {
            let (_, zone) = zones().find(|(zone, _)| zone.id == block.host.zone)?;
            let (first, last) = (block.ports.first(), block.ports.last());
            Some((zone.clone(), block.host.prefix.to_string(), block.addr, first, last))
        };
        let record =
            Record { written: unix_seconds(now), blocks: self.assigned.values().filter_map(line).collect() };
        let written = json_file::replace(&self.path, &record);
        self.changed = written.is_err();
        if let Err(why) = written {
            tracing::warn!(
                "{}: {why}; after a restart, ports may be reassigned without quarantine",
                self.path.display()
            );
        }
    }
}

/// The assignments whose quarantine has not ended, of existing zones.
fn current(record: &Record, config: &Config, now: SystemTime) -> Vec<BlockAssignment> {
    if unix_seconds(now).saturating_sub(record.written) > config.nat64.timers.quarantine.as_secs() {
        return Vec::new();
    }
    let assignment = |(zone, host, addr, first, last): &(String, String, Ipv4Addr, u16, u16)| {
        let index = config.zone_names.iter().position(|name| name == zone)?;
        let prefix: Ipv6Prefix = host.parse().ok()?;
        let host = HostKey { zone: config.nat64.zones[index].id, prefix };
        Some(BlockAssignment { host, addr: *addr, ports: PortRange::new(*first, *last)? })
    };
    record.blocks.iter().filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn assignments_return_within_the_quarantine() {
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
        let mut saved = SavedBlocks::open(&config, at(1000));
        assert_eq!(saved.all().count(), 0);
        saved.note(&Event::BlockAssigned { host: host(2), addr, ports: ports(1024) });
        saved.note(&Event::BlockAssigned { host: host(3), addr, ports: ports(2048) });
        saved.note(&Event::BlockReleased { host: host(2), addr, ports: ports(1024) });
        saved.note(&Event::PoolExhausted { host: host(9) });
        saved.save(&config, at(1000));
        let want = [BlockAssignment { host: host(3), addr, ports: ports(2048) }];
        assert_eq!(SavedBlocks::open(&config, at(1120)).all().collect::<Vec<_>>(), want);
        assert_eq!(SavedBlocks::open(&config, at(1121)).all().count(), 0, "the quarantine has ended");
        assert_eq!(
            SavedBlocks::open(&config, at(0)).all().collect::<Vec<_>>(),
            want,
            "the clock was set back"
        );
        saved.save(&config, at(5000));
        assert_eq!(
            SavedBlocks::open(&config, at(5120)).all().collect::<Vec<_>>(),
            want,
            "still in use at 5000"
        );
        config.zone_names[0] = "another".to_owned();
        assert_eq!(SavedBlocks::open(&config, at(1000)).all().count(), 0);
        fs::write(dir.path().join(FILE), "nonsense").expect("written");
        assert_eq!(SavedBlocks::open(&config, at(1000)).all().count(), 0);
    }

    #[test]
    fn a_failed_save_is_repeated() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            load_on(include_str!("../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
        config.host.state_dir = dir.path().join("later");
        let mut saved = SavedBlocks::open(&config, at(1000));
        saved.save(&config, at(1000));
        fs::create_dir(&config.host.state_dir).expect("made");
        saved.save(&config, at(1001));
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
        let assignment = |config: &Config, name: &str, net: u16| {
            let index = config.zone_names.iter().position(|n| n == name).expect("a zone");
            let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, 2);
            let ports = PortRange::new(1024 * net, 1024 * net + 255).expect("a range");
            let host = HostKey::new(config.nat64.zones[index].id, addr, 128);
            BlockAssignment { host, addr: Ipv4Addr::new(192, 0, 2, 64), ports }
        };
        let mut saved = SavedBlocks::open(&config, at(1000));
        for (name, net) in [("first", 1), ("second", 2)] {
            let BlockAssignment { host, addr, ports } = assignment(&config, name, net);
            saved.note(&Event::BlockAssigned { host, addr, ports });
        }
        saved.save(&config, at(1000));
        // Numbers follow the order in the file, which may change with a restart.
        let reordered = load([zone("second", 2), zone("first", 1)]);
        assert_ne!(assignment(&reordered, "second", 2).host, assignment(&config, "second", 2).host);
        for config in [&config, &reordered] {
            let got: Vec<_> = SavedBlocks::open(config, at(1000)).all().collect();
            assert_eq!(got, [assignment(config, "first", 1), assignment(config, "second", 2)]);
        }
        let other = load([zone("second", 2), zone("third", 3)]);
        let got: Vec<_> = SavedBlocks::open(&other, at(1000)).all().collect();
        assert_eq!(got, [assignment(&other, "second", 2)], "the other zone was removed");
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
        let mut saved = SavedBlocks::open(&config, at(1000));
        saved.note(&Event::BlockAssigned { host, addr: Ipv4Addr::new(192, 0, 2, 64), ports });
        saved.save(&config, at(1000));
        // Blocks whose quarantine has ended leave the file, so that a clock set back does not restore them.
        SavedBlocks::open(&config, at(5000)).save(&config, at(5000));
        let written = json_file::read::<Record>(&dir.path().join(FILE)).expect("a file");
        assert_eq!((written.written, written.blocks.len()), (5000, 0));
    }
}
