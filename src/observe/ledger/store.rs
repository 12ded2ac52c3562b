//! The ledger's database.
//!
//! One SQLite file with a write-ahead log: `gate64 report` reads it while the gateway writes. Its size is bounded;
//! a full file loses its oldest day. A file that cannot be used is renamed, and a new one begun: statistics are not
//! worth a gateway that does not start.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};

use super::batch::Batch;

/// Version of the schema.
const VERSION: i64 = 1;
/// Marks the file as a ledger: `g64l`.
const APPLICATION: i64 = 0x6736_346c;
const SCHEMA: &str = include_str!("schema.sql");
/// Bytes of a page.
const PAGE: u64 = 4096;
/// How long an access waits for another process.
const BUSY: Duration = Duration::from_secs(5);
/// Tables with a row per day.
const DAILY: [&str; 5] = ["names", "name_hosts", "literals", "hosts", "drops"];
/// Hours a day.
const HOURS: u64 = 24;

/// Seconds a day.
pub(super) const DAY: u64 = 86_400;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another file, or a ledger of another version.
    #[error("{0}")]
    Foreign(String),
    /// The file cannot be created or renamed.
    #[error(transparent)]
    Io(io::Error),
    /// SQLite reports an error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether a new file is the remedy.
    pub(super) fn is_unusable(&self) -> bool {
        match self {
            Self::Foreign(_) => true,
            Self::Io(_) => false,
            Self::Sqlite(why) => {
                matches!(why.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
        }
    }

    /// Whether the file or its disk is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(why) if why.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
}

impl Store {
    /// Opens or creates the file, of at most `bytes`. Renames a file that cannot be used, and returns its new path.
    /// `now` is in Unix seconds.
    ///
    /// # Errors
    /// The file can be neither opened nor replaced.
    pub(super) fn open(path: &Path, bytes: u64, now: u64) -> Result<(Self, Option<PathBuf>), StoreError> {
        match Self::try_open(path, bytes) {
            Ok(store) => Ok((store, None)),
            Err(why) if why.is_unusable() => {
                let aside = aside(path, now);
                tracing::warn!(
                    "{}: {why}; it is now {}, and a new ledger begins",
                    path.display(),
                    aside.display()
                );
                std::fs::rename(path, &aside).map_err(StoreError::Io)?;
                for suffix in ["-wal", "-shm"] {
                    // They belong to the old file; often they are missing.
                    let _ = std::fs::remove_file(with_suffix(path, suffix));
                }
                Ok((Self::try_open(path, bytes)?, Some(aside)))
            }
            Err(why) => Err(why),
        }
    }

    fn try_open(path: &Path, bytes: u64) -> Result<Self, StoreError> {
        create_private(path)?;
        let mut db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        let version = version_of(&db)?;
        // A commit is on the disk only after a checkpoint: a crash of the machine loses the last minutes, a kill nothing.
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "cache_size", -8192)?;
        db.pragma_update(None, "max_page_count", signed((bytes / PAGE).max(64)))?;
        if version == 0 {
            let create = db.transaction()?;
            create.execute_batch(SCHEMA)?;
            create.pragma_update(None, "user_version", VERSION)?;
            create.pragma_update(None, "application_id", APPLICATION)?;
            create.commit()?;
        } else {
            // Damage shows at the first access to a table.
            db.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?;
        }
        db.set_prepared_statement_cache_capacity(32);
        Ok(Self { db })
    }

    /// Opens the file to read it, also while a gateway writes.
    ///
    /// # Errors
    /// There is no ledger, or one of another version.
    pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(BUSY)?;
        match version_of(&db)? {
            0 => Err(StoreError::Foreign("not a ledger".to_owned())),
            _ => Ok(db),
        }
    }

    /// Writes a batch, for the hour of `now`, in Unix seconds.
    ///
    /// # Errors
    /// Nothing was written.
    pub(super) fn write(&mut self, now: u64, batch: &Batch) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        let writer = Writer { db: &transaction, day: now / DAY, now };
        writer.zones(batch)?;
        writer.names(batch)?;
        writer.literals(batch)?;
        writer.hosts(batch)?;
        writer.others(batch)?;
        transaction.execute("INSERT OR REPLACE INTO meta VALUES ('last', ?1)", [signed(now)])?;
        transaction.commit()?;
        Ok(())
    }

    /// Unix second of the last write; 0 if there was none.
    pub(super) fn last(&self) -> u64 {
        let found =
            self.db.query_row("SELECT value FROM meta WHERE key = 'last'", [], |row| row.get::<_, i64>(0));
        found.map_or(0, |last| u64::try_from(last).unwrap_or(0))
    }

    /// The name of an address in a zone, and whether an AAAA record was synthesized. Names older than a day do not
    /// count: addresses change their owners.
    pub(super) fn name_of(&self, now: u64, zone: &str, addr: std::net::Ipv4Addr) -> Option<(String, bool)> {
        let mut find = self
            .db
            .prepare_cached(
                "SELECT name.name, addresses.is_synthesized FROM addresses JOIN zone ON zone.id = addresses.zone
                 JOIN name ON name.id = addresses.name WHERE zone.name = ?1 AND address = ?2 AND day >= ?3",
            )
            .ok()?;
        let oldest = signed((now / DAY).saturating_sub(1));
        find.query_row(params![zone, u32::from(addr), oldest], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    }

    /// Deletes days before `first`, counted since 1970, and names and hosts that no day has.
    ///
    /// # Errors
    /// Nothing was deleted.
    pub(super) fn delete_before(&mut self, first: u64) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        for table in DAILY {
            transaction.execute(&format!("DELETE FROM {table} WHERE day < ?1"), [signed(first)])?;
        }
        transaction.execute("DELETE FROM addresses WHERE day < ?1", [signed(first)])?;
        transaction.execute("DELETE FROM hours WHERE hour < ?1", [signed(first * HOURS)])?;
        transaction.execute_batch(
            "DELETE FROM name WHERE id NOT IN (SELECT name FROM names UNION SELECT name FROM addresses
                UNION SELECT name FROM name_hosts);
             DELETE FROM host WHERE id NOT IN (SELECT host FROM hosts UNION SELECT host FROM name_hosts);",
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The oldest day; `None` if there is none.
    pub(super) fn oldest_day(&self) -> Option<u64> {
        let days = DAILY.map(|table| format!("SELECT min(day) AS day FROM {table}")).join(" UNION ALL ");
        let oldest = self
            .db
            .query_row(&format!("SELECT min(day) FROM ({days})"), [], |row| row.get::<_, Option<i64>>(0));
        u64::try_from(oldest.ok()??).ok()
    }
}

