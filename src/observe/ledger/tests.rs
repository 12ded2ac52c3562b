//! The ledger compared with sums computed from the generated traffic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::addr::{HostKey, Pref64, Proto, Transport4, Transport6, ZoneId};
use crate::config::{HostIdentities, HostInfo, OwnAddress};
use crate::dns64::{AddressName, Ipv6Support};
use crate::observe::binding_log::Hosts;
use crate::reason::Reason;
use crate::resolver;
use crate::time::Instant;
use crate::worker::state::{self, Header, Moment, RECORD};
use read::Translated;
use rusqlite::Connection;

const SLOTS: usize = 64;

/// A gateway whose names and counters the test sets.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    names: HashMap<Ipv4Addr, (String, bool)>,
    usage: BTreeMap<ZoneId, Vec<resolver::Name>>,
    drops: u64,
}

impl Source for Scripted {
    fn names_of(&self, of: Vec<(HostKey, Ipv4Addr)>) -> Vec<Option<AddressName>> {
        let script = self.0.lock().expect("sound");
        let found = of.iter().map(|(_, addr)| {
            let (name, is_synthesized) = script.names.get(addr)?.clone();
            Some(AddressName { name, received: Instant::ZERO, is_of_host: false, is_synthesized })
        });
        found.collect()
    }

    fn take_usage(&self) -> BTreeMap<ZoneId, Vec<resolver::Name>> {
        std::mem::take(&mut self.0.lock().expect("sound").usage)
    }

    fn drops(&self, zone: ZoneId, reason: Reason) -> u64 {
        if zone == ZoneId(0) && reason == Reason::Filtered { self.0.lock().expect("sound").drops } else { 0 }
    }

    fn load(&self, _: ZoneId) -> [u64; 2] {
        [7, 9]
    }
}

/// A host without addresses.
struct NoHost;

impl HostInfo for NoHost {
    fn addresses(&self) -> &[OwnAddress] {
        &[]
    }

    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }

    fn cpus(&self) -> usize {
        1
    }
}

/// The clock of the tests: 2026-11-01, noon.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_534_400)
}

fn config() -> Config {
    let text = "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.0/28\"\naddress6 = \"2001:db8:ffff::1\"\naddress4 = \"203.0.113.99\"\n\
        [[zone]]\nname = \"a\"\nclients = [\"2001:db8:1::/64\"]\nprogramme = \"vn-3369\"\n\
        [[zone]]\nname = \"b\"\nclients = [\"2001:db8:2::/64\"]\n";
    Config::parse("test", text, &NoHost).expect("valid")
}

fn settings(dir: &Path) -> config::Ledger {
    config::Ledger { file: dir.join(FILE), hosts: HostIdentities::Plain, ..config().ledger }
}

struct Bench {
    task: Task<Scripted>,
    gateway: Scripted,
    path: PathBuf,
    table: Vec<Option<SessionRecord>>,
}

impl Bench {
    fn new(dir: &Path, restored: Vec<SessionRecord>) -> Self {
        let (gateway, path) = (Scripted::default(), dir.join("sessions"));
        let hosts = Hosts::open(None).expect("no file");
        let credits = Credits::new(gateway.clone(), Zones::of(&config()), Some(hosts));
        let files = SessionFiles { paths: vec![path.clone()], restored };
        let status = Arc::new(LedgerStatus::default());
        let task = Task::new(&settings(dir), credits, files, (status, noon)).expect("opens");
        Self { task, gateway, path, table: vec![None; SLOTS] }
    }

    /// Saves the table as a worker does, and reads it.
    fn read(&mut self) {
        let moment = Moment { boot: [1; 16], monotonic: 1, wall: 1 };
        let header = Header { owner_seed: 1, written: moment, clock: Instant::ZERO };
        let mut file = header.encode().to_vec();
        for record in &self.table {
            let mut out = [0; RECORD];
            state::encode(state::Kind::Session, record.as_ref(), Instant::ZERO, &mut out);
            file.extend_from_slice(&out);
        }
        fs::write(&self.path, file).expect("written");
        self.task.read();
    }

