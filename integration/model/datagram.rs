//! Fragments of whole datagrams, and whole datagrams of fragments: RFC 791 and RFC 8200 §4.5, without limits.

use std::collections::BTreeMap;

use super::packet::message_len;
use crate::script::packet::{Frag, FragId, Packet};

/// How a datagram is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes of each fragment but the last, a multiple of 8.
    pub(crate) size: usize,
    pub(crate) id: u16,
    pub(crate) order: Order,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Forward,
    Backward,
    /// The second half first.
    Halves,
    /// The first fragment comes twice.
    Twice,
}

/// The fragments of a packet, in the order in which they are sent.
pub(super) fn pieces(packet: &Packet, cut: Cut) -> Vec<Packet> {
    let len = message_len(packet);
    let piece = |offset: usize| {
        let mut piece = packet.clone();
        let more = len - offset > cut.size;
        let id = FragId::Is(cut.id.into());
        piece.frag = Some(Frag { id, offset, len: more.then_some(cut.size) });
        piece
    };
    let mut all: Vec<_> = (0..len).step_by(cut.size).map(piece).collect();
    let half = all.len() / 2;
    match cut.order {
        Order::Forward => {}
        Order::Backward => all.reverse(),
        Order::Halves => all.rotate_left(half),
        Order::Twice => all.insert(0, all[0].clone()),
    }
    all
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// One whole datagram of these packets, which may be its fragments; its header is the first one's.
pub(super) fn joined(packets: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut parts: BTreeMap<usize, (&[u8], bool)> = BTreeMap::new();
    let mut header: Vec<u8> = Vec::new();
    for packet in packets {
        let v4 = packet[0] >> 4 == 4;
        let (start, offset, more) = match v4 {
            true => {
                let word = u16_at(packet, 6);
                (20, (word & 0x1fff) * 8, word & 0x2000 != 0)
            }
            false if packet[6] == 44 => (48, u16_at(packet, 42) & 0xfff8, packet[43] & 1 == 1),
            false => (40, 0, false),
        };
        if offset == 0 {
            header = packet[..if v4 { 20 } else { 40 }].to_vec();
            if !v4 && start == 48 {
                header[6] = packet[40];
            }
        }
        if parts.insert(offset, (&packet[start..], more)).is_some_and(|(was, _)| was != &packet[start..]) {
            return Err(format!("two fragments at {offset} differ"));
        }
    }
    let mut message = Vec::new();
    let mut complete = false;
    for (offset, (part, more)) in parts {
        if offset != message.len() || complete {
            return Err(format!("a fragment at {offset} follows {} bytes", message.len()));
        }
        message.extend_from_slice(part);
        complete = !more;
    }
    if !complete || header.is_empty() {
        return Err("the datagram is not complete".to_owned());
    }
    if header[0] >> 4 == 4 {
        header[2..4].copy_from_slice(&((20 + message.len()) as u16).to_be_bytes());
        header[6] &= 0x40;
        header[7] = 0;
        header[10..12].fill(0);
        let sum = !crate::script::build::fold(crate::script::build::add(0, &header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        header[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
    }
    header.extend(message);
    Ok(header)
}
