//! Packets too long for the next link, cut: super-packets into packets, packets into fragments.

use super::segment::{Run, complete};
use crate::wire::batch::Batch;
use crate::wire::buf::{Checksum, Offload, PacketBuf};
use crate::wire::checksum::Sum;

/// The IP header of either family, as far as cutting goes.
pub(super) trait IpHeader: Copy {
    /// Its length in bytes.
    fn len(&self) -> usize;

    /// Its length on a fragment.
    fn fragment_len(&self) -> usize;

    /// The protocol number of what stands behind.
    fn protocol(&self) -> u8;

    /// The sum of the transport's pseudo-header, but for the length.
    fn pseudo(&self) -> Sum;

    /// The header of packet `index` of a super-packet.
    #[must_use]
    fn segment(self, index: usize) -> Self;

    /// The header of a fragment: `offset` bytes into the packet, and whether more of the packet
    /// follows.
    #[must_use]
    fn fragment(self, offset: usize, more: bool) -> Self;

    /// Writes it to the start of `out`, for a packet with `upper` bytes behind it.
    fn write(&self, out: &mut [u8], upper: usize);
}

/// How a message is to be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    run: Option<Run>,
    /// Bytes of the message.
    message: usize,
    /// The longest message that need not be fragmented.
    whole: usize,
    /// Bytes of the message in a fragment, a multiple of 8.
    piece: usize,
    /// Length of the longer header.
    header: usize,
}

impl Shape {
    /// Cuts `message`, which is to stand behind `head`, into packets of at most `max` bytes; that must
    /// be enough for a header and 8 bytes.
    pub(super) fn of<H: IpHeader>(head: &H, message: &[u8], offload: &Offload, max: usize) -> Self {
        Self {
            run: Run::of(message, offload.segmentation),
            message: message.len(),
            whole: max.saturating_sub(head.len()),
            piece: (max.saturating_sub(head.fragment_len()) & !7).max(8),
            header: head.fragment_len(),
        }
    }

    /// How many packets are cut into fragments or not.
    pub(super) fn segments(&self) -> usize {
        self.run.map_or(1, |run| run.count())
    }

    /// Bytes of the message in packet `index`.
    fn segment_len(&self, index: usize) -> usize {
        self.run.map_or(self.message, |run| run.header_len + run.payload(index).len())
    }

    fn pieces(&self, index: usize) -> usize {
        let len = self.segment_len(index);
        if len <= self.whole { 1 } else { len.div_ceil(self.piece) }
    }

    /// How many packets come out.
    pub(super) fn packets(&self) -> usize {
        // All but the last segment are equal.
        let last = self.segments() - 1;
        last * self.pieces(0) + self.pieces(last)
    }

    /// Whether `extra` has room for all but the first.
    pub(super) fn fits(&self, extra: &Batch) -> bool {
        let longest = self.header + self.segment_len(0).min(self.whole.max(self.piece));
        extra.has_room(self.packets() - 1, longest)
    }

    /// Cuts the message that `buf` holds, without IP header. The first packet stays in `buf`, the
    /// others go to `extra`, whose room was [looked at](Self::fits).
    pub(super) fn cut<H: IpHeader>(&self, head: &H, buf: &mut PacketBuf, extra: &mut Batch) {
        if self.run.is_none() && buf.offload.checksum == Checksum::Partial {
            complete(buf.bytes_mut(), head.protocol());
            buf.offload.checksum = Checksum::Verified;
        }
        let pseudo = head.pseudo();
        for index in 0..self.segments() {
            let message = buf.bytes();
            let (bytes, header_len) = self.run.map_or(([0; 60], 0), |run| run.header(message, index, pseudo));
            let header = &bytes[..header_len];
            let payload = self.run.map_or(0..message.len(), |run| run.payload(index));
            let first = usize::from(index == 0);
            for piece in first..self.pieces(index) {
                let Some(slot) = extra.next_slot() else { return };
                self.write_piece(head, index, piece, [header, &message[payload.clone()]], &mut slot.packet);
                slot.packet.offload.checksum = self.checksum(index, buf.offload.checksum);
            }
        }
        // The others are copied, so the first may now overwrite the header they all came of.
        if let Some(run) = self.run {
            let (bytes, header_len) = run.header(buf.bytes(), 0, pseudo);
            buf.bytes_mut()[..header_len].copy_from_slice(&bytes[..header_len]);
        }
        let known = self.checksum(0, buf.offload.checksum);
        buf.offload = Offload { checksum: known, ..Offload::default() };
        let (head, len) = self.piece(head, 0, 0);
        buf.set_len(len);
        buf.grow_front(head.len());
        head.write(buf.bytes_mut(), len);
    }

    /// What is known of the checksum of packet `index`: nothing, if it is in pieces.
    fn checksum(&self, index: usize, received: Checksum) -> Checksum {
        match (self.pieces(index), self.run) {
            (1, Some(_)) => Checksum::Verified,
            (1, None) => received,
            _ => Checksum::Unverified,
        }
    }

    /// The header of a piece, and how many bytes of the message it has.
    fn piece<H: IpHeader>(&self, head: &H, index: usize, piece: usize) -> (H, usize) {
        let len = self.segment_len(index);
        let head = head.segment(index);
        if len <= self.whole {
            return (head, len);
        }
        let offset = piece * self.piece;
        let more = offset + self.piece < len;
        (head.fragment(offset, more), self.piece.min(len - offset))
    }

    /// Writes a piece of the message in `parts`, its transport header and its payload.
    fn write_piece<H: IpHeader>(
        &self,
        head: &H,
        index: usize,
        piece: usize,
        parts: [&[u8]; 2],
        out: &mut PacketBuf,
    ) {
        let (head, len) = self.piece(head, index, piece);
        let bytes = out.append(head.len() + len);
        head.write(bytes, len);
        let mut out = &mut bytes[head.len()..];
        let mut skip = piece * self.piece;
        for part in parts {
            let part = &part[skip.min(part.len())..];
            let taken = part.len().min(out.len());
            let (now, later) = out.split_at_mut(taken);
            now.copy_from_slice(&part[..taken]);
            out = later;
            skip = skip.saturating_sub(parts[0].len());
        }
    }
}
