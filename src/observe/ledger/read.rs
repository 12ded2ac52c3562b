//! What the ledger knows of a zone in a period.

use std::net::Ipv4Addr;
use std::path::Path;

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::store::{DAY, Store, StoreError, signed};
use crate::addr::Proto;
use crate::dns64::Ipv6Support;

/// Sessions from which on a host counts as one that synthesizes itself: fewer may be a single literal.
pub const CLAT_SESSIONS: u64 = 5;

/// Days since 1970, both inclusive, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// First day.
    pub first: u64,
    /// Last day.
    pub last: u64,
}

/// Counts by IPv6 support.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Support {
    /// With AAAA records.
    pub native: u64,
    /// With A records only.
    pub ipv4_only: u64,
    /// With A records; AAAA queries fail.
    pub broken_aaaa: u64,
}

impl Support {
    /// The sum.
    pub const fn total(&self) -> u64 {
        self.native + self.ipv4_only + self.broken_aaaa
    }

    /// Share of native ones, in percent; `None` if there are none at all.
    pub fn native_percent(&self) -> Option<f64> {
        percent(self.native, self.total())
    }
}

/// `part` of `whole` in percent; `None` if `whole` is 0.
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// Translated sessions and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Translated {
    /// New sessions.
    pub sessions: u64,
    /// Bytes to servers.
    pub bytes_out: u64,
    /// Bytes from servers.
    pub bytes_in: u64,
}

impl Translated {
    /// Bytes in both directions.
    pub const fn bytes(&self) -> u64 {
        self.bytes_out + self.bytes_in
    }
}

/// Hosts with translated sessions. Each host is in one class, the first that applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HostClasses {
    /// Used resolvers other than DNS64: port 853 of any server, or ports 53 and 443 of a large public resolver.
    pub bypasses_dns64: u64,
    /// Had at least [`CLAT_SESSIONS`] sessions to addresses that DNS64 synthesized for no host of the zone: has a
    /// CLAT, or synthesizes itself.
    pub clat: u64,
    /// Used addresses from DNS64.
    pub dns64_only: u64,
}

impl HostClasses {
    /// All hosts.
    pub const fn total(&self) -> u64 {
        self.bypasses_dns64 + self.clat + self.dns64_only
    }
}

/// Sessions to destinations without a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Literals {
    /// Number of destinations: address, protocol and port.
    pub destinations: u64,
    /// Sessions and bytes.
    #[serde(flatten)]
    pub translated: Translated,
}

/// A name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NameRow {
    /// The name.
    pub name: String,
    /// IPv6 support by the last answer; `None` if it was queried for A alone.
    pub ipv6_support: Option<&'static str>,
    /// Owner of its addresses, if it is an alias.
    pub alias: Option<String>,
    /// Queries for AAAA.
    pub queries: u64,
    /// Hosts with sessions.
    pub hosts: u64,
    /// Sessions and bytes.
    #[serde(flatten)]
    pub translated: Translated,
    /// First and last use, in Unix seconds.
    pub seen: (u64, u64),
}

/// A destination without a name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LiteralRow {
    /// Address.
    pub address: Ipv4Addr,
    /// Protocol.
    pub protocol: &'static str,
    /// Port; 0 for ICMP.
    pub port: u16,
    /// Sessions and bytes.
    #[serde(flatten)]
    pub translated: Translated,
}

/// A day of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DayRow {
    /// Days since 1970.
    pub day: u64,
    /// Sessions and bytes.
    #[serde(flatten)]
    pub translated: Translated,
    /// Queries for AAAA.
    pub queries: Support,
}

/// Load of the translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Load {
    /// Largest number of live sessions of the zone.
    pub peak_sessions: u64,
    /// Limit of sessions, of all zones together.
    pub session_limit: u64,
    /// Largest number of assigned ports.
    pub peak_ports: u64,
    /// Ports of the zone's pool.
    pub pool_ports: u64,
}

/// What the ledger knows of a zone.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ZoneEvidence {
    /// Name of the zone.
    pub zone: String,
    /// Programme whose targets apply.
    pub programme: Option<String>,
    /// Names queried.
    pub names: Support,
    /// Queries for AAAA.
    pub queries: Support,
    /// All translated sessions.
    pub translated: Translated,
    /// Those to literals.
    pub literals: Literals,
    /// Hosts by class; all 0 if host identities are off.
    pub hosts: HostClasses,
    /// Names that need IPv4, the most bytes first.
    pub ipv4_names: Vec<NameRow>,
    /// Literals, the most bytes first.
    pub top_literals: Vec<LiteralRow>,
    /// Dropped packets by reason, the most frequent first.
    pub drops: Vec<(String, u64)>,
    /// Days.
    pub days: Vec<DayRow>,
    /// Load.
    pub load: Load,
}

