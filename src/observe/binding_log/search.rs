//! Searches the files: which host had a port, and when.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::files::LogFile;
use super::record::{Kind, Mapping, Protocol, Record};
use crate::config::INNER;

/// What to search for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// The outside address.
    pub address: Ipv4Addr,
    /// The outside port or ICMP identifier.
    pub port: u16,
    /// The protocol; `None` for all.
    pub protocol: Option<Protocol>,
    /// The time; `None` for the whole log.
    pub at: Option<Timestamp>,
}

impl Query {
    /// Whether a mapping has the port. With masquerading, mappings have [`INNER`] for the address of the gateway.
    pub fn matches(&self, mapping: &Mapping) -> bool {
        (mapping.address == self.address || mapping.address == INNER) && mapping.has(self.port, self.protocol)
    }

    /// Whether an answer is about the time of the query.
    fn is_at(&self, answer: &Answer) -> bool {
        self.at.is_none_or(|at| answer.mapping.start <= at && answer.mapping.end.is_none_or(|end| at <= end))
    }
}

/// How certain the end of an assignment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The running gateway confirms that the host still has the ports.
    Present,
    /// A record says when the ports returned to the pool.
    Recorded,
    /// gate64 stopped or ended then, and did not assign the ports to this host again.
    Stopped,
    /// No record says that the host lost the ports.
    Unknown,
}

/// A host that had the port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The ports, the host and the times.
    #[serde(flatten)]
    pub mapping: Mapping,
    /// How certain the end is.
    pub until: End,
    /// Name of the gateway.
    pub node: String,
    /// Whether the assignment began before the oldest file.
    pub began_before_log: bool,
}

impl Answer {
    /// Whether nothing so far says that the assignment ended.
    fn is_open(&self) -> bool {
        self.until == End::Unknown && self.mapping.end.is_none()
    }
}

/// The result of a search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The hosts, the latest first.
    pub answers: Vec<Answer>,
    /// The day of the oldest file.
    pub oldest: Option<Date>,
    /// Incomplete lines, as a crash leaves them.
    pub torn: u64,
    /// Records that gate64 could not write, in the files read.
    pub lost: u64,
}

/// Searches all files in a directory that can have an answer.
///
/// # Errors
/// The directory or a file is unreadable.
pub fn search(directory: &Path, query: &Query) -> io::Result<Found> {
    let named =
        |path: &Path, why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", path.display()));
    let files = LogFile::list(directory).map_err(|why| named(directory, why))?;
    let oldest = files.first().map(|file| file.day);
    // Each day begins with the assignments that continue.
    let from = query.at.map(|at| at.to_zoned_datetime(TimeZone::UTC).date());
    let mut reading = Reading { query: *query, found: Found::default(), last: String::new() };
    for file in files.iter().filter(|file| from.is_none_or(|from| file.day >= from)) {
        let lines = File::open(&file.path).and_then(|file| reading.read(BufReader::new(file)));
        lines.map_err(|why| named(&file.path, why))?;
    }
    let mut found = reading.found;
    let begin = oldest.and_then(|day| day.to_zoned_datetime(TimeZone::UTC).ok()).map(|day| day.timestamp());
    for answer in &mut found.answers {
        answer.began_before_log = begin.is_some_and(|begin| answer.mapping.start < begin);
    }
    found.oldest = oldest;
    found.answers.retain(|answer| query.is_at(answer));
    found.answers.sort_by_key(|answer| std::cmp::Reverse(answer.mapping.start));
    Ok(found)
}

/// Adds what the running gateway says: `present` are its assignments with the port, at the time `now`.
pub fn merge_present(found: &mut Found, query: &Query, present: &[Mapping], node: &str) {
    let mut new = Vec::new();
    for mapping in present.iter().filter(|mapping| query.matches(mapping)) {
        let is_it =
            |answer: &&mut Answer| answer.mapping.end.is_none() && answer.mapping.is_same_assignment(mapping);
        match found.answers.iter_mut().find(is_it) {
            Some(answer) => answer.until = End::Present,
            None => {
                let (mapping, node) = (mapping.clone(), node.to_owned());
                new.push(Answer { mapping, until: End::Present, node, began_before_log: false });
            }
        }
    }
    new.retain(|answer| query.is_at(answer));
    found.answers.splice(0..0, new);
}

/// The state of a search between two lines.
struct Reading {
    query: Query,
    found: Found,
    /// Time of the last line.
    last: String,
}

/// The beginning of each line; the time follows.
const BEGIN: &str = "{\"time\":\"";

