//! The files of the binding log: one or more per day (UTC), JSON lines, deleted after the retention.
//!
//! Each day begins with the assignments that continue, so that it is complete in itself. A start begins a new file:
//! a line that a crash has torn is always the last of its file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::assignments::Assignments;
use super::record::{Kind, Record, timestamp};
use super::sink::SinkStatus;
use crate::config::LogFiles;

/// Interval between attempts to write, to sync and to delete.
const INTERVAL: Duration = Duration::from_secs(1);

/// Records taken from the queue at once.
const BATCH: usize = 1024;

/// A file of the log, by its name: `bindings-2026-11-29.0001.jsonl`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LogFile {
    pub(super) day: Date,
    number: u32,
    pub(super) path: PathBuf,
}

impl LogFile {
    fn new(directory: &Path, day: Date, number: u32) -> Self {
        Self { day, number, path: directory.join(format!("bindings-{day}.{number:04}.jsonl")) }
    }

    fn parse(directory: &Path, name: &str) -> Option<Self> {
        let (day, number) = name.strip_prefix("bindings-")?.strip_suffix(".jsonl")?.split_once('.')?;
        Some(Self { day: day.parse().ok()?, number: number.parse().ok()?, path: directory.join(name) })
    }

    /// The files in a directory, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<Self>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            files.extend(entry?.file_name().to_str().and_then(|name| Self::parse(directory, name)));
        }
        files.sort();
        Ok(files)
    }
}

/// The file that is being written.
struct Current {
    file: File,
    log: LogFile,
    size: u64,
    is_synced: bool,
}

/// Writes records to files. Bytes that could not be written stay in `pending`.
pub(super) struct FileSink {
    settings: LogFiles,
    node: String,
    assignments: Assignments,
    status: Arc<SinkStatus>,
    current: Option<Current>,
    /// Lines, and the number of bytes of them that are written.
    pending: (Vec<u8>, usize),
    /// Records in `pending`.
    records: u64,
    last_cleaned: Option<SystemTime>,
}

impl FileSink {
    pub(super) fn new(
        settings: LogFiles,
        node: String,
        assignments: Assignments,
        status: Arc<SinkStatus>,
    ) -> Self {
        let pending = (Vec::new(), 0);
        Self { settings, node, assignments, status, current: None, pending, records: 0, last_cleaned: None }
    }

