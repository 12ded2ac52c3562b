//! Why each packet was translated as it was, for a person.

use std::fmt;
use std::io::{self, Write};

use super::summary::{Kind, Summary};
use super::{Opened, Outcome, Sent};
use crate::time::Instant;
use crate::translator::Verdict;

/// Writes down a replay, packet by packet.
#[derive(Debug)]
pub struct Explanation<W> {
    to: W,
    /// The moment that is called 0.
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
    passed_over: u64,
    sent: u64,
}

impl<W: Write> Explanation<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to, origin: None, counts: Counts::default() }
    }

    /// A packet was put in; `missing` bytes of it were never captured.
    ///
    /// # Errors
    /// What writing says.
    pub fn packet(
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
            writeln!(self.to, "{INDENT}the capture lacks the last {missing} bytes of it")?;
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

    /// A frame was not put in.
    ///
    /// # Errors
    /// What writing says.
    pub fn passed_over(&mut self, number: u64, at: Instant, why: impl fmt::Display) -> io::Result<()> {
        self.counts.passed_over += 1;
        self.head(number, at, why)
    }

    /// Timers have sent something.
    ///
    /// # Errors
    /// What writing says.
    pub fn timers(&mut self, sent: &[Sent]) -> io::Result<()> {
        for one in sent {
            let time = self.time(one.at);
            writeln!(self.to, "{:>6} {time}  a timer ran out", "")?;
            self.sent(std::slice::from_ref(one))?;
        }
        Ok(())
    }

    /// The last line: how many packets, and what became of them.
    ///
    /// # Errors
    /// What writing says.
    pub fn end(&mut self) -> io::Result<()> {
        let Counts { packets, forwarded, rejected, held, dropped, passed_over, sent } = self.counts;
        writeln!(
            self.to,
            "{packets} packets: {forwarded} forwarded, {rejected} rejected, {held} held, {dropped} dropped; \
             {passed_over} passed over; {sent} sent"
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

/// As wide as number and time.
const INDENT: &str = "                    ";

/// What a packet waits for.
fn held(summary: &Summary<'_>) -> &'static str {
    if summary.is_fragment() {
        "until what is missing of its datagram has come (RFC 6146 §3.4)"
    } else {
        "an unsolicited SYN, in case its host opens the same connection (RFC 6146 §3.5.2.2)"
    }
}

/// Where the RFCs say what was done with a packet that went through.
struct Rule {
    state: &'static str,
    header: &'static str,
    payload: Option<&'static str>,
    pieces: usize,
    opened: Opened,
}

impl Rule {
    fn of(packet: &Summary<'_>, outcome: &Outcome) -> Self {
        let versions =
            (packet.version(), outcome.sent.first().and_then(|one| Summary::of(&one.bytes).version()));
        let kind = packet.kind();
        let state = match (versions, kind) {
            ((Some(6), Some(6)) | (Some(4), Some(4)), _) if outcome.stateless => {
                "RFC 7757 §4.2, hairpinning without state"
            }
            _ if outcome.stateless => "RFC 7757 §3.3, without state",
            ((Some(6), Some(6)), _) => "RFC 6146 §3.8, hairpinning",
            (_, Kind::Udp) => "RFC 6146 §3.5.1, UDP",
            (_, Kind::Tcp) => "RFC 6146 §3.5.2, TCP",
            (_, Kind::Echo) => "RFC 6146 §3.5.3, ICMP query",
            (_, Kind::IcmpError) => "RFC 6146 §3.6, ICMP error about a session",
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
        Self { state, header, payload, pieces: outcome.sent.len(), opened: outcome.opened }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.state, self.header)?;
        self.payload.map_or(Ok(()), |payload| write!(f, " with {payload}"))?;
        if self.pieces > 1 {
            write!(f, "; {} packets of it", self.pieces)?;
        }
        match self.opened {
            Opened { binding: true, session: true } => f.write_str("; opens a binding and a session"),
            Opened { binding: true, session: false } => f.write_str("; opens a binding"),
            Opened { binding: false, session: true } => f.write_str("; opens a session"),
            Opened { binding: false, session: false } => Ok(()),
        }
    }
}