/// Reads the evidence of all zones, or of the one with this name, with at most `most` names and literals each.
///
/// # Errors
/// The ledger cannot be read.
pub fn read(
    path: &Path,
    period: Period,
    zone: Option<&str>,
    most: u32,
) -> Result<Vec<ZoneEvidence>, StoreError> {
    let db = Store::open_read_only(path)?;
    // One state of the database for all queries.
    db.execute_batch("BEGIN")?;
    let mut zones =
        db.prepare("SELECT id, name, programme, session_limit, pool_ports FROM zone ORDER BY name")?;
    let rows = zones.query_map([], |row| {
        let limits = (unsigned(row, 3)?, unsigned(row, 4)?);
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?, limits))
    })?;
    let mut all = Vec::new();
    for row in rows {
        let (id, name, programme, limits) = row?;
        if zone.is_none_or(|zone| zone == name) {
            let query = Query { db: &db, zone: id, period, most };
            all.push(query.evidence(name, programme, limits)?);
        }
    }
    Ok(all)
}

/// A number that is never negative; 0 if it is NULL.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
}

fn translated(row: &Row<'_>, column: usize) -> rusqlite::Result<Translated> {
    Ok(Translated {
        sessions: unsigned(row, column)?,
        bytes_out: unsigned(row, column + 1)?,
        bytes_in: unsigned(row, column + 2)?,
    })
}

/// Queries about a zone in a period.
struct Query<'a> {
    db: &'a Connection,
    zone: i64,
    period: Period,
    most: u32,
}

