//! Explains for operators why each packet was translated, rejected or dropped.

use std::fmt;
use std::io::{self, Write};

use super::summary::{Kind, Summary};
use super::{Opened, Outcome, Sent};
use crate::time::Instant;
use crate::translator::Verdict;

/// Writes an explanation of each packet of a replay.
#[derive(Debug)]
pub(crate) struct Explanation<W> {
    to: W,
    /// The time shown as 0.
    origin: Option<Instant>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    forwarded: u64,
    rejected: u64,
    held: u64,
    dropped: u64,
    skipped: u64,
    sent: u64,
}

impl<W: Write> Explanation<W> {
    /// Writes to `to`.
    pub(crate) fn new(to: W) -> Self {
        Self { to, origin: None, counts: Counts::default() }
    }

    /// Explains a packet, the last `missing` bytes of which were not captured.
    ///
    /// # Errors
    /// The error of writing.
    pub(crate) fn packet(
        &mut self,
        number: u64,
        at: Instant,
        missing: u32,
        packet: &[u8],
        outcome: &Outcome,
    ) -> io::Result<()> {
        let summary = Summary::of(packet);
        self.head(number, at, summary)?;
        if missing > 0 {
            writeln!(self.to, "{INDENT}the capture lacks its last {missing} bytes")?;
        }
        self.counts.packets += 1;
        match outcome.verdict {
            Verdict::Forward => {
                self.counts.forwarded += 1;
                writeln!(self.to, "{INDENT}forward: {}", Rule::of(&summary, outcome))?;
            }
            Verdict::Reject(reason) => {
                self.counts.rejected += 1;
                writeln!(self.to, "{INDENT}reject {reason}:{}", reason.meaning())?;
            }
            Verdict::Drop(reason) => {
                self.counts.dropped += 1;
                writeln!(self.to, "{INDENT}drop {reason}:{}", reason.meaning())?;
            }
            Verdict::Hold => {
                self.counts.held += 1;
                writeln!(self.to, "{INDENT}hold: {}", held(&summary))?;
            }
            Verdict::HandOver(to) => writeln!(self.to, "{INDENT}handed over to worker {}", to.0)?,
        }
        self.sent(&outcome.sent)
    }

    /// Notes a frame that was not translated, and why.
    ///
    /// # Errors
    /// The error of writing.
    pub(crate) fn skipped(&mut self, number: u64, at: Instant, why: impl fmt::Display) -> io::Result<()> {
        self.counts.skipped += 1;
        self.head(number, at, why)
    }

    /// Lists packets that timers sent.
    ///
    /// # Errors
    /// The error of writing.
    pub(crate) fn timers(&mut self, sent: &[Sent]) -> io::Result<()> {
        for one in sent {
            let time = self.time(one.at);
            writeln!(self.to, "{:>6} {time}  a timer expired", "")?;
            self.sent(std::slice::from_ref(one))?;
        }
        Ok(())
    }

    /// Writes the last line: the number of packets by verdict.
    ///
    /// # Errors
    /// The error of writing.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let Counts { packets, forwarded, rejected, held, dropped, skipped, sent } = self.counts;
        writeln!(
            self.to,
            "{packets} packets: {forwarded} forwarded, {rejected} rejected, {held} held, {dropped} dropped; \
             {skipped} skipped; {sent} sent"
        )?;
        self.to.flush()
    }

    fn head(&mut self, number: u64, at: Instant, what: impl fmt::Display) -> io::Result<()> {
        let time = self.time(at);
        writeln!(self.to, "{number:>6} {time}  {what}")
    }

    fn sent(&mut self, sent: &[Sent]) -> io::Result<()> {
        self.counts.sent += sent.len() as u64;
        sent.iter().try_for_each(|one| writeln!(self.to, "{INDENT}sends {}", Summary::of(&one.bytes)))
    }

    /// Seconds since the first packet.
    fn time(&mut self, at: Instant) -> String {
        let origin = *self.origin.get_or_insert(at);
        format!("{:>11.6}", at.since(origin).as_secs_f64())
    }
}

/// Width of the columns for number and time.
const INDENT: &str = "                    ";

/// Why a packet is held.
fn held(summary: &Summary<'_>) -> &'static str {
    if summary.is_fragment() {
        "until the missing fragments of its datagram arrive (RFC 6146 §3.4)"
    } else {
        "an unsolicited SYN, in case the inside host opens the same connection (RFC 6146 §3.5.2.2)"
    }
}

/// The RFC sections that apply to a forwarded packet.
struct Rule {
    state: &'static str,
    header: &'static str,
    payload: Option<&'static str>,
    packets: usize,
    opened: Opened,
}

impl Rule {
    fn of(packet: &Summary<'_>, outcome: &Outcome) -> Self {
        let versions =
            (packet.version(), outcome.sent.first().and_then(|one| Summary::of(&one.bytes).version()));
        let kind = packet.kind();
        let state = match (versions, kind) {
            ((Some(6), Some(6)) | (Some(4), Some(4)), _) if outcome.stateless => {
                "RFC 7757 §4.2, stateless hairpinning"
            }
            _ if outcome.stateless => "RFC 7757 §3.3, stateless",
            ((Some(6), Some(6)), _) => "RFC 6146 §3.8, hairpinning",
            (_, Kind::Udp) => "RFC 6146 §3.5.1, UDP",
            (_, Kind::Tcp) => "RFC 6146 §3.5.2, TCP",
            (_, Kind::Echo) => "RFC 6146 §3.5.3, ICMP query",
            (_, Kind::IcmpError) if outcome.has_session => "RFC 6146 §3.6, ICMP error about a session",
            (_, Kind::IcmpError) => "RFC 6146 §3.6, ICMP error about a binding without this session",
            (_, Kind::Other) => "RFC 6146 §3.7",
        };
        let (header, payload) = match (versions, kind) {
            ((Some(4), _), Kind::IcmpError) => ("RFC 7915 §4.1", Some("§4.2 and §4.3")),
            ((Some(4), _), Kind::Echo) => ("RFC 7915 §4.1", Some("§4.2")),
            ((Some(4), _), _) => ("RFC 7915 §4.1", Some("§4.5")),
            (_, Kind::IcmpError) => ("RFC 7915 §5.1", Some("§5.2 and §5.3")),
            (_, Kind::Echo) => ("RFC 7915 §5.1", Some("§5.2")),
            _ if packet.is_fragment() => ("RFC 7915 §5.1.1", Some("§5.5")),
            _ => ("RFC 7915 §5.1", Some("§5.5")),
        };
        Self { state, header, payload, packets: outcome.sent.len(), opened: outcome.opened }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.state, self.header)?;
        self.payload.map_or(Ok(()), |payload| write!(f, " with {payload}"))?;
        if self.packets > 1 {
            write!(f, "; {} packets sent", self.packets)?;
        }
        match self.opened {
            Opened { binding: true, session: true } => f.write_str("; opens a binding and a session"),
            Opened { binding: true, session: false } => f.write_str("; opens a binding"),
            Opened { binding: false, session: true } => f.write_str("; opens a session"),
            Opened { binding: false, session: false } => Ok(()),
        }
    }
}