/// Creates the file, which only its owner may read, unless there is one.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    file.map(drop).map_err(StoreError::Io)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A free path for a file that cannot be used.
fn aside(path: &Path, now: u64) -> PathBuf {
    let numbered = (now..).map(|number| with_suffix(path, &format!(".unusable-{number}")));
    numbered.into_iter().find(|path| !path.exists()).unwrap_or_else(|| with_suffix(path, ".unusable"))
}

/// The version; 0 for an empty file.
///
/// # Errors
/// Another file or version.
fn version_of(db: &Connection) -> Result<i64, StoreError> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION, VERSION) => Ok(VERSION),
        (APPLICATION, other) => Err(StoreError::Foreign(format!(
            "ledger of another version of gate64 (format {other}, this one uses {VERSION})"
        ))),
        _ => Err(StoreError::Foreign("not a ledger of gate64".to_owned())),
    }
}

/// SQLite's integers are signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes the tables of a batch.
struct Writer<'a> {
    db: &'a Transaction<'a>,
    day: u64,
    now: u64,
}

impl Writer<'_> {
    /// The number of a text in `zone`, `name` or `host`.
    fn id(&self, (find, insert): (&str, &str), text: &str) -> rusqlite::Result<i64> {
        let found = self.db.prepare_cached(find)?.query_row([text], |row| row.get(0));
        match found {
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                self.db.prepare_cached(insert)?.execute([text])?;
                Ok(self.db.last_insert_rowid())
            }
            found => found,
        }
    }

    fn zone(&self, name: &str) -> rusqlite::Result<i64> {
        self.id(("SELECT id FROM zone WHERE name = ?1", "INSERT INTO zone (name) VALUES (?1)"), name)
    }

    fn name(&self, name: &str) -> rusqlite::Result<i64> {
        self.id(("SELECT id FROM name WHERE name = ?1", "INSERT INTO name (name) VALUES (?1)"), name)
    }

    fn host(&self, host: &str) -> rusqlite::Result<i64> {
        self.id(("SELECT id FROM host WHERE host = ?1", "INSERT INTO host (host) VALUES (?1)"), host)
    }

    fn zones(&self, batch: &Batch) -> rusqlite::Result<()> {
        for (zone, sums) in &batch.zones {
            let [native, ipv4_only, broken] = sums.queries.map(signed);
            let id = self.zone(zone)?;
            self.db
                .prepare_cached(
                    "UPDATE zone SET session_limit = ?2, pool_ports = ?3, programme = ?4 WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    signed(sums.capacity[0]),
                    signed(sums.capacity[1]),
                    sums.programme.as_deref()
                ])?;
            self.db
                .prepare_cached(
                    "INSERT INTO hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                     ON CONFLICT DO UPDATE SET sessions = sessions + ?3, bytes_out = bytes_out + ?4,
                        bytes_in = bytes_in + ?5, literal_sessions = literal_sessions + ?6,
                        literal_bytes = literal_bytes + ?7, native_queries = native_queries + ?8,
                        ipv4_only_queries = ipv4_only_queries + ?9, broken_queries = broken_queries + ?10,
                        peak_sessions = max(peak_sessions, ?11),
                        peak_ports = max(peak_ports, ?12)",
                )?
                .execute(params![
                    signed(self.now / (DAY / HOURS)),
                    id,
                    signed(sums.traffic.sessions),
                    signed(sums.traffic.bytes[0]),
                    signed(sums.traffic.bytes[1]),
                    signed(sums.literals.sessions),
                    signed(sums.literals.total_bytes()),
                    native,
                    ipv4_only,
                    broken,
                    signed(sums.peak[0]),
                    signed(sums.peak[1]),
                ])?;
        }
        Ok(())
    }

    fn names(&self, batch: &Batch) -> rusqlite::Result<()> {
        for ((zone, name), row) in &batch.names {
            self.db
                .prepare_cached(
                    "INSERT INTO names VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT DO UPDATE SET support = coalesce(?4, support),
                        alias = CASE WHEN ?4 IS NULL THEN alias ELSE ?5 END, queries = queries + ?6,
                        sessions = sessions + ?7, bytes_out = bytes_out + ?8, bytes_in = bytes_in + ?9,
                        first = min(first, ?10), last = max(last, ?11)",
                )?
                .execute(params![
                    signed(self.day),
                    self.zone(zone)?,
                    self.name(name)?,
                    row.support.map(|support| support as i64),
                    row.alias,
                    signed(row.queries),
                    signed(row.traffic.sessions),
                    signed(row.traffic.bytes[0]),
                    signed(row.traffic.bytes[1]),
                    signed(row.seen.0),
                    signed(row.seen.1),
                ])?;
        }
        Ok(())
    }

    fn literals(&self, batch: &Batch) -> rusqlite::Result<()> {
        for ((zone, addr, proto, port), row) in &batch.literals {
            self.db
                .prepare_cached(
                    "INSERT INTO literals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                     ON CONFLICT DO UPDATE SET sessions = sessions + ?6, bytes_out = bytes_out + ?7,
                        bytes_in = bytes_in + ?8, first = min(first, ?9), last = max(last, ?10)",
                )?
                .execute(params![
                    signed(self.day),
                    self.zone(zone)?,
                    u32::from(*addr),
                    *proto as i64,
                    port,
                    signed(row.traffic.sessions),
                    signed(row.traffic.bytes[0]),
                    signed(row.traffic.bytes[1]),
                    signed(row.seen.0),
                    signed(row.seen.1),
                ])?;
        }
        Ok(())
    }

    fn hosts(&self, batch: &Batch) -> rusqlite::Result<()> {
        for ((zone, host), row) in &batch.hosts {
            self.db
                .prepare_cached(
                    "INSERT INTO hosts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     ON CONFLICT DO UPDATE SET sessions = sessions + ?4, bytes_out = bytes_out + ?5,
                        bytes_in = bytes_in + ?6, local_sessions = local_sessions + ?7,
                        bypass_sessions = bypass_sessions + ?8",
                )?
                .execute(params![
                    signed(self.day),
                    self.zone(zone)?,
                    self.host(host)?,
                    signed(row.traffic.sessions),
                    signed(row.traffic.bytes[0]),
                    signed(row.traffic.bytes[1]),
                    signed(row.local_sessions),
                    signed(row.bypass_sessions),
                ])?;
        }
        for (zone, name, host) in &batch.name_hosts {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO name_hosts VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![signed(self.day), self.zone(zone)?, self.name(name)?, self.host(host)?])?;
        }
        Ok(())
    }

    fn others(&self, batch: &Batch) -> rusqlite::Result<()> {
        for ((zone, reason), packets) in &batch.drops {
            self.db
                .prepare_cached(
                    "INSERT INTO drops VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET packets = packets + ?4",
                )?
                .execute(params![signed(self.day), self.zone(zone)?, reason, signed(*packets)])?;
        }
        for ((zone, addr), (name, is_synthesized)) in &batch.addresses {
            self.db.prepare_cached("INSERT OR REPLACE INTO addresses VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
                params![
                    self.zone(zone)?,
                    u32::from(*addr),
                    self.name(name)?,
                    is_synthesized,
                    signed(self.day),
                ],
            )?;
        }
        Ok(())
    }
}