    fn database(&mut self) -> Connection {
        self.task.write();
        Store::open_read_only(&self.task.settings.file).expect("a ledger")
    }
}

fn record(host: u16, remote: [u8; 4], port: u16) -> SessionRecord {
    let net = if host < 100 { 1 } else { 2 };
    SessionRecord {
        proto: Proto::Tcp,
        v6: Transport6::new(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host), 40_000),
        v4: Transport4::new(Ipv4Addr::new(192, 0, 2, 1), 1024 + host),
        remote: Transport4::new(remote.into(), port),
        pref64: Pref64::WELL_KNOWN,
        state: 0,
        remaining: Duration::from_secs(60),
        silent: Duration::ZERO,
        inbound: false,
        answered: true,
        packets: [1, 1],
        bytes: [0, 0],
    }
}

/// Rows of a query, as text.
fn rows(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).expect("valid");
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|column| match row.get_ref(column)? {
            rusqlite::types::ValueRef::Null => Ok("-".to_owned()),
            rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
            other => Ok(other.as_str()?.to_owned()),
        });
        Ok(values.collect::<Result<Vec<_>, rusqlite::Error>>()?.join(" "))
    };
    statement.query_map([], text).expect("runs").collect::<Result<_, _>>().expect("rows")
}

const NAMES: &str = "SELECT zone.name, name.name, sessions, bytes_out, bytes_in FROM names
    JOIN zone ON zone.id = zone JOIN name ON name.id = names.name ORDER BY 1, 2";
const LITERALS: &str = "SELECT zone.name, address, port, sessions, bytes_out, bytes_in FROM literals
    JOIN zone ON zone.id = zone ORDER BY 1, 2, 3";
const HOSTS: &str =
    "SELECT zone.name, host.host, sessions, bytes_out, bytes_in, local_sessions, bypass_sessions
    FROM hosts JOIN zone ON zone.id = zone JOIN host ON host.id = hosts.host ORDER BY 1, 2";

