//! Cuts super-packets into packets and packets into fragments that fit the next link's MTU.

use super::header::IpHeader;
use super::segment::{SuperPacket, complete};
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::{Checksum, Offload, PacketBuf};

/// How a message is cut into packets and fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutPlan {
    super_packet: Option<SuperPacket>,
    /// Length of the message in bytes.
    message: usize,
    /// Longest message that leaves unfragmented, in bytes.
    unfragmented: usize,
    /// Message bytes in each fragment, a multiple of 8.
    fragment_payload: usize,
    /// Length of the header on a fragment, in bytes.
    header: usize,
}

impl CutPlan {
    /// Plans to cut `message`, which follows `head`, into packets of at most `max` bytes. `max` must hold a
    /// header and 8 bytes.
    pub(super) fn of<H: IpHeader>(head: &H, message: &[u8], offload: &Offload, max: usize) -> Self {
        Self {
            super_packet: SuperPacket::of(message, offload.segmentation),
            message: message.len(),
            unfragmented: max.saturating_sub(head.len()),
            fragment_payload: (max.saturating_sub(head.fragment_len()) & !7).max(8),
            header: head.fragment_len(),
        }
    }

    /// Number of packets before fragmentation.
    pub(super) fn segments(&self) -> usize {
        self.super_packet.map_or(1, |packet| packet.count())
    }

    /// Message bytes in packet `index`.
    fn segment_len(&self, index: usize) -> usize {
        self.super_packet.map_or(self.message, |packet| packet.header_len + packet.payload(index).len())
    }

    fn fragments(&self, index: usize) -> usize {
        let len = self.segment_len(index);
        if len <= self.unfragmented { 1 } else { len.div_ceil(self.fragment_payload) }
    }

    /// Total number of packets and fragments.
    pub(super) fn packets(&self) -> usize {
        // All but the last segment are equal.
        let last = self.segments() - 1;
        last * self.fragments(0) + self.fragments(last)
    }

    /// Whether `extra` has room for all packets except the first.
    pub(super) fn fits(&self, extra: &ExtraPackets) -> bool {
        let longest = self.header + self.segment_len(0).min(self.unfragmented.max(self.fragment_payload));
        extra.has_room(self.packets() - 1, longest)
    }

    /// Cuts the message in `buf`, which has no IP header. The first packet stays in `buf`, the others go to
    /// `extra`. The caller has checked [`fits`](Self::fits).
    pub(super) fn cut<H: IpHeader>(&self, head: &H, buf: &mut PacketBuf, extra: &mut ExtraPackets) {
        if self.super_packet.is_none() && buf.offload.checksum == Checksum::Partial {
            complete(buf.bytes_mut(), head.protocol());
            buf.offload.checksum = Checksum::Verified;
        }
        let pseudo = head.pseudo();
        for index in 0..self.segments() {
            let message = buf.bytes();
            let (bytes, header_len) =
                self.super_packet.map_or(([0; 60], 0), |packet| packet.header(message, index, pseudo));
            let header = &bytes[..header_len];
            let payload = self.super_packet.map_or(0..message.len(), |packet| packet.payload(index));
            let first = usize::from(index == 0);
            for number in first..self.fragments(index) {
                let Some(slot) = extra.next_slot() else { return };
                self.write_fragment(
                    head,
                    index,
                    number,
                    [header, &message[payload.clone()]],
                    &mut slot.packet,
                );
                slot.packet.offload.checksum = self.checksum(index, buf.offload.checksum);
            }
        }
        // The header of the super-packet is overwritten last: the other packets copy it.
        if let Some(packet) = self.super_packet {
            let (bytes, header_len) = packet.header(buf.bytes(), 0, pseudo);
            buf.bytes_mut()[..header_len].copy_from_slice(&bytes[..header_len]);
        }
        let known = self.checksum(0, buf.offload.checksum);
        buf.offload = Offload { checksum: known, ..Offload::default() };
        let (head, len) = self.fragment(head, 0, 0);
        buf.set_len(len);
        buf.grow_front(head.len());
        head.write(buf.bytes_mut(), len);
    }

    /// Checksum state of packet `index`: unverified if it is fragmented.
    fn checksum(&self, index: usize, received: Checksum) -> Checksum {
        match (self.fragments(index), self.super_packet) {
            (1, Some(_)) => Checksum::Verified,
            (1, None) => received,
            _ => Checksum::Unverified,
        }
    }

    /// The header of a fragment and its number of message bytes.
    fn fragment<H: IpHeader>(&self, head: &H, index: usize, number: usize) -> (H, usize) {
        let len = self.segment_len(index);
        let head = head.segment(index);
        if len <= self.unfragmented {
            return (head, len);
        }
        let offset = number * self.fragment_payload;
        let more = offset + self.fragment_payload < len;
        (head.fragment(offset, more), self.fragment_payload.min(len - offset))
    }

    /// Writes one fragment. `parts` are the transport header and the payload of packet `index`.
    fn write_fragment<H: IpHeader>(
        &self,
        head: &H,
        index: usize,
        number: usize,
        parts: [&[u8]; 2],
        out: &mut PacketBuf,
    ) {
        let (head, len) = self.fragment(head, index, number);
        let bytes = out.append(head.len() + len);
        head.write(bytes, len);
        let mut out = &mut bytes[head.len()..];
        let mut skip = number * self.fragment_payload;
        for part in parts {
            let part = &part[skip.min(part.len())..];
            let taken = part.len().min(out.len());
            let (head, rest) = out.split_at_mut(taken);
            head.copy_from_slice(&part[..taken]);
            out = rest;
            skip = skip.saturating_sub(parts[0].len());
        }
    }
}
