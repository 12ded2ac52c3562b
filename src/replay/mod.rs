//! Replays packets through the translator with a virtual clock: `gate64 translate`.
//!
//! Calls [`Translator::process`] as the daemon does. The caller sets the time, so equal input gives
//! equal output; it runs without real-time delays.

mod explain;
mod summary;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::addr::{Pref64, Proto, Transport4, Transport6, ZoneId};
use crate::counters::Tally;
use crate::reason::Reason;
use crate::time::Instant;
use crate::translator::{Cursor, Event, ExtraPackets, SessionRecord, Settings, Translator, Verdict};
use crate::wire::buf::{MAX_PACKET, PacketBuf};

pub(crate) use explain::Explanation;
pub(crate) use summary::Summary;

/// Maximum number of further packets from one: the fragments of the longest datagram.
const EXTRA: usize = 64;
/// Sessions that expire per call; each may send a packet, so this is at most [`EXTRA`].
const EXPIRE: usize = 32;

/// A gateway with one translator and a virtual clock.
pub(crate) struct Replay {
    translator: Translator,
    zones: u16,
    now: Instant,
    packet: PacketBuf,
    extra: ExtraPackets,
    events: Vec<Event>,
}

/// A packet that leaves the gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    /// Virtual time.
    pub(crate) at: Instant,
    /// The packet from its IP header on.
    pub(crate) bytes: Vec<u8>,
}

/// The result of translating a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// The translator's verdict.
    pub(crate) verdict: Verdict,
    /// The packets sent, in order: the translated packet, an ICMP error, or packets that waited for it.
    pub(crate) sent: Vec<Sent>,
    /// The state that it created.
    pub(crate) opened: Opened,
    /// Whether it was forwarded without state (RFC 7757 and RFC 6052).
    pub(crate) stateless: bool,
    /// Whether a session exists for the packet that it quotes, an ICMP error.
    /// [`find_session`](Replay::find_session) sets it.
    pub(crate) has_session: bool,
}

/// State that one packet created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Opened {
    /// A binding.
    pub(crate) binding: bool,
    /// A session.
    pub(crate) session: bool,
}

impl Replay {
    /// A gateway with `settings`, which must be for a single worker.
    pub(crate) fn new(settings: Settings) -> Self {
        let zones = settings.nat64.zones.iter().map(|zone| zone.id.0 + 1).max().unwrap_or(0);
        Self {
            translator: Translator::new(settings, usize::from(zones)),
            zones,
            now: Instant::ZERO,
            packet: PacketBuf::new(MAX_PACKET),
            extra: ExtraPackets::new(EXTRA, MAX_PACKET),
            events: Vec::new(),
        }
    }

    /// The virtual time. It never goes back.
    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// Advances the clock to `until`. Returns the packets that timers send until then.
    pub(crate) fn advance(&mut self, until: Instant) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(due) = self.translator.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.extra.clear();
            while self.translator.expire(self.now, EXPIRE, &mut self.extra) {
                self.collect(&mut sent);
            }
            self.collect(&mut sent);
        }
        self.now = self.now.max(until);
        self.discard_events();
        sent
    }

    /// Imports a session.
    ///
    /// # Errors
    /// The reason why the settings do not allow it.
    pub(crate) fn import(&mut self, record: &SessionRecord) -> Result<(), Reason> {
        let imported = self.translator.import(self.now, record);
        self.discard_events();
        imported
    }

    /// Translates a packet at the current time; `None` if it is longer than an IP packet can be.
    pub(crate) fn translate(&mut self, packet: &[u8]) -> Option<Outcome> {
        if !self.packet.fill(packet) {
            return None;
        }
        let before = self.state();
        let mut verdict = [Verdict::Hold];
        self.extra.clear();
        self.translator.process(
            self.now,
            core::slice::from_mut(&mut self.packet),
            &mut verdict,
            &mut self.extra,
        );
        let mut sent = Vec::new();
        if matches!(verdict[0], Verdict::Forward | Verdict::Reject(_)) {
            sent.push(Sent { at: self.now, bytes: self.packet.bytes().to_vec() });
        }
        self.collect(&mut sent);
        self.discard_events();
        let after = self.state();
        let opened = Opened { binding: after.0 > before.0, session: after.1 > before.1 };
        let stateless = verdict[0] == Verdict::Forward && after.2 > before.2;
        Some(Outcome { verdict: verdict[0], sent, opened, stateless, has_session: false })
    }

    /// Finds the session of the packet that `packet`, an ICMP error, quotes. Reads all sessions.
    pub(crate) fn find_session(&self, packet: &[u8], outcome: &mut Outcome) {
        let Some((proto, src, dst)) = Summary::of(packet).quoted().and_then(|quoted| quoted.flow()) else {
            return;
        };
        // A query has one identifier, and its session no remote port.
        let same_remote = |record: &SessionRecord, ip: IpAddr, port: u16| {
            (ip == record.remote.addr || ip == record.pref64.embed(record.remote.addr))
                && (proto == Proto::Icmp || port == record.remote.port)
        };
        let is_quoted = |record: &SessionRecord| {
            let from_client = src == SocketAddr::new(record.v4.addr.into(), record.v4.port);
            let to_client = dst == SocketAddr::new(record.v6.addr.into(), record.v6.port);
            record.proto == proto
                && (from_client && same_remote(record, dst.ip(), dst.port())
                    || to_client && same_remote(record, src.ip(), src.port()))
        };
        let (mut cursor, mut records) = (Cursor::default(), [NO_RECORD; 64]);
        loop {
            let count = self.translator.export(self.now, &mut cursor, &mut records);
            outcome.has_session |= records[..count].iter().any(is_quoted);
            if count == 0 || outcome.has_session {
                return;
            }
        }
    }

    fn collect(&mut self, sent: &mut Vec<Sent>) {
        let at = self.now;
        sent.extend(
            self.extra.packets().iter().map(|extra| Sent { at, bytes: extra.packet.bytes().to_vec() }),
        );
        self.extra.clear();
    }

    /// The number of bindings, of sessions, and of packets forwarded outside every zone.
    fn state(&self) -> (u64, u64, u64) {
        let counters = self.translator.counters();
        let all = |tallies: &[Tally; 3]| tallies.iter().map(Tally::read).sum::<u64>();
        let zones = (0..self.zones).map(|zone| counters.zone(Some(ZoneId(zone))));
        let (bindings, sessions) = zones.fold((0, 0), |(bindings, sessions), zone| {
            (bindings + all(&zone.bindings), sessions + all(&zone.sessions))
        });
        let none = counters.zone(None);
        (bindings, sessions, none.packets_v6_to_v4.read() + none.packets_v4_to_v6.read())
    }

    /// Discards events, which replay does not use.
    fn discard_events(&mut self) {
        self.events.resize(32, Event::PoolExhausted { host: NO_HOST });
        while self.translator.events(&mut self.events) > 0 {}
    }
}

const NO_RECORD: SessionRecord = SessionRecord {
    proto: Proto::Udp,
    v6: Transport6::new(Ipv6Addr::UNSPECIFIED, 0),
    v4: Transport4::new(Ipv4Addr::UNSPECIFIED, 0),
    remote: Transport4::new(Ipv4Addr::UNSPECIFIED, 0),
    pref64: Pref64::WELL_KNOWN,
    state: 0,
    remaining: Duration::ZERO,
    silent: Duration::ZERO,
    inbound: false,
    answered: false,
    packets: [0; 2],
    bytes: [0; 2],
};

const NO_HOST: crate::addr::HostKey = crate::addr::HostKey::new(ZoneId(0), Ipv6Addr::UNSPECIFIED, 0);