/// A number from a seed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Expected sums.
#[derive(Default)]
struct Truth {
    names: BTreeMap<(&'static str, String), [u64; 3]>,
    literals: BTreeMap<(&'static str, u32, u16), [u64; 3]>,
    hosts: BTreeMap<(&'static str, String), [u64; 5]>,
    pairs: BTreeSet<(String, String)>,
}

impl Truth {
    /// Adds sessions and bytes of a record.
    fn add(&mut self, record: &SessionRecord, sessions: u64, bytes: [u64; 2]) {
        let add = |sums: &mut [u64]| {
            sums[0] += sessions;
            sums[1] += bytes[0];
            sums[2] += bytes[1];
        };
        let zone = if record.v6.addr.segments()[2] == 1 { "a" } else { "b" };
        let last = record.remote.addr.octets()[3];
        let host = record.v6.addr.to_string();
        let hosts = self.hosts.entry((zone, host.clone())).or_default();
        add(hosts);
        // Addresses below 8 have a name; below 4 it was synthesized.
        if last >= 4 {
            hosts[3] += sessions;
        }
        if record.remote.port == 853 {
            hosts[4] += sessions;
        }
        if last < 8 {
            let name = format!("n{last}.example.");
            add(self.names.entry((zone, name.clone())).or_default());
            self.pairs.insert((name, host));
        } else {
            let key = (zone, u32::from(record.remote.addr), record.remote.port);
            add(self.literals.entry(key).or_default());
        }
    }
}

fn texts<K, const N: usize>(map: &BTreeMap<K, [u64; N]>, key: impl Fn(&K) -> String) -> Vec<String> {
    let numbers = |sums: &[u64; N]| sums.map(|sum| sum.to_string()).join(" ");
    map.iter().map(|(of, sums)| format!("{} {}", key(of), numbers(sums))).collect()
}

#[test]
fn sums_equal_the_generated_traffic_also_over_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    let (mut truth, mut seed) = (Truth::default(), 5);
    let named = |bench: &Bench| {
        let names =
            (0..8).map(|last| (Ipv4Addr::new(198, 51, 100, last), (format!("n{last}.example."), last < 4)));
        bench.gateway.0.lock().expect("sound").names = names.collect();
    };
    named(&bench);
    for round in 0..60 {
        if round == 30 {
            // The new process restores the sessions, in other slots, and its resolver knows no names.
            bench.task.write();
            let mut table = bench.table.clone();
            table.reverse();
            let restored = table.iter().flatten().copied().collect();
            bench = Bench::new(dir.path(), restored);
            bench.table = table;
        }
        if round == 31 {
            named(&bench);
        }
        for _ in 0..10 {
            let slot = (next(&mut seed) % SLOTS as u64) as usize;
            match (next(&mut seed) % 10, bench.table[slot]) {
                (0..3, _) if round != 30 => {
                    let host = [1, 2, 3, 100, 101][(next(&mut seed) % 5) as usize];
                    let port = [443, 853][(next(&mut seed) % 2) as usize];
                    let mut new = record(host, [198, 51, 100, (next(&mut seed) % 12) as u8], port);
                    new.v6.port = (next(&mut seed) % 60_000) as u16;
                    new.bytes = [60, 40];
                    truth.add(&new, 1, new.bytes);
                    bench.table[slot] = Some(new);
                }
                (3, _) => bench.table[slot] = None,
                (_, Some(mut grown)) => {
                    let more = [next(&mut seed) % 10_000, next(&mut seed) % 10_000];
                    grown.bytes = [grown.bytes[0] + more[0], grown.bytes[1] + more[1]];
                    truth.add(&grown, 0, more);
                    bench.table[slot] = Some(grown);
                }
                (_, None) => {}
            }
            bench.read();
        }
    }
    let db = bench.database();
    compare_evidence(&bench.task.settings.file, &truth);
    assert_eq!(rows(&db, NAMES), texts(&truth.names, |(zone, name)| format!("{zone} {name}")));
    assert_eq!(
        rows(&db, LITERALS),
        texts(&truth.literals, |(zone, addr, port)| format!("{zone} {addr} {port}"))
    );
    assert_eq!(rows(&db, HOSTS), texts(&truth.hosts, |(zone, host)| format!("{zone} {host}")));
    let pairs = "SELECT count(*) FROM name_hosts";
    assert_eq!(rows(&db, pairs), [truth.pairs.len().to_string()]);
    let all =
        truth.hosts.values().fold([0; 3], |all, sums| [all[0] + sums[0], all[1] + sums[1], all[2] + sums[2]]);
    let sums = "SELECT sum(sessions), sum(bytes_out), sum(bytes_in) FROM hours";
    assert_eq!(rows(&db, sums), [all.map(|sum| sum.to_string()).join(" ")]);
}

/// Compares what a report reads with the expected sums.
fn compare_evidence(file: &Path, truth: &Truth) {
    let today = read::day_of(unix_seconds(noon()));
    let period = read::Period { first: today, last: today };
    let zones = read::read(file, period, None, 1000).expect("readable");
    for (zone, expected) in zones.iter().zip(["a", "b"]) {
        assert_eq!(zone.zone, expected);
        let hosts = truth.hosts.iter().filter(|((zone, _), _)| *zone == expected).map(|(_, sums)| *sums);
        let hosts: Vec<[u64; 5]> = hosts.collect();
        let bypass = hosts.iter().filter(|sums| sums[4] > 0).count() as u64;
        assert_eq!((zone.hosts.bypasses_dns64, zone.hosts.total()), (bypass, hosts.len() as u64));
        assert_eq!(zone.translated.sessions, hosts.iter().map(|sums| sums[0]).sum::<u64>());
        assert_eq!(zone.translated.bytes(), hosts.iter().map(|sums| sums[1] + sums[2]).sum::<u64>());
        for row in &zone.ipv4_names {
            let sums = truth.names[&(expected, row.name.clone())];
            let Translated { sessions, bytes_out, bytes_in } = row.translated;
            assert_eq!([sessions, bytes_out, bytes_in], sums, "{}", row.name);
            let in_zone =
                |host: &str| host.starts_with(if expected == "a" { "2001:db8:1:" } else { "2001:db8:2:" });
            let pairs = truth.pairs.iter().filter(|(name, host)| *name == row.name && in_zone(host));
            assert_eq!(row.hosts, pairs.count() as u64);
        }
        let names = truth.names.keys().filter(|(zone, _)| *zone == expected).count();
        let literals = truth.literals.keys().filter(|(zone, ..)| *zone == expected).count();
        assert_eq!((zone.ipv4_names.len(), zone.top_literals.len()), (names, literals));
        assert_eq!(zone.literals.destinations, literals as u64);
    }
    let before = read::Period { first: today - 9, last: today - 1 };
    let zones = read::read(file, before, Some("a"), 1000).expect("readable");
    assert_eq!((zones.len(), zones[0].translated, zones[0].names.total()), (1, Translated::default(), 0));
}

#[test]
fn a_record_that_is_being_written_counts_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    bench.table[3] = Some(SessionRecord { bytes: [100, 50], ..record(1, [203, 0, 113, 1], 443) });
    bench.read();
    let mut torn = fs::read(&bench.path).expect("written");
    torn[state::HEADER + 3 * RECORD + 70] ^= 1;
    fs::write(&bench.path, torn).expect("written");
    bench.task.read();
    bench.read();
    let db = bench.database();
    assert_eq!(rows(&db, LITERALS), [format!("a {} 443 1 100 50", u32::from(Ipv4Addr::new(203, 0, 113, 1)))]);
}

#[test]
fn queries_drops_and_load_are_collected() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    let usage = |times, ipv6_support, alias: Option<&str>| resolver::Name {
        name: "n.example.".into(),
        ipv6_support,
        alias: alias.map(Into::into),
        times,
        first: Duration::from_secs(90),
        last: Duration::from_secs(2),
    };
    for (times, support, alias) in
        [(3, Ipv6Support::Ipv4Only, Some("cdn.example.")), (2, Ipv6Support::BrokenAaaa, None)]
    {
        bench.gateway.0.lock().expect("sound").usage.insert(ZoneId(1), vec![usage(times, support, alias)]);
        bench.gateway.0.lock().expect("sound").drops += 5;
        bench.task.write();
    }
    let db = bench.database();
    let names = "SELECT support, alias, queries, sessions FROM names";
    assert_eq!(rows(&db, names), ["2 - 5 0"], "the last answer decides");
    let hours =
        "SELECT zone.name, native_queries, ipv4_only_queries, broken_queries, peak_sessions, peak_ports,
        session_limit, pool_ports, programme FROM hours JOIN zone ON zone.id = zone ORDER BY 1";
    let sessions = config().nat64.limits.sessions;
    let ports = 16 * 65_535;
    let expected =
        [format!("a 0 0 0 7 9 {sessions} {ports} vn-3369"), format!("b 0 3 2 7 9 {sessions} {ports} -")];
    assert_eq!(rows(&db, hours), expected);
    assert_eq!(
        rows(&db, "SELECT zone.name, reason, packets FROM drops JOIN zone ON zone.id = zone"),
        ["a filtered 10"]
    );
}

