//! Joins packets of one flow in a batch into super-packets (GRO on transmit). The payloads are written
//! from their buffers, without a copy.
//!
//! Packets are joined only if segmentation restores exactly these packets: equal headers, equal sizes
//! except for a shorter last one, TCP in sequence, IPv4 identifications in sequence unless DF is set.
//! Packets with an incorrect checksum are not joined: segmentation computes new checksums and would
//! make a corrupt packet look valid.
//!
//! The order within a flow is kept; the order between flows may change.

use super::Offloads;
use super::layout::Layout;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::tcp::{self, Flags};
use crate::wire::{TCP, UDP, ipv4, ipv6, u16_at, u32_at};

/// Maximum number of groups searched for a packet's flow, and so of flows joined at the same time.
const LOOKBACK: usize = 16;
/// Maximum number of packets in a super-packet. The kernel accepts 1,024 buffers (`UIO_MAXIOV`) and
/// segments 128 datagrams (`UDP_MAX_SEGMENTS`).
pub(super) const MAX_PACKETS: usize = 64;
/// Maximum length of a super-packet in bytes, headers included.
const MAX_LEN: usize = 65_535;

/// Flags of a last segment; they close a group.
const END: Flags = Flags::FIN.with(Flags::PSH);

/// The packets of one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Index of its first packet in the batch.
    pub(super) first: u16,
    last: u16,
    /// Number of packets.
    pub(super) packets: u16,
    /// Whether packets may be added.
    open: bool,
    /// Whether the first packet's checksum has been verified.
    first_verified: bool,
    flow: u32,
    /// Number of segments.
    segments: u16,
    /// Payload bytes of a segment.
    pub(super) size: u16,
    /// Payload bytes of all packets.
    pub(super) payload: u32,
    /// The first packet's layout, if it is TCP or UDP.
    pub(super) layout: Option<Layout>,
    /// FIN and PSH of the last packet.
    pub(super) end_flags: Flags,
}

/// Distributes the packets of a batch to groups. Reuses its memory for every batch.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    groups: Vec<Group>,
    /// For each packet, the index of the next packet in its group.
    next: Vec<u16>,
}

/// A TCP or UDP packet that may be joined.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    bytes: &'a [u8],
    offload: Offload,
    layout: Layout,
    payload: usize,
    size: usize,
}

impl Group {
    /// Turns `head`, a copy of the first packet's headers, into the headers of the super-packet.
    /// Returns the offloads that the super-packet needs. The group has more than one packet.
    pub(super) fn write_head(&self, layout: Layout, head: &mut [u8]) -> Offload {
        let len = layout.payload_at + self.payload as usize;
        layout.set_len(head, len);
        let pseudo = layout.pseudo(head, len).fold();
        layout.set_checksum(head, pseudo);
        let segmentation = if layout.protocol == TCP {
            head[layout.transport_at + tcp::FLAGS] |= self.end_flags.0;
            Segmentation::Tcp { size: self.size, ecn: false }
        } else {
            Segmentation::Udp { size: self.size }
        };
        Offload { segmentation, checksum: Checksum::Partial }
    }
}

impl Joiner {
    /// Distributes `packets`, at most 65,535, to groups. Joins only what `offloads` can segment.
    pub(super) fn group(&mut self, packets: &[&PacketBuf], offloads: Offloads) {
        self.groups.clear();
        self.next.clear();
        self.next.resize(packets.len(), 0);
        let mut barrier = 0;
        for (index, packet) in packets.iter().enumerate() {
            let Some(candidate) = Candidate::of(packet) else {
                self.begin(index, None, 0, false);
                // Only the first fragment has ports, so a fragment may belong to any flow.
                if is_fragment(packet.bytes()) {
                    barrier = self.groups.len();
                }
                continue;
            };
            let flow = candidate.flow_hash();
            let oldest = self.groups.len().saturating_sub(LOOKBACK).max(barrier);
            let found = self.groups[oldest..].iter().rposition(|g| g.flow == flow && g.layout.is_some());
            if let Some(at) = found.map(|at| oldest + at)
                && self.try_join(at, index, &candidate, packets)
            {
                continue;
            }
            let open = candidate.can_start_group(offloads);
            self.begin(index, Some(&candidate), flow, open);
        }
    }

