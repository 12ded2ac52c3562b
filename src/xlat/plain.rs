//! Fast path of the translation: TCP and UDP packets that are not fragments and need no fragmentation, without
//! IP options or extension headers.
//!
//! A packet that reads as plain would be accepted by [`plan_v6_to_v4`](super::plan_v6_to_v4) or
//! [`plan_v4_to_v6`](super::plan_v4_to_v6), addresses apart, and is rewritten to the same bytes. All other
//! packets read as `None` and take the slow path.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::flow::{Flow4, Flow6};
use super::header::{Header4, Header6, IpHeader};
use super::ids::Ids;
use super::plan::MAX_WITHOUT_DF;
use super::rewrite::traffic_class;
use super::rules::RewriteRules;
use super::segment::Segments;
use super::transport::{Addresses, rewrite_tcp, rewrite_udp};
use crate::addr::Proto;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::{DST_PORT, SRC_PORT, TCP, UDP, ipv4, ipv6, tcp, u16_at, udp};

/// A plain packet; `A` is its family's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<A> {
    /// Source.
    pub(crate) src: A,
    /// Destination.
    pub(crate) dst: A,
    /// Source and destination port, and TCP's flags.
    pub(crate) ports: PlainPorts,
    /// Length of the packet in bytes.
    pub(crate) len: usize,
    /// Number of packets on the wire, at least 1.
    pub(crate) count: usize,
    /// Length of the longest packet on the wire without its IP header, in bytes.
    longest: usize,
    traffic_class: u8,
    /// Hop limit or TTL of the translated packet.
    hop_limit: u8,
}

/// Ports and flags of the transport header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlainPorts {
    /// Source port.
    pub(crate) src: u16,
    /// Destination port.
    pub(crate) dst: u16,
    /// TCP's flags; `None` for UDP. Never SYN: its options may have to change (MSS clamping).
    pub(crate) flags: Option<Flags>,
}

impl PlainPorts {
    /// TCP or UDP.
    #[inline(always)]
    pub(crate) const fn proto(self) -> Proto {
        if self.flags.is_some() { Proto::Tcp } else { Proto::Udp }
    }

    #[inline(always)]
    fn of(protocol: u8, message: &[u8], offload: Offload) -> Option<Self> {
        // A TCP header is longer than a UDP header.
        let head = message.first_chunk::<{ udp::HEADER }>()?;
        let flags = match (protocol, offload.segmentation) {
            (TCP, Segmentation::None | Segmentation::Tcp { .. }) => {
                tcp::header_len(message)?;
                let flags = Flags(message[tcp::FLAGS]);
                if flags.has(Flags::SYN) || !flags.are_valid() {
                    return None;
                }
                Some(flags)
            }
            (UDP, Segmentation::None | Segmentation::Udp { .. }) => {
                let checksum = u16_at(head, udp::CHECKSUM) != 0 || offload.checksum == Checksum::Partial;
                if !udp::is_valid(message, true) || !checksum {
                    return None;
                }
                None
            }
            (_, Segmentation::None | Segmentation::Tcp { .. } | Segmentation::Udp { .. }) => return None,
        };
        Some(Self { src: u16_at(head, SRC_PORT), dst: u16_at(head, DST_PORT), flags })
    }

    const fn protocol(self) -> u8 {
        if self.flags.is_some() { TCP } else { UDP }
    }

    #[inline(always)]
    fn rewrite(self, message: &mut [u8], ports: (u16, u16), addresses: Addresses, offload: Offload) {
        match self.flags {
            Some(_) => rewrite_tcp(message, ports, addresses, None, &offload),
            None => rewrite_udp(message, ports, addresses, &offload),
        }
    }
}