#[test]
fn an_unusable_file_is_renamed() {
    let old = "PRAGMA application_id = 1731408940; PRAGMA user_version = 99; CREATE TABLE meta (key)";
    let foreign = "CREATE TABLE other (key)";
    for content in [Some(old), Some(foreign), None] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        match content {
            Some(sql) => Connection::open(&path).expect("opens").execute_batch(sql).expect("runs"),
            None => fs::write(&path, [7; 9000]).expect("written"),
        }
        let (store, aside) = Store::open(&path, 1 << 20, 5).expect("replaced");
        let aside = aside.expect("renamed");
        assert!(aside.exists() && aside.to_string_lossy().ends_with("unusable-5"), "{content:?}");
        assert_eq!(store.last(), 0);
        drop(store);
        assert_eq!(Store::open(&path, 1 << 20, 6).expect("a ledger").1, None, "the new one is kept");
    }
}

#[test]
fn a_full_file_loses_its_oldest_day_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    let noon = unix_seconds(noon());
    let (mut store, _) = Store::open(&bench.task.settings.file, 300 << 10, noon).expect("opens");
    let fill = |name: &str| {
        let mut batch = batch::Batch::default();
        for number in 0..1500 {
            let key = ("a".into(), format!("{name}-{number}.example.").as_str().into());
            batch.credit_queries(key, Ipv6Support::Native, None, 1, (noon, noon));
        }
        batch
    };
    store.write(noon - 2 * DAY, &fill("old")).expect("room");
    let full = (0..9).find_map(|number| store.write(noon - DAY, &fill(&format!("new{number}"))).err());
    assert!(full.expect("full").is_full());
    bench.task.store = store;
    bench.task.credits.batch = fill("today");
    bench.task.write();
    assert_eq!(bench.task.status.failures.read(), 0);
    assert!(bench.task.status.deleted_days.read() >= 1);
    assert!(bench.task.credits.batch.names.is_empty(), "written");
    let today = noon / DAY;
    let db = bench.database();
    assert_eq!(rows(&db, &format!("SELECT count(*) FROM names WHERE day = {today}")), ["1500"]);
    assert_eq!(rows(&db, &format!("SELECT count(*) FROM names WHERE day = {}", today - 2)), ["0"]);
}