    /// Writes what `queue` brings, until it is closed. Blocks the thread while it writes.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Arc<Record>>, now: fn() -> SystemTime) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let ended = if self.records > 0 {
                tokio::time::sleep(INTERVAL).await;
                queue.is_closed() && queue.is_empty()
            } else {
                let received = tokio::time::timeout(INTERVAL, queue.recv_many(&mut batch, BATCH)).await;
                received.is_ok_and(|received| received == 0)
            };
            let written = self.write(&batch, now());
            batch.clear();
            match written {
                Ok(()) => self.status.works(),
                Err(why) => self.status.fails(&why),
            }
            if queue.is_closed() && self.records > 0 {
                // The gateway ends: what still cannot be written is lost.
                self.status.count_lost(self.records + queue.len() as u64);
                break;
            }
            if ended {
                break;
            }
        }
        if let Some(current) = &self.current {
            // Nothing is left to report it to.
            let _ = current.file.sync_data();
        }
    }

    /// Appends records to the file of the day.
    ///
    /// # Errors
    /// Not all was written; the rest waits for the next call.
    pub(super) fn write(&mut self, records: &[Arc<Record>], now: SystemTime) -> io::Result<()> {
        // A file with a partly written line is completed before another begins.
        let completed = self.flush();
        for record in records {
            record.to_line(&mut self.pending.0);
        }
        self.records += records.len() as u64;
        let cleaned = self.last_cleaned.and_then(|last| now.duration_since(last).ok());
        if cleaned.is_none_or(|since| since >= Duration::from_secs(3600)) {
            self.last_cleaned = Some(now);
            self.delete_old(now)?;
        }
        completed?;
        if self.records > 0 {
            self.open(now)?;
            self.flush()?;
        }
        match &mut self.current {
            Some(current) if records.is_empty() && !current.is_synced => {
                current.file.sync_data()?;
                current.is_synced = true;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Opens the file for `now`: the present one, or a new one on a new day or when it is full.
    fn open(&mut self, now: SystemTime) -> io::Result<()> {
        let day = day_of(now);
        let is_same_day = self.current.as_ref().is_some_and(|current| current.log.day == day);
        if is_same_day && self.current.as_ref().is_some_and(|c| c.size < self.settings.file_bytes) {
            return Ok(());
        }
        let directory = &self.settings.directory;
        fs::DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        let of_day = LogFile::list(directory)?.into_iter().filter(|file| file.day == day);
        let number = of_day.map(|file| file.number).max().unwrap_or(0) + 1;
        let log = LogFile::new(directory, day, number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o640).open(&log.path)?;
        File::open(directory)?.sync_all()?;
        let was_open = self.current.replace(Current { file, log, size: 0, is_synced: true });
        if let Some(before) = was_open {
            before.file.sync_data()?;
            self.delete_old(now)?;
        }
        if !is_same_day {
            self.prepend_assignments(now);
        }
        Ok(())
    }

    /// Puts the present assignments in front of the pending lines.
    fn prepend_assignments(&mut self, now: SystemTime) {
        let rest = std::mem::take(&mut self.pending.0);
        let (lines, records, node) = (&mut self.pending.0, &mut self.records, &self.node);
        self.assignments.for_each(|mapping| {
            let record = Record::of_gateway(timestamp(now), Kind::Held, node);
            Record { mapping: Some(mapping.clone()), ..record }.to_line(lines);
            *records += 1;
        });
        lines.extend(rest);
    }

    /// Writes the pending bytes to the present file.
    fn flush(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let (bytes, written) = &mut self.pending;
        while *written < bytes.len() {
            match current.file.write(&bytes[*written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count;
                    current.size += count as u64;
                    current.is_synced = false;
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        bytes.clear();
        *written = 0;
        self.status.count_written(std::mem::take(&mut self.records));
        Ok(())
    }

    /// Deletes files after the retention, and the oldest ones beyond the maximum size.
    fn delete_old(&mut self, now: SystemTime) -> io::Result<()> {
        let oldest = day_of(now - Duration::from_secs(86_400) * u32::from(self.settings.retention_days));
        // Without records no new file begins.
        self.current.take_if(|current| current.log.day < oldest && self.records == 0);
        let settings = &self.settings;
        let files = match LogFile::list(&settings.directory) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        let sizes = files.iter().map(|file| fs::metadata(&file.path).map_or(0, |meta| meta.len()));
        let sizes: Vec<_> = sizes.collect();
        let mut total: u64 = sizes.iter().sum();
        for (file, size) in files.iter().zip(sizes) {
            let is_current = self.current.as_ref().is_some_and(|current| current.log == *file);
            let is_over = total > settings.total_bytes;
            if is_current || file.day >= oldest && !is_over {
                continue;
            }
            if file.day >= oldest {
                tracing::warn!(
                    "binding log: {} is deleted before {} days have passed: the files exceed total_mib",
                    file.path.display(),
                    settings.retention_days
                );
            }
            fs::remove_file(&file.path)?;
            total -= size;
        }
        Ok(())
    }
}

/// The day in UTC.
fn day_of(time: SystemTime) -> Date {
    timestamp(time).to_zoned_datetime(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, mapping, record};
    use super::*;

    const DAY: u64 = 86_400;

    fn sink(directory: &Path, assignments: &Assignments) -> FileSink {
        let settings = LogFiles {
            directory: directory.to_owned(),
            retention_days: 2,
            file_bytes: 1 << 20,
            total_bytes: 1 << 30,
        };
        FileSink::new(settings, "gw1".to_owned(), assignments.clone(), SinkStatus::new("files"))
    }

    fn assigned(secs: u64, first: u16) -> Arc<Record> {
        Arc::new(record(secs, Kind::Assign, Some(mapping("2001:db8:1::5", first, secs))))
    }

    fn names(directory: &Path) -> Vec<String> {
        let files = LogFile::list(directory).expect("a directory");
        let name = |file: &LogFile| file.path.file_name().expect("a name").to_string_lossy().into_owned();
        files.iter().map(name).collect()
    }

    fn text(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).expect("a file")
    }

    #[test]
    fn a_day_begins_with_what_continues() {
        // id 6888-12
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("log");
        let all = Assignments::default();
        let mut sink = sink(&dir, &all);
        sink.write(&[assigned(0, 1024)], at(0)).expect("written");
        all.add(&mapping("2001:db8:1::5", 1024, 0));
        sink.write(&[assigned(DAY, 2048)], at(DAY)).expect("written");
        assert_eq!(names(&dir), ["bindings-2026-11-29.0001.jsonl", "bindings-2026-11-30.0001.jsonl"]);
        let second = text(&dir, "bindings-2026-11-30.0001.jsonl");
        let lines: Vec<Record> = second.lines().map(|l| serde_json::from_str(l).expect("valid")).collect();
        assert_eq!(lines.iter().map(|line| line.event).collect::<Vec<_>>(), [Kind::Held, Kind::Assign]);
        assert_eq!(lines[0].mapping, Some(mapping("2001:db8:1::5", 1024, 0)), "with its own start");
        assert_eq!((sink.status.written(), sink.status.lost()), (3, 0));
    }

    #[test]
    fn a_full_file_is_followed_by_another_of_the_same_day() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = Assignments::default();
        all.add(&mapping("2001:db8:1::5", 1024, 0));
        let mut sink = sink(dir.path(), &all);
        sink.settings.file_bytes = 300;
        for secs in 0..3 {
            sink.write(&[assigned(secs, 1024)], at(secs)).expect("written");
        }
        assert_eq!(names(dir.path()), ["bindings-2026-11-29.0001.jsonl", "bindings-2026-11-29.0002.jsonl"]);
        assert_eq!(text(dir.path(), "bindings-2026-11-29.0002.jsonl").lines().count(), 2, "no held ones");
        // A new process never appends to a file.
        let mut next = self::sink(dir.path(), &Assignments::default());
        next.write(&[assigned(9, 1024)], at(9)).expect("written");
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn old_files_are_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut sink = sink(dir.path(), &Assignments::default());
        for day in 0..4 {
            sink.write(&[assigned(day * DAY, 1024)], at(day * DAY)).expect("written");
        }
        let kept = ["bindings-2026-11-30.0001.jsonl", "bindings-2026-12-01.0001.jsonl"];
        assert_eq!(names(dir.path())[..2], kept, "at least two days");
        fs::write(dir.path().join("notes.txt"), "kept").expect("written");
        sink.write(&[], at(9 * DAY)).expect("written");
        assert_eq!(names(dir.path()), [""; 0], "without traffic, too");
        (sink.settings.file_bytes, sink.settings.total_bytes) = (1, 1);
        for secs in 0..2 {
            sink.write(&[assigned(9 * DAY + secs, 1024)], at(9 * DAY + secs)).expect("written");
        }
        assert_eq!(names(dir.path()), ["bindings-2026-12-08.0002.jsonl"], "beyond the maximum size");
        assert!(dir.path().join("notes.txt").exists(), "files of others");
    }

    #[test]
    fn what_cannot_be_written_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        // A file where the directory should be.
        fs::write(&path, "").expect("written");
        let mut sink = sink(&path, &Assignments::default());
        sink.write(&[assigned(0, 1024)], at(0)).expect_err("no directory");
        sink.write(&[], at(1)).expect_err("no directory");
        fs::remove_file(&path).expect("removed");
        sink.write(&[], at(2)).expect("written");
        let written = text(&path, "bindings-2026-11-29.0001.jsonl");
        assert_eq!(written.lines().count(), 1, "{written}");
        assert_eq!(sink.status.written(), 1);
    }

    #[test]
    fn a_full_disk_tears_no_line() {
        // /dev/full refuses each write as a full disk does.
        let dir = tempfile::tempdir().expect("a directory");
        let mut sink = sink(dir.path(), &Assignments::default());
        sink.write(&[assigned(0, 1024)], at(0)).expect("written");
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let current = sink.current.as_mut().expect("open");
        let good = std::mem::replace(&mut current.file, full);
        let refused = sink.write(&[assigned(1, 2048)], at(1)).expect_err("full");
        assert_eq!(refused.raw_os_error(), Some(28), "ENOSPC");
        // The next day does not begin before the line is complete.
        sink.write(&[], at(DAY)).expect_err("full");
        sink.current.as_mut().expect("open").file = good;
        sink.write(&[assigned(2, 3072)], at(2)).expect("written");
        let written = text(dir.path(), "bindings-2026-11-29.0001.jsonl");
        assert_eq!(written.lines().count(), 3);
        assert!(written.lines().all(|line| serde_json::from_str::<Record>(line).is_ok()), "{written}");
    }
}
