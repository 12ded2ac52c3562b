//! The header in front of each packet of a TUN (`struct virtio_net_hdr`): the packet's pending offloads.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | flags | 1: the checksum is partial; 2: it was verified |
//! | 1 | gso_type | 0 none, 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP; 128 is added for ECN |
//! | 2 | hdr_len | length of all headers; a hint that may be wrong |
//! | 4 | gso_size | payload bytes of a segment |
//! | 6 | csum_start | offset of the first summed byte |
//! | 8 | csum_offset | offset of the checksum field from `csum_start` |
//!
//! Fields are in host byte order.

use super::layout::Layout;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::{TCP, UDP, put_u16};

/// The header's length in bytes.
pub(crate) const HEADER: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const NO_GSO: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// The header contradicts the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable;

fn field(header: &[u8; HEADER], at: usize) -> usize {
    usize::from(u16::from_ne_bytes([header[at], header[at + 1]]))
}

/// Reads `header` into `packet.offload`.
///
/// Completes a partial checksum of protocols other than TCP and UDP, since only TCP and UDP are
/// tracked as partial afterwards.
///
/// # Errors
/// [`Unreadable`] if header and packet contradict each other; the packet must be dropped.
pub(crate) fn decode(header: &[u8; HEADER], packet: &mut PacketBuf) -> Result<(), Unreadable> {
    let no_offload = header[0] & (NEEDS_CHECKSUM | DATA_VALID) == 0 && header[1] == NO_GSO;
    if no_offload {
        packet.offload = Offload::default();
        return Ok(());
    }
    let layout = Layout::of(packet.bytes());
    packet.offload = Offload {
        segmentation: segmentation(header, layout)?,
        checksum: if header[0] & NEEDS_CHECKSUM == 0 { Checksum::Verified } else { Checksum::Partial },
    };
    if packet.offload.segmentation != Segmentation::None {
        // Segmentation computes the checksums of all segments, whatever the field holds now.
        let layout = layout.ok_or(Unreadable)?;
        let pseudo = layout.pseudo(packet.bytes(), packet.len()).fold();
        layout.set_checksum(packet.bytes_mut(), pseudo);
        packet.offload.checksum = Checksum::Partial;
    } else if packet.offload.checksum == Checksum::Partial {
        let (start, offset) = (field(header, 6), field(header, 8));
        if layout.is_none_or(|l| l.transport_at != start || l.checksum_offset() != offset) {
            complete_at(packet.bytes_mut(), start, offset).ok_or(Unreadable)?;
            packet.offload.checksum = Checksum::Verified;
        }
    }
    Ok(())
}

fn segmentation(header: &[u8; HEADER], layout: Option<Layout>) -> Result<Segmentation, Unreadable> {
    let kind = header[1] & !GSO_ECN;
    if kind == NO_GSO {
        return Ok(Segmentation::None);
    }
    let layout = layout.ok_or(Unreadable)?;
    let size = field(header, 4) as u16;
    let ecn = header[1] & GSO_ECN != 0;
    match (kind, layout.protocol, layout.v6) {
        _ if size == 0 => Err(Unreadable),
        (GSO_TCP4, TCP, false) | (GSO_TCP6, TCP, true) => Ok(Segmentation::Tcp { size, ecn }),
        (GSO_UDP, UDP, _) => Ok(Segmentation::Udp { size }),
        _ => Err(Unreadable),
    }
}

/// Sums from `start` to the end and writes the checksum at `start + offset`.
fn complete_at(bytes: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let sum = Sum::of(bytes.get(start..)?).udp_checksum();
    bytes.get(start + offset..start + offset + 2)?;
    put_u16(bytes, start + offset, sum);
    Some(())
}

/// The header for the packet `bytes` with the pending `offload`; `None` if the packet's protocol does
/// not allow it.
pub(crate) fn encode(bytes: &[u8], offload: Offload) -> Option<[u8; HEADER]> {
    if offload.segmentation == Segmentation::None && offload.checksum != Checksum::Partial {
        return Some([0; HEADER]);
    }
    let layout = Layout::of(bytes)?;
    for_layout(layout, bytes.len() - layout.payload_at, offload)
}

/// The header for a packet with this layout and `payload` bytes of payload.
pub(super) fn for_layout(layout: Layout, payload: usize, offload: Offload) -> Option<[u8; HEADER]> {
    let (kind, size) = match offload.segmentation {
        Segmentation::None => (NO_GSO, 0),
        Segmentation::Tcp { size, .. } | Segmentation::Udp { size } if usize::from(size) >= payload => {
            (NO_GSO, 0)
        }
        Segmentation::Tcp { size, ecn } if layout.protocol == TCP => {
            let kind = if layout.v6 { GSO_TCP6 } else { GSO_TCP4 };
            (if ecn { kind | GSO_ECN } else { kind }, size)
        }
        Segmentation::Udp { size } if layout.protocol == UDP => (GSO_UDP, size),
        Segmentation::Tcp { .. } | Segmentation::Udp { .. } => return None,
    };
    if offload.checksum != Checksum::Partial {
        return (kind == NO_GSO).then_some([0; HEADER]);
    }
    let mut header = [0; HEADER];
    header[0] = NEEDS_CHECKSUM;
    header[1] = kind;
    let hdr_len = if kind == NO_GSO { 0 } else { layout.payload_at };
    let numbers = [hdr_len, usize::from(size), layout.transport_at, layout.checksum_offset()];
    for (field, number) in header[2..].chunks_exact_mut(2).zip(numbers) {
        field.copy_from_slice(&(number as u16).to_ne_bytes());
    }
    Some(header)
}

#[cfg(test)]
mod tests;
