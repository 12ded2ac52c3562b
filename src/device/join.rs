//! Which packets of a batch go to the kernel together: runs of one flow become one super-packet,
//! written from the buffers where they lie.
//!
//! Packets are joined if the kernel, cutting the super-packet, makes exactly these packets of it:
//! equal headers, equal sizes but for a shorter last one, TCP in sequence, IPv4 identifications in
//! sequence unless DF is set. Only packets whose checksum is right are joined, since the kernel
//! gives each piece a right one: a packet that was damaged on its way must stay damaged.
//!
//! Order within a flow is kept; between flows it may change.

use super::Offloads;
use super::layout::{Layout, TCP, UDP, double, word};
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};

/// How far back a packet's flow is looked for: as many flows can be joined side by side.
const REACH: usize = 16;
/// Packets a super-packet is joined of: the kernel takes 1,024 pieces of memory, and 128 datagrams
/// are all that Linux is sure to cut.
pub(super) const MOST: usize = 64;
/// The longest packet, in both families: total length, or payload length and header.
const LONGEST: usize = 65_535;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;

/// What goes out in one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The place of its first packet.
    pub(super) first: u16,
    last: u16,
    /// How many packets it has.
    pub(super) packets: u16,
    /// Whether more may be added.
    open: bool,
    /// Whether the first packet's checksum has been looked at.
    checked: bool,
    flow: u32,
    /// Segments so far.
    segments: u16,
    /// Payload bytes of a segment.
    pub(super) size: u16,
    /// Payload bytes so far.
    pub(super) payload: u32,
    /// The first packet's layout, if it is TCP or UDP.
    pub(super) layout: Option<Layout>,
    /// FIN and PSH of the last packet.
    pub(super) end_flags: u8,
}

/// Makes groups of a batch. Keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    groups: Vec<Group>,
    /// By packet, the place of the next packet in its group.
    next: Vec<u16>,
}

/// A packet as a candidate.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    bytes: &'a [u8],
    offload: Offload,
    layout: Layout,
    payload: usize,
    size: usize,
}

impl Group {
    /// Writes the headers of the super-packet into `head`, whose first bytes are those of the first
    /// packet; what is left to do on it.
    ///
    /// The group has more than one packet.
    pub(super) fn write_head(&self, layout: Layout, head: &mut [u8]) -> Offload {
        let len = layout.payload_at + self.payload as usize;
        layout.set_len(head, len);
        let pseudo = layout.pseudo(head, len).fold();
        layout.set_checksum(head, pseudo);
        let segmentation = if layout.protocol == TCP {
            head[layout.transport_at + 13] |= self.end_flags;
            Segmentation::Tcp { size: self.size, ecn: false }
        } else {
            Segmentation::Udp { size: self.size }
        };
        Offload { segmentation, checksum: Checksum::Partial }
    }
}

impl Joiner {
    /// Distributes `packets`, at most 65,535, to groups. What `can` does not do is not joined.
    pub(super) fn group(&mut self, packets: &[&PacketBuf], can: Offloads) {
        self.groups.clear();
        self.next.clear();
        self.next.resize(packets.len(), 0);
        let mut barrier = 0;
        for (place, packet) in packets.iter().enumerate() {
            let Some(candidate) = Candidate::of(packet) else {
                self.begin(place, None, 0, false);
                // A fragment has no ports: it might belong to any flow.
                if is_fragment(packet.bytes()) {
                    barrier = self.groups.len();
                }
                continue;
            };
            let flow = candidate.flow();
            let near = self.groups.len().saturating_sub(REACH).max(barrier);
            let found = self.groups[near..].iter().rposition(|g| g.flow == flow && g.layout.is_some());
            if let Some(at) = found.map(|at| near + at)
                && self.try_join(at, place, &candidate, packets)
            {
                continue;
            }
            let may_grow = candidate.may_start(can);
            self.begin(place, Some(&candidate), flow, may_grow);
        }
    }

    /// The groups, in the order in which they are to be sent.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The places of a group's packets, in order.
    pub(super) fn members(&self, group: &Group) -> impl Iterator<Item = usize> {
        let first = usize::from(group.first);
        std::iter::successors(Some(first), |&at| Some(usize::from(self.next[at])))
            .take(usize::from(group.packets))
    }

    fn begin(&mut self, place: usize, candidate: Option<&Candidate<'_>>, flow: u32, open: bool) {
        let segments = candidate.map_or(1, |c| c.payload.div_ceil(c.size.max(1)).max(1));
        self.groups.push(Group {
            first: place as u16,
            last: place as u16,
            packets: 1,
            open,
            checked: false,
            flow,
            segments: segments as u16,
            size: candidate.map_or(0, |c| c.size as u16),
            payload: candidate.map_or(0, |c| c.payload as u32),
            layout: candidate.map(|c| c.layout),
            end_flags: candidate.map_or(0, Candidate::end_flags),
        });
    }