    /// The groups in sending order.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The indexes of a group's packets, in order.
    pub(super) fn members(&self, group: &Group) -> impl Iterator<Item = usize> {
        let first = usize::from(group.first);
        std::iter::successors(Some(first), |&at| Some(usize::from(self.next[at])))
            .take(usize::from(group.packets))
    }

    fn begin(&mut self, index: usize, candidate: Option<&Candidate<'_>>, flow: u32, open: bool) {
        let segments = candidate.map_or(1, |c| c.payload.div_ceil(c.size.max(1)).max(1));
        self.groups.push(Group {
            first: index as u16,
            last: index as u16,
            packets: 1,
            open,
            first_verified: false,
            flow,
            segments: segments as u16,
            size: candidate.map_or(0, |c| c.size as u16),
            payload: candidate.map_or(0, |c| c.payload as u32),
            layout: candidate.map(|c| c.layout),
            end_flags: candidate.map_or_else(Flags::default, Candidate::end_flags),
        });
    }

    /// Adds the packet to the group at `at` if it continues that group. Returns whether it did.
    fn try_join(&mut self, at: usize, index: usize, new: &Candidate<'_>, packets: &[&PacketBuf]) -> bool {
        let group = &mut self.groups[at];
        let Some(first) = Candidate::of(packets[usize::from(group.first)]).filter(|_| group.open) else {
            return false;
        };
        let length = first.layout.payload_at + group.payload as usize + new.payload;
        let fits = length <= MAX_LEN && usize::from(group.packets) < MAX_PACKETS;
        if !fits || !new.continues(&first, group) || !new.has_valid_checksum() {
            return false;
        }
        if !group.first_verified {
            group.first_verified = true;
            group.open = first.has_valid_checksum();
            if !group.open {
                return false;
            }
        }
        self.next[usize::from(group.last)] = index as u16;
        group.last = index as u16;
        group.packets += 1;
        group.segments += new.payload.div_ceil(usize::from(group.size)) as u16;
        group.payload += new.payload as u32;
        group.end_flags = new.end_flags();
        group.open =
            new.payload.is_multiple_of(usize::from(group.size)) && group.end_flags == Flags::default();
        true
    }
}

impl<'a> Candidate<'a> {
    fn of(packet: &'a PacketBuf) -> Option<Self> {
        let bytes = packet.bytes();
        let layout = Layout::of(bytes)?;
        let payload = bytes.len() - layout.payload_at;
        let size = match packet.offload.segmentation {
            Segmentation::None => payload,
            Segmentation::Tcp { size, .. } | Segmentation::Udp { size } => usize::from(size).min(payload),
        };
        Some(Self { bytes, offload: packet.offload, layout, payload, size })
    }

    /// A hash of the flow.
    fn flow_hash(&self) -> u32 {
        let addresses = if self.layout.v6 {
            // The last words of both addresses.
            u32_at(self.bytes, 20) ^ u32_at(self.bytes, 36).rotate_left(7)
        } else {
            u32_at(self.bytes, 12) ^ u32_at(self.bytes, 16).rotate_left(7)
        };
        let ports = u32_at(self.bytes, self.layout.transport_at);
        (addresses ^ ports.rotate_left(13) ^ u32::from(self.layout.protocol)).wrapping_mul(0x9e37_79b1)
    }

    fn flags(&self) -> Flags {
        Flags(self.bytes[self.layout.transport_at + tcp::FLAGS])
    }

    /// FIN and PSH; they close a group.
    fn end_flags(&self) -> Flags {
        if self.layout.protocol == TCP { self.flags().without(Flags(!END.0)) } else { Flags::default() }
    }

