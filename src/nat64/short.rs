//! The short way of packets whose session is known and whose addresses have passed before.
//!
//! Nine of ten packets are plain TCP or UDP of a session that lives, and change nothing but its
//! deadline and its counts. What the long way finds out about a flow's addresses - zone, pref64,
//! ranges, denied prefixes, whether it turns round - depends on nothing but the addresses and the
//! settings; so it is found out once, noted in the session, and forgotten with every change of
//! settings. Whoever does not fit goes the long way, which decides everything; nothing has been
//! written or counted then.

use core::net::Ipv6Addr;

use super::session::Traffic;
use super::tcp::{Side, State};
use super::{Nat64, Proto};
use crate::addr::{Transport4, Transport6};
use crate::time::Instant;
use crate::wire::batch::Verdict;
use crate::wire::buf::{Handed, PacketBuf};
use crate::wire::ipv6;
use crate::wire::tcp::Flags;
use crate::xlat::{Flow4, Flow6, Plain, Ports};

const fn proto_of(ports: Ports) -> Proto {
    if ports.flags.is_some() { Proto::Tcp } else { Proto::Udp }
}

impl Nat64 {
    /// Notes that packets of a session from the IPv6 side to `dst` may take the short way from now on.
    ///
    /// Only the address that the session's own pref64 gives the server: others may mean it too, by
    /// another pref64 or with a suffix.
    #[inline]
    pub(super) fn may_be_short6(&mut self, session: Option<u32>, dst: Ipv6Addr) {
        if let Some(slot) = session
            && !self.sessions.of(slot).passes(Side::V6)
            && self.server_of(slot) == dst
        {
            self.sessions.of_mut(slot).set_passes(Side::V6);
        }
    }

    /// The same from the IPv4 side.
    #[inline]
    pub(super) fn may_be_short4(&mut self, session: Option<u32>) {
        if let Some(slot) = session {
            self.sessions.of_mut(slot).set_passes(Side::V4);
        }
    }

    /// The server of a session as its client knows it.
    #[inline]
    fn server_of(&self, slot: u32) -> Ipv6Addr {
        let session = self.sessions.of(slot);
        self.zones.pref64(session.pref64).embed(session.remote().addr)
    }

    /// Translates a packet from the IPv6 side, if it can take the short way.
    #[inline]
    pub(super) fn short6(&mut self, now: Instant, buf: &mut PacketBuf) -> Option<Verdict> {
        if buf.handed != Handed::default() {
            return None;
        }
        let packet = Plain::read6(&self.rules, buf)?;
        let proto = proto_of(packet.ports);
        let binding = self.binding_of(proto, Transport6::new(packet.src, packet.ports.src))?;
        let pref64 = self.zones.pref64(self.bib.of(binding).pref64);
        let remote = Transport4::new(pref64.extract(packet.dst)?, packet.ports.dst);
        let session = self.session_with(binding, remote)?;
        if self.server_of(session) != packet.dst {
            return None;
        }
        let traffic = Traffic { from: Side::V6, packets: packet.count as u32, bytes: packet.len as u64 };
        self.go_on(now, session, packet.ports, traffic)?;
        let to = Flow4::new(self.mapped(binding), remote);
        packet.rewrite_to4(&self.rules, &to, &mut self.ids, buf);
        let row = self.counters.zone(self.zone_of(binding));
        row.packets_v6_to_v4.add(packet.count as u64);
        row.bytes_v6_to_v4.add(packet.len as u64);
        Some(Verdict::Forward)
    }

    /// Translates a packet from the IPv4 side, if it can take the short way.
    #[inline]
    pub(super) fn short4(&mut self, now: Instant, buf: &mut PacketBuf) -> Option<Verdict> {
        if buf.handed != Handed::default() {
            return None;
        }
        let packet = Plain::read4(&self.rules, buf)?;
        let place = Transport4::new(packet.dst, packet.ports.dst);
        let binding = self.binding_at(proto_of(packet.ports), place)?;
        let session = self.session_with(binding, Transport4::new(packet.src, packet.ports.src))?;
        let bytes = packet.len - crate::wire::ipv4::HEADER + ipv6::HEADER;
        let traffic = Traffic { from: Side::V4, packets: packet.count as u32, bytes: bytes as u64 };
        self.go_on(now, session, packet.ports, traffic)?;
        let server = Transport6::new(self.server_of(session), packet.ports.src);
        let to = Flow6::new(server, self.bib.of(binding).v6());
        packet.rewrite_to6(&self.rules, &to, buf);
        let row = self.counters.zone(self.zone_of(binding));
        row.packets_v4_to_v6.add(packet.count as u64);
        row.bytes_v4_to_v6.add(packet.len as u64);
        Some(Verdict::Forward)
    }

    /// Prolongs a session and credits it; `None`, and nothing done, if there is more to it.
    #[inline]
    fn go_on(&mut self, now: Instant, slot: u32, ports: Ports, traffic: Traffic) -> Option<()> {
        let session = self.sessions.of(slot);
        if session.is_over(now) || !session.passes(traffic.from) {
            return None;
        }
        let lifetime = match ports.flags {
            None => self.timers.udp,
            Some(flags) => {
                let ends = flags.has(Flags::FIN) || flags.has(Flags::RST);
                if ends || session.state() != State::Established {
                    return None;
                }
                self.timers.tcp_established
            }
        };
        let refreshes = traffic.from == Side::V6 || self.inbound_refresh;
        self.sessions.credit(slot, traffic, refreshes.then(|| now + lifetime));
        Some(())
    }
}