    /// Adds the packet to the group of its flow if both allow it.
    fn try_join(&mut self, at: usize, place: usize, new: &Candidate<'_>, packets: &[&PacketBuf]) -> bool {
        let group = &mut self.groups[at];
        let Some(first) = Candidate::of(packets[usize::from(group.first)]).filter(|_| group.open) else {
            return false;
        };
        let length = first.layout.payload_at + group.payload as usize + new.payload;
        let fits = length <= LONGEST && usize::from(group.packets) < MOST;
        if !fits || !new.continues(&first, group) || !new.is_right() {
            return false;
        }
        if !group.checked {
            group.checked = true;
            group.open = first.is_right();
            if !group.open {
                return false;
            }
        }
        self.next[usize::from(group.last)] = place as u16;
        group.last = place as u16;
        group.packets += 1;
        group.segments += new.payload.div_ceil(usize::from(group.size)) as u16;
        group.payload += new.payload as u32;
        group.end_flags = new.end_flags();
        group.open = new.payload.is_multiple_of(usize::from(group.size)) && group.end_flags == 0;
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

    /// A number that is equal for packets of one flow, and seldom for others.
    fn flow(&self) -> u32 {
        let addresses = if self.layout.v6 {
            double(self.bytes, 20) ^ double(self.bytes, 36).rotate_left(7)
        } else {
            double(self.bytes, 12) ^ double(self.bytes, 16).rotate_left(7)
        };
        let ports = double(self.bytes, self.layout.transport_at);
        (addresses ^ ports.rotate_left(13) ^ u32::from(self.layout.protocol)).wrapping_mul(0x9e37_79b1)
    }

    fn flags(&self) -> u8 {
        self.bytes[self.layout.transport_at + 13]
    }

    /// FIN and PSH, after which nothing is joined.
    fn end_flags(&self) -> u8 {
        if self.layout.protocol == TCP { self.flags() & (FIN | PSH) } else { 0 }
    }

    /// Whether a group may start with this packet.
    fn may_start(&self, can: Offloads) -> bool {
        let able = can.checksum && if self.layout.protocol == TCP { can.tcp } else { can.udp };
        able && self.plain_header()
            && self.size > 0
            && self.payload.is_multiple_of(self.size)
            && self.end_flags() == 0
    }

    /// No IP options or extension headers, and nothing in TCP that is said once.
    fn plain_header(&self) -> bool {
        let ip = self.layout.transport_at == if self.layout.v6 { 40 } else { 20 };
        let once = match self.offload.segmentation {
            Segmentation::Tcp { ecn, .. } => ecn,
            Segmentation::None | Segmentation::Udp { .. } => false,
        };
        ip && !once && (self.layout.protocol == UDP || self.flags() & !(FIN | PSH | ECE) == ACK)
    }

    /// Whether the kernel would cut this packet, next in the group that `first` begins.
    fn continues(&self, first: &Candidate<'_>, group: &Group) -> bool {
        let (a, b) = (first.bytes, self.bytes);
        let size = usize::from(group.size);
        let shorter = self.size == self.payload && self.payload < size;
        let sizes = self.payload > 0 && (self.size == size || shorter);
        self.layout == first.layout
            && self.plain_header()
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
        let in_sequence = double(b, 4) == double(a, 4).wrapping_add(group.payload);
        let flags = (a[13] ^ b[13]) & !(FIN | PSH) == 0;
        // Acknowledgement, header length, window, urgent pointer and options.
        in_sequence && flags && a[8..13] == b[8..13] && a[14..16] == b[14..16] && a[18..] == b[18..]
    }

    /// Whether the checksum is right as far as anybody can know.
    fn is_right(&self) -> bool {
        match self.offload.checksum {
            Checksum::Partial => true,
            Checksum::Verified => self.layout.protocol == TCP || self.layout.checksum(self.bytes) != 0,
            Checksum::Unverified => self.layout.verify(self.bytes),
        }
    }
}

/// Whether two IP headers differ in nothing but length, checksum and an identification that counts
/// on by `segments`.
fn same_ip(a: &[u8], b: &[u8], v6: bool, segments: u16) -> bool {
    if v6 {
        return a[..4] == b[..4] && a[6..40] == b[6..40];
    }
    let dont_fragment = a[6] & 0x40 != 0;
    let counts_on = dont_fragment || word(b, 4) == word(a, 4).wrapping_add(segments);
    counts_on && a[..2] == b[..2] && a[6..10] == b[6..10] && a[12..20] == b[12..20]
}

/// Whether `bytes` is a fragment of either family.
fn is_fragment(bytes: &[u8]) -> bool {
    match bytes.first().map(|b| b >> 4) {
        Some(4) => bytes.len() >= 20 && word(bytes, 6) & 0x3fff != 0,
        Some(6) => bytes.get(6) == Some(&44),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