    /// Whether packets may be joined to this one.
    fn can_start_group(&self, offloads: Offloads) -> bool {
        let segmented = if self.layout.protocol == TCP { offloads.tcp } else { offloads.udp };
        offloads.checksum
            && segmented
            && self.is_joinable()
            && self.size > 0
            && self.payload.is_multiple_of(self.size)
            && self.end_flags() == Flags::default()
    }

    /// Whether it has no IP options, no extension headers, and no TCP flag that must not be repeated.
    fn is_joinable(&self) -> bool {
        let ip = self.layout.transport_at == if self.layout.v6 { ipv6::HEADER } else { ipv4::HEADER };
        let cwr = match self.offload.segmentation {
            Segmentation::Tcp { ecn, .. } => ecn,
            Segmentation::None | Segmentation::Udp { .. } => false,
        };
        ip && !cwr
            && (self.layout.protocol == UDP || self.flags().without(END.with(Flags::ECE)) == Flags::ACK)
    }

    /// Whether segmentation of `group`, which starts with `first`, would yield this packet next.
    fn continues(&self, first: &Candidate<'_>, group: &Group) -> bool {
        let (a, b) = (first.bytes, self.bytes);
        let size = usize::from(group.size);
        let shorter = self.size == self.payload && self.payload < size;
        let sizes = self.payload > 0 && (self.size == size || shorter);
        self.layout == first.layout
            && self.is_joinable()
            && sizes
            && same_ip(a, b, self.layout.v6, group.segments)
            && self.transport_continues(first, group)
    }

    fn transport_continues(&self, first: &Candidate<'_>, group: &Group) -> bool {
        let at = self.layout.transport_at;
        let (a, b) = (&first.bytes[at..first.layout.payload_at], &self.bytes[at..self.layout.payload_at]);
        if a[..4] != b[..4] || self.layout.protocol == UDP {
            return a[..4] == b[..4];
        }
        let in_sequence = u32_at(b, tcp::SEQUENCE) == u32_at(a, tcp::SEQUENCE).wrapping_add(group.payload);
        let flags = Flags(a[tcp::FLAGS]).without(END) == Flags(b[tcp::FLAGS]).without(END);
        // Acknowledgement, header length, window, urgent pointer and options.
        in_sequence && flags && a[8..13] == b[8..13] && a[14..16] == b[14..16] && a[18..] == b[18..]
    }

    /// Whether the checksum is correct. Partial and verified checksums count as correct.
    fn has_valid_checksum(&self) -> bool {
        match self.offload.checksum {
            Checksum::Partial => true,
            Checksum::Verified => self.layout.protocol == TCP || self.layout.checksum(self.bytes) != 0,
            Checksum::Unverified => self.layout.verify(self.bytes),
        }
    }
}

/// Whether two IP headers differ only in length, checksum and identification, and the identification
/// of `b` is higher by `segments`.
fn same_ip(a: &[u8], b: &[u8], v6: bool, segments: u16) -> bool {
    if v6 {
        return a[..4] == b[..4] && a[6..40] == b[6..40];
    }
    let in_sequence = ipv4::Fields::of(a).is_some_and(ipv4::Fields::df)
        || u16_at(b, ipv4::ID) == u16_at(a, ipv4::ID).wrapping_add(segments);
    in_sequence && a[..2] == b[..2] && a[6..10] == b[6..10] && a[12..20] == b[12..20]
}

/// Whether `bytes` is a fragment of either family.
fn is_fragment(bytes: &[u8]) -> bool {
    match bytes.first().map(|b| b >> 4) {
        Some(4) => ipv4::Fields::of(bytes).is_some_and(ipv4::Fields::is_fragment),
        Some(6) => ipv6::Fields::of(bytes).is_some_and(|head| head.next_header() == ipv6::FRAGMENT),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