#[test]
fn a_failed_write_is_repeated_and_a_clock_behind_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    bench.table[0] = Some(SessionRecord { bytes: [1, 2], ..record(1, [203, 0, 113, 1], 443) });
    bench.read();
    let other = Connection::open(&bench.task.settings.file).expect("opens");
    other.execute_batch("ALTER TABLE literals RENAME TO hidden").expect("runs");
    bench.task.write();
    assert_eq!(bench.task.status.failures.read(), 1);
    let later = unix_seconds(noon()) + 3600;
    other.execute_batch("ALTER TABLE hidden RENAME TO literals").expect("runs");
    other.execute_batch(&format!("INSERT OR REPLACE INTO meta VALUES ('last', {later})")).expect("runs");
    let db = bench.database();
    assert_eq!(rows(&db, "SELECT sessions, bytes_out, bytes_in FROM literals"), ["1 1 2"]);
    assert_eq!((bench.task.status.failures.read(), bench.task.status.clock_steps.read()), (1, 1));
}

#[test]
fn days_beyond_the_retention_are_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(dir.path(), Vec::new());
    let noon = unix_seconds(noon());
    let mut batch = batch::Batch::default();
    batch.credit_queries(("a".into(), "old.example.".into()), Ipv6Support::Native, None, 1, (0, 0));
    let days = u64::from(bench.task.settings.retention_days);
    bench.task.store.write(noon - (days + 1) * DAY, &batch).expect("room");
    assert!(bench.task.store.oldest_day().is_some());
    let db = bench.database();
    assert_eq!(bench.task.store.oldest_day(), None);
    assert_eq!(rows(&db, "SELECT count(*) FROM name"), ["0"]);
    assert_eq!(rows(&db, "SELECT count(*) FROM hours WHERE hour < 400000"), ["0"]);
}