impl Query<'_> {
    fn evidence(
        &self,
        zone: String,
        programme: Option<String>,
        (session_limit, pool_ports): (u64, u64),
    ) -> rusqlite::Result<ZoneEvidence> {
        let days = self.days()?;
        let mut all = DayRow::default();
        for day in &days {
            all.translated.sessions += day.translated.sessions;
            all.translated.bytes_out += day.translated.bytes_out;
            all.translated.bytes_in += day.translated.bytes_in;
            all.queries.native += day.queries.native;
            all.queries.ipv4_only += day.queries.ipv4_only;
            all.queries.broken_aaaa += day.queries.broken_aaaa;
        }
        let [peak_sessions, peak_ports] = self.peaks()?;
        Ok(ZoneEvidence {
            zone,
            programme,
            names: self.names()?,
            queries: all.queries,
            translated: all.translated,
            literals: self.literals()?,
            hosts: self.hosts()?,
            ipv4_names: self.ipv4_names()?,
            top_literals: self.top_literals()?,
            drops: self.drops()?,
            days,
            load: Load { peak_sessions, session_limit, peak_ports, pool_ports },
        })
    }

    /// Runs a query with the parameters zone, first day, last day.
    fn rows<T>(
        &self,
        sql: &str,
        each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let Period { first, last } = self.period;
        let mut statement = self.db.prepare_cached(sql)?;
        statement.query_map(params![self.zone, signed(first), signed(last)], each)?.collect()
    }

    fn days(&self) -> rusqlite::Result<Vec<DayRow>> {
        self.rows(
            "SELECT hour / 24 AS day, sum(sessions), sum(bytes_out), sum(bytes_in), sum(native_queries),
                sum(ipv4_only_queries), sum(broken_queries)
             FROM hours WHERE zone = ?1 AND hour BETWEEN ?2 * 24 AND ?3 * 24 + 23 GROUP BY day ORDER BY day",
            |row| {
                let queries = Support {
                    native: unsigned(row, 4)?,
                    ipv4_only: unsigned(row, 5)?,
                    broken_aaaa: unsigned(row, 6)?,
                };
                Ok(DayRow { day: unsigned(row, 0)?, translated: translated(row, 1)?, queries })
            },
        )
    }

    fn peaks(&self) -> rusqlite::Result<[u64; 2]> {
        let peaks = self.rows(
            "SELECT max(peak_sessions), max(peak_ports) FROM hours
             WHERE zone = ?1 AND hour BETWEEN ?2 * 24 AND ?3 * 24 + 23",
            |row| Ok([unsigned(row, 0)?, unsigned(row, 1)?]),
        )?;
        Ok(peaks.first().copied().unwrap_or_default())
    }

    /// Names by IPv6 support on the last day with an answer for AAAA.
    fn names(&self) -> rusqlite::Result<Support> {
        let counts = self.rows(
            "SELECT support, count(*) FROM (SELECT support, max(day) FROM names
                WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 AND support IS NOT NULL GROUP BY name)
             GROUP BY support",
            |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)),
        )?;
        let count = |of: Ipv6Support| {
            counts.iter().find(|(support, _)| *support == of as u64).map_or(0, |(_, count)| *count)
        };
        Ok(Support {
            native: count(Ipv6Support::Native),
            ipv4_only: count(Ipv6Support::Ipv4Only),
            broken_aaaa: count(Ipv6Support::BrokenAaaa),
        })
    }

    fn literals(&self) -> rusqlite::Result<Literals> {
        let sums = self.rows(
            "SELECT count(*), sum(sessions), sum(bytes_out), sum(bytes_in) FROM (SELECT sum(sessions) AS sessions,
                sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in FROM literals
                WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY address, protocol, port)",
            |row| Ok(Literals { destinations: unsigned(row, 0)?, translated: translated(row, 1)? }),
        )?;
        Ok(sums.first().copied().unwrap_or_default())
    }

    fn hosts(&self) -> rusqlite::Result<HostClasses> {
        let counts = self.rows(
            &format!(
                "SELECT sum(bypass > 0), sum(bypass = 0 AND local >= {CLAT_SESSIONS}),
                    sum(bypass = 0 AND local < {CLAT_SESSIONS})
                 FROM (SELECT sum(bypass_sessions) AS bypass, sum(local_sessions) AS local FROM hosts
                    WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY host)"
            ),
            |row| {
                let (bypasses_dns64, clat) = (unsigned(row, 0)?, unsigned(row, 1)?);
                Ok(HostClasses { bypasses_dns64, clat, dns64_only: unsigned(row, 2)? })
            },
        )?;
        Ok(counts.first().copied().unwrap_or_default())
    }

    /// Names with translated sessions, or with A records only. The last day with an answer for AAAA decides.
    fn ipv4_names(&self) -> rusqlite::Result<Vec<NameRow>> {
        let support = |number: Option<i64>| {
            let found = Ipv6Support::ALL.into_iter().find(|support| Some(*support as i64) == number);
            found.map(Ipv6Support::name)
        };
        self.rows(
            &format!(
                "SELECT name.name, support, alias, queries, sessions, bytes_out, bytes_in, first, last,
                    (SELECT count(DISTINCT host) FROM name_hosts
                     WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 AND name_hosts.name = found.name)
                 FROM (SELECT name, support, alias, max(CASE WHEN support IS NULL THEN -1 ELSE day END),
                        sum(queries) AS queries, sum(sessions) AS sessions, sum(bytes_out) AS bytes_out,
                        sum(bytes_in) AS bytes_in, min(first) AS first, max(last) AS last
                    FROM names WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY name) AS found
                 JOIN name ON name.id = found.name
                 WHERE support IS NOT 0 OR sessions > 0
                 ORDER BY bytes_out + bytes_in DESC, queries DESC, name.name LIMIT {}",
                self.most
            ),
            |row| {
                Ok(NameRow {
                    name: row.get(0)?,
                    ipv6_support: support(row.get(1)?),
                    alias: row.get(2)?,
                    queries: unsigned(row, 3)?,
                    hosts: unsigned(row, 9)?,
                    translated: translated(row, 4)?,
                    seen: (unsigned(row, 7)?, unsigned(row, 8)?),
                })
            },
        )
    }

    fn top_literals(&self) -> rusqlite::Result<Vec<LiteralRow>> {
        self.rows(
            &format!(
                "SELECT address, protocol, port, sum(sessions), sum(bytes_out), sum(bytes_in) FROM literals
                 WHERE zone = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY address, protocol, port
                 ORDER BY sum(bytes_out) + sum(bytes_in) DESC, sum(sessions) DESC, address, port LIMIT {}",
                self.most
            ),
            |row| {
                let protocol: u8 = row.get(1)?;
                Ok(LiteralRow {
                    address: Ipv4Addr::from_bits(row.get(0)?),
                    protocol: Proto::ALL.get(usize::from(protocol)).map_or("?", |proto| proto.name()),
                    port: row.get(2)?,
                    translated: translated(row, 3)?,
                })
            },
        )
    }

    fn drops(&self) -> rusqlite::Result<Vec<(String, u64)>> {
        self.rows(
            "SELECT reason, sum(packets) FROM drops WHERE zone = ?1 AND day BETWEEN ?2 AND ?3
             GROUP BY reason ORDER BY sum(packets) DESC, reason",
            |row| Ok((row.get(0)?, unsigned(row, 1)?)),
        )
    }
}

/// The day of a Unix second.
pub const fn day_of(seconds: u64) -> u64 {
    seconds / DAY
}
