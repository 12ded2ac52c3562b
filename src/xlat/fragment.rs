//! Cuts super-packets into packets and packets into fragments that fit the next link's MTU.

use super::header::{Header4, Header6, IpHeader};
use super::segment::{Run, complete};
use crate::reason::Reason;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::{Checksum, Offload, PacketBuf};
use crate::wire::{ipv4, ipv6};

/// How a message is cut into packets and fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    run: Option<Run>,
    /// Length of the message in bytes.
    message: usize,
    /// Longest message that leaves unfragmented, in bytes.
    whole: usize,
    /// Message bytes in each fragment, a multiple of 8.
    piece: usize,
    /// Length of the header on a fragment, in bytes.
    header: usize,
}

impl Shape {
    /// Plans to cut `message`, which follows `head`, into packets of at most `max` bytes. `max` must hold a
    /// header and 8 bytes.
    pub(super) fn of<H: IpHeader>(head: &H, message: &[u8], offload: &Offload, max: usize) -> Self {
        Self {
            run: Run::of(message, offload.segmentation),
            message: message.len(),
            whole: max.saturating_sub(head.len()),
            piece: (max.saturating_sub(head.fragment_len()) & !7).max(8),
            header: head.fragment_len(),
        }
    }

    /// Number of packets before fragmentation.
    pub(super) fn segments(&self) -> usize {
        self.run.map_or(1, |run| run.count())
    }

    /// Message bytes in packet `index`.
    fn segment_len(&self, index: usize) -> usize {
        self.run.map_or(self.message, |run| run.header_len + run.payload(index).len())
    }

    fn pieces(&self, index: usize) -> usize {
        let len = self.segment_len(index);
        if len <= self.whole { 1 } else { len.div_ceil(self.piece) }
    }

    /// Total number of packets and fragments.
    pub(super) fn packets(&self) -> usize {
        // All but the last segment are equal.
        let last = self.segments() - 1;
        last * self.pieces(0) + self.pieces(last)
    }

    /// Whether `extra` has room for all packets except the first.
    pub(super) fn fits(&self, extra: &ExtraPackets) -> bool {
        let longest = self.header + self.segment_len(0).min(self.whole.max(self.piece));
        extra.has_room(self.packets() - 1, longest)
    }

    /// Cuts the message in `buf`, which has no IP header. The first packet stays in `buf`, the others go to
    /// `extra`. The caller has checked [`fits`](Self::fits).
    pub(super) fn cut<H: IpHeader>(&self, head: &H, buf: &mut PacketBuf, extra: &mut ExtraPackets) {
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
        // The header of the super-packet is overwritten last: the other packets copy it.
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

    /// Checksum state of packet `index`: unverified if it is fragmented.
    fn checksum(&self, index: usize, received: Checksum) -> Checksum {
        match (self.pieces(index), self.run) {
            (1, Some(_)) => Checksum::Verified,
            (1, None) => received,
            _ => Checksum::Unverified,
        }
    }

    /// The header of a fragment and its number of message bytes.
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

    /// Writes one fragment. `parts` are the transport header and the payload of packet `index`.
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
            let (head, rest) = out.split_at_mut(taken);
            head.copy_from_slice(&part[..taken]);
            out = rest;
            skip = skip.saturating_sub(parts[0].len());
        }
    }
}

/// Cuts a translated super-packet into its packets: the first stays in `buf`, the others go to `extra`. For a
/// single packet, only completes a partial checksum.
///
/// # Errors
/// [`Reason::ExtraFull`] if `extra` has too little room; nothing is written then.
pub fn cut(buf: &mut PacketBuf, extra: &mut ExtraPackets) -> Result<(), Reason> {
    match buf.bytes().first().map(|first| first >> 4) {
        Some(4) if buf.len() >= ipv4::HEADER => {
            let head = Header4::read(buf.bytes().first_chunk().ok_or(Reason::Ipv4Header)?);
            cut_after(&head, buf, extra)
        }
        Some(6) if buf.len() >= ipv6::HEADER => {
            let head = Header6::read(buf.bytes().first_chunk().ok_or(Reason::Ipv6Header)?);
            cut_after(&head, buf, extra)
        }
        _ => Err(Reason::NotIp),
    }
}

/// Cuts the message after `head`.
fn cut_after<H: IpHeader>(head: &H, buf: &mut PacketBuf, extra: &mut ExtraPackets) -> Result<(), Reason> {
    let shape = Shape::of(head, &buf.bytes()[head.len()..], &buf.offload, usize::MAX);
    if !shape.fits(extra) {
        return Err(Reason::ExtraFull);
    }
    buf.shrink_front(head.len());
    shape.cut(head, buf, extra);
    Ok(())
}