impl Reading {
    fn read(&mut self, mut lines: impl BufRead) -> io::Result<()> {
        // Most lines are about other addresses; those are not parsed.
        let wanted = [self.query.address, INNER].map(|address| format!("\"address\":\"{address}\""));
        let gateway = ["start", "stop", "lost"].map(|event| format!("\"event\":\"{event}\""));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix("}\n"));
            match text.and_then(|text| text.strip_prefix(BEGIN)?.split_once('"')) {
                Some((time, rest)) => {
                    if wanted.iter().chain(&gateway).any(|part| rest.contains(part.as_str())) {
                        match serde_json::from_slice(&line) {
                            Ok(record) => self.note(record),
                            Err(_) => self.found.torn += 1,
                        }
                    }
                    self.last.clear();
                    self.last.push_str(time);
                }
                None => self.found.torn += 1,
            }
            line.clear();
        }
        Ok(())
    }

    fn note(&mut self, record: Record) {
        match (record.event, record.mapping) {
            (Kind::Start, _) => {
                // The last line before says how long the gateway lived at least.
                let ended = self.last.parse().unwrap_or(record.time).min(record.time);
                self.stop(&record.node, ended);
            }
            (Kind::Stop, _) => self.stop(&record.node, record.time),
            (Kind::Lost, _) => self.found.lost += record.lost.unwrap_or(0),
            (kind, Some(mapping)) if self.query.matches(&mapping) => {
                self.assignment(kind, mapping, record.node);
            }
            (Kind::SessionStart | Kind::SessionEnd, _)
            | (Kind::Assign | Kind::Release | Kind::Reclaim | Kind::Held, _) => {}
        }
    }

    /// Ends all assignments of a gateway that has stopped.
    fn stop(&mut self, node: &str, at: Timestamp) {
        let answers = self.found.answers.iter_mut();
        for answer in answers.filter(|answer| answer.node == node && answer.is_open()) {
            answer.mapping.end = Some(at.max(answer.mapping.start));
            answer.until = End::Stopped;
        }
    }

    fn assignment(&mut self, kind: Kind, mapping: Mapping, node: String) {
        let until = if kind.is_end() { End::Recorded } else { End::Unknown };
        let same = |answer: &Answer| answer.node == node && answer.mapping.is_same_assignment(&mapping);
        let at = self.found.answers.iter().rposition(same).filter(|at| self.is_continued(*at, &mapping));
        let answers = &mut self.found.answers;
        if let Some(at) = at {
            (answers[at].mapping.end, answers[at].until) = (mapping.end, until);
            return;
        }
        // The end of a contradicting assignment is missing.
        for other in answers.iter_mut().filter(|other| other.is_open() && other.node == node) {
            let is_static = |mapping: &Mapping| mapping.host_port.is_some();
            if other.mapping.overlaps(&mapping) && is_static(&other.mapping) == is_static(&mapping) {
                other.mapping.end = Some(mapping.start.max(other.mapping.start));
            }
        }
        answers.push(Answer { mapping, until, node, began_before_log: false });
    }

    /// Whether `mapping` is about the same assignment as an answer for the same host and ports.
    fn is_continued(&self, at: usize, mapping: &Mapping) -> bool {
        let answer = &self.found.answers[at];
        let others = || self.found.answers[at + 1..].iter().filter(|other| other.node == answer.node);
        answer.mapping.start == mapping.start
            || answer.is_open()
            // A restart returns ports to their hosts.
            || answer.until == End::Stopped && !others().any(|other| other.mapping.overlaps(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, mapping, record};
    use super::super::record::timestamp;
    use super::*;

    const A: &str = "2001:db8:1::5";
    const B: &str = "2001:db8:1::6";

    fn query(port: u16) -> Query {
        Query { address: Ipv4Addr::new(192, 0, 2, 64), port, protocol: None, at: None }
    }

    fn ended(mapping: Mapping, secs: u64) -> Option<Mapping> {
        Some(Mapping { end: Some(timestamp(at(secs))), ..mapping })
    }

    /// The answers for a log of these records, in seconds after 10:00, and the text of the file.
    fn answers(records: &[Record], query: &Query) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut text = Vec::new();
        records.iter().for_each(|record| record.to_line(&mut text));
        std::fs::write(dir.path().join("bindings-2026-11-29.0001.jsonl"), text).expect("written");
        shown(&search(dir.path(), query).expect("readable"))
    }

    fn shown(found: &Found) -> Vec<String> {
        let secs = |time: Timestamp| time.as_second() - timestamp(at(0)).as_second();
        let one = |answer: &Answer| {
            let end = answer.mapping.end.map(|end| secs(end).to_string()).unwrap_or_default();
            format!("{} {}-{end} {:?}", answer.mapping.host, secs(answer.mapping.start), answer.until)
        };
        found.answers.iter().map(one).collect()
    }

    #[test]
    fn each_host_that_had_the_port_is_found() {
        // id 6888-12
        let log = [
            record(0, Kind::Start, None),
            record(1, Kind::Assign, Some(mapping(A, 1024, 1))),
            record(2, Kind::Assign, Some(mapping(B, 1040, 2))),
            record(60, Kind::Release, ended(mapping(A, 1024, 1), 60)),
            record(70, Kind::Assign, Some(mapping(B, 1024, 70))),
        ];
        let (first, second) = (format!("{A} 1-60 Recorded"), format!("{B} 70- Unknown"));
        assert_eq!(answers(&log, &query(1039)), [second.as_str(), first.as_str()]);
        let then = |secs| Query { at: Some(timestamp(at(secs))), ..query(1024) };
        assert_eq!(answers(&log, &then(30)), [first.as_str()]);
        assert_eq!(answers(&log, &then(60)), [first]);
        assert_eq!(answers(&log, &then(65)), [""; 0]);
        assert_eq!(answers(&log, &then(99)), [second]);
        assert_eq!(answers(&log, &query(1056)), [""; 0]);
        let other = Query { address: Ipv4Addr::new(192, 0, 2, 6), ..query(1024) };
        assert_eq!(answers(&log, &other), [""; 0]);
    }

    #[test]
    fn a_restart_continues_the_assignments_that_it_restores() {
        let log = [
            record(1, Kind::Assign, Some(mapping(A, 1024, 1))),
            record(1, Kind::Assign, Some(mapping(A, 1040, 1))),
            record(50, Kind::Stop, None),
            record(55, Kind::Start, None),
            record(55, Kind::Assign, Some(mapping(A, 1024, 55))),
            record(60, Kind::Held, Some(mapping(A, 1024, 55))),
            record(90, Kind::Release, ended(mapping(A, 1024, 55), 90)),
        ];
        assert_eq!(answers(&log, &query(1024)), [format!("{A} 1-90 Recorded")]);
        assert_eq!(answers(&log, &query(1040)), [format!("{A} 1-50 Stopped")]);
        let killed: Vec<_> = log.iter().filter(|record| record.event != Kind::Stop).cloned().collect();
        assert_eq!(answers(&killed, &query(1040)), [format!("{A} 1-1 Stopped")], "known to live at 1");
    }

    #[test]
    fn a_missing_end_is_that_of_the_next_beginning() {
        let log = [
            record(1, Kind::Assign, Some(mapping(A, 1024, 1))),
            record(9, Kind::Assign, Some(mapping(B, 1024, 9))),
            record(12, Kind::Stop, None),
            record(13, Kind::Start, None),
            record(14, Kind::Assign, Some(mapping(A, 1024, 14))),
        ];
        let want = [format!("{A} 14- Unknown"), format!("{B} 9-12 Stopped"), format!("{A} 1-9 Unknown")];
        assert_eq!(answers(&log, &query(1024)), want);
    }

    #[test]
    fn a_protocol_selects_static_bindings() {
        let block = mapping(A, 1024, 1);
        let tcp = vec![Protocol::Tcp];
        let binding =
            Mapping { ports: (1030, 1030), protocols: tcp, host_port: Some(443), ..mapping(B, 0, 2) };
        let log = [record(1, Kind::Assign, Some(block)), record(2, Kind::Assign, Some(binding))];
        let of = |protocol| answers(&log, &Query { protocol: Some(protocol), ..query(1030) });
        assert_eq!(of(Protocol::Tcp), [format!("{B} 2- Unknown"), format!("{A} 1- Unknown")]);
        assert_eq!(of(Protocol::Udp), [format!("{A} 1- Unknown")]);
    }

    #[test]
    fn damage_is_counted_and_skipped() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut text = Vec::new();
        record(1, Kind::Assign, Some(mapping(A, 1024, 1))).to_line(&mut text);
        Record { lost: Some(7), ..record(2, Kind::Lost, None) }.to_line(&mut text);
        text.extend(b"\xff\xfe nonsense\n");
        let mut torn = Vec::new();
        record(3, Kind::Assign, Some(mapping(B, 1024, 3))).to_line(&mut torn);
        text.extend(&torn[..torn.len() - 9]);
        std::fs::write(dir.path().join("bindings-2026-11-29.0001.jsonl"), text).expect("written");
        let found = search(dir.path(), &query(1024)).expect("readable");
        assert_eq!((found.torn, found.lost), (2, 7));
        assert_eq!(shown(&found), [format!("{A} 1- Unknown")]);
    }

    #[test]
    fn an_assignment_from_before_the_oldest_file_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut text = Vec::new();
        record(0, Kind::Held, Some(mapping(A, 1024, 0))).to_line(&mut text);
        std::fs::write(dir.path().join("bindings-2026-11-30.0001.jsonl"), text).expect("written");
        let found = search(dir.path(), &query(1024)).expect("readable");
        assert!(found.answers[0].began_before_log);
        assert_eq!(found.oldest.map(|day| day.to_string()).as_deref(), Some("2026-11-30"));
        let missing = search(&dir.path().join("none"), &query(1024)).expect_err("no directory").to_string();
        assert!(missing.contains("none: "), "{missing}");
    }

    #[test]
    fn the_running_gateway_completes_the_answer() {
        let mut found = Found::default();
        let open = Answer {
            mapping: mapping(A, 1024, 1),
            until: End::Unknown,
            node: "gw1".to_owned(),
            began_before_log: true,
        };
        found.answers.push(open);
        let present = [mapping(A, 1024, 5), mapping(B, 1072, 5)];
        merge_present(&mut found, &query(1024), &present, "gw1");
        assert_eq!(shown(&found), [format!("{A} 1- Present")], "with the start of the files");
        merge_present(&mut found, &query(1080), &present, "gw1");
        assert_eq!(shown(&found)[0], format!("{B} 5- Present"));
    }
}