impl Plain<Ipv6Addr> {
    /// Reads a packet from the IPv6 side.
    #[inline(always)]
    pub(crate) fn read6(rules: &RewriteRules, buf: &PacketBuf) -> Option<Self> {
        let bytes = buf.bytes();
        let head = ipv6::Fields::of(bytes)?;
        let len = ipv6::HEADER + head.payload_len();
        let message = bytes.get(ipv6::HEADER..len)?;
        if head.version() != 6 || head.hop_limit() <= 1 {
            return None;
        }
        let ports = PlainPorts::of(head.next_header(), message, buf.offload)?;
        let segments = Segments::of(message, buf.offload.segmentation);
        let fits = ipv4::HEADER + segments.longest <= usize::from(rules.mtu4);
        // An IPv6 super-packet can exceed the IPv4 Total Length field.
        let fits_length_field = ipv4::HEADER + message.len() <= usize::from(u16::MAX);
        (fits && fits_length_field).then(|| Self {
            src: head.src(),
            dst: head.dst(),
            ports,
            len,
            count: segments.count,
            longest: segments.longest,
            traffic_class: head.traffic_class(),
            hop_limit: head.hop_limit() - 1,
        })
    }

    /// Rewrites the packet in `buf` to IPv4.
    #[inline(always)]
    pub(crate) fn rewrite_to4(&self, rules: &RewriteRules, to: &Flow4, ids: &mut Ids, buf: &mut PacketBuf) {
        let (src, dst) = (to.src.addr, to.dst.addr);
        let addresses = Addresses {
            old: Sum::of_v6(self.src).plus(Sum::of_v6(self.dst)),
            new: Sum::of_v4(src).plus(Sum::of_v4(dst)),
        };
        let offload = buf.offload;
        let packet = buf.change_header(ipv6::HEADER, ipv4::HEADER, self.len);
        self.ports.rewrite(&mut packet[ipv4::HEADER..], (to.src.port, to.dst.port), addresses, offload);
        let (protocol, df) = (self.ports.protocol(), ipv4::HEADER + self.longest > MAX_WITHOUT_DF);
        let header = Header4 {
            src,
            dst,
            tos: traffic_class(rules.tos, self.traffic_class),
            ttl: self.hop_limit,
            protocol,
            id: ids.take(src, dst, protocol, df, self.count),
            df,
            offset: 0,
            more: false,
        };
        header.write(packet, self.len - ipv6::HEADER);
    }
}

impl Plain<Ipv4Addr> {
    /// Reads a packet from the IPv4 side.
    #[inline(always)]
    pub(crate) fn read4(rules: &RewriteRules, buf: &PacketBuf) -> Option<Self> {
        let bytes = buf.bytes();
        let head = ipv4::Fields::of(bytes)?;
        let len = head.total_len();
        let message = bytes.get(ipv4::HEADER..len)?;
        if !head.is_without_options() || head.is_fragment() || head.ttl() <= 1 || head.sum().checksum() != 0 {
            return None;
        }
        let ports = PlainPorts::of(head.protocol(), message, buf.offload)?;
        let segments = Segments::of(message, buf.offload.segmentation);
        let max = if head.df() { rules.mtu6 } else { rules.lowest_ipv6_mtu };
        (ipv6::HEADER + segments.longest <= usize::from(max)).then(|| Self {
            src: head.src(),
            dst: head.dst(),
            ports,
            len,
            count: segments.count,
            longest: segments.longest,
            traffic_class: head.tos(),
            hop_limit: head.ttl() - 1,
        })
    }

    /// Rewrites the packet in `buf` to IPv6.
    #[inline(always)]
    pub(crate) fn rewrite_to6(&self, rules: &RewriteRules, to: &Flow6, buf: &mut PacketBuf) {
        let addresses = Addresses {
            old: Sum::of_v4(self.src).plus(Sum::of_v4(self.dst)),
            new: Sum::of_v6(to.src.addr).plus(Sum::of_v6(to.dst.addr)),
        };
        let offload = buf.offload;
        let packet = buf.change_header(ipv4::HEADER, ipv6::HEADER, self.len);
        self.ports.rewrite(&mut packet[ipv6::HEADER..], (to.src.port, to.dst.port), addresses, offload);
        let header = Header6 {
            src: to.src.addr,
            dst: to.dst.addr,
            traffic_class: traffic_class(rules.traffic_class, self.traffic_class),
            hop_limit: self.hop_limit,
            protocol: self.ports.protocol(),
            fragment: None,
            id: 0,
        };
        header.write(packet, self.len - ipv4::HEADER);
    }
}
