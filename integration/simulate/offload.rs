//! The kernel's offloads, for hosts that have none: joins segments on input, cuts super-packets on output.

use crate::packet_builder::super_packet;
use gate64::wire::buf::{Checksum, PacketBuf, Segmentation};

use crate::script::build::{add, fold};

/// The offsets of the TCP header and payload, if the packet is TCP.
fn tcp_at(packet: &[u8]) -> Option<(usize, usize)> {
    let (at, protocol) = match packet[0] >> 4 {
        4 => (usize::from(packet[0] & 15) * 4, packet[9]),
        _ => (40, packet[6]),
    };
    (protocol == 6).then(|| (at, at + usize::from(packet[at + 12] >> 4) * 4))
}

fn word(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// A sequence of segments that may still grow.
struct CommandLine {
    packet: Vec<u8>,
    /// Payload bytes of its first segment.
    size: usize,
    segments: usize,
}

impl CommandLine {
    /// Adds a segment if it is the next one; returns false otherwise.
    fn add(&mut self, next: &[u8]) -> bool {
        let (Some((at, data)), Some((_, start))) = (tcp_at(next), tcp_at(&self.packet)) else { return false };
        let (len, have) = (next.len() - data, self.packet.len() - start);
        let plain = |flags: u8| flags & !0x18 == 0 && flags & 0x10 != 0;
        let same_ends = self.packet[at..at + 4] == next[at..at + 4];
        let follows = word(&self.packet, at + 4).wrapping_add(have as u32) == word(next, at + 4);
        let full = self.size > 0 && have == self.size * self.segments && (1..=self.size).contains(&len);
        let both_plain = plain(self.packet[at + 13]) && plain(next[at + 13]);
        let ok =
            same_ends && follows && full && both_plain && start == data && self.packet.len() + len < 60_000;
        if ok {
            self.packet.extend_from_slice(&next[data..]);
            self.packet[at + 13] |= next[at + 13];
            self.segments += 1;
        }
        ok
    }

    fn finish(mut self) -> PacketBuf {
        if self.segments < 2 {
            return PacketBuf::with_packet(&self.packet);
        }
        set_length(&mut self.packet);
        super_packet(&self.packet, self.size as u16)
    }
}

/// Joins the packets that a host sent at once.
pub(super) fn join(packets: Vec<Vec<u8>>) -> Vec<PacketBuf> {
    let mut out = Vec::new();
    let mut run: Option<CommandLine> = None;
    for packet in packets {
        if run.as_mut().is_some_and(|run| run.add(&packet)) {
            continue;
        }
        out.extend(run.take().map(CommandLine::finish));
        let size = tcp_at(&packet).map_or(0, |(_, data)| packet.len() - data);
        run = Some(CommandLine { packet, size, segments: 1 });
    }
    out.extend(run.map(CommandLine::finish));
    out
}

/// Writes the length field and, for IPv4, the header checksum.
fn set_length(packet: &mut [u8]) {
    let len = packet.len() as u16;
    if packet[0] >> 4 == 6 {
        packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        return;
    }
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[10..12].fill(0);
    let sum = !fold(add(0, &packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn seal_tcp(packet: &mut [u8], at: usize) {
    packet[at + 16..at + 18].fill(0);
    let addresses = if packet[0] >> 4 == 4 { 12..20 } else { 8..40 };
    let pseudo = add(6 + (packet.len() - at) as u64, &packet[addresses]);
    let sum = !fold(add(pseudo, &packet[at..]));
    packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
}

/// The packets on the wire for one output of the translator.
pub(super) fn cut(buf: &PacketBuf) -> Vec<Vec<u8>> {
    let packet = buf.bytes();
    let Segmentation::Tcp { size, .. } = buf.offload.segmentation else {
        assert_eq!(buf.offload.checksum, Checksum::Unverified, "only super-packets are partial here");
        return vec![packet.to_vec()];
    };
    assert_eq!(buf.offload.checksum, Checksum::Partial, "a super-packet's checksum is partial");
    let (at, data) = tcp_at(packet).expect("a super-packet is TCP");
    let chunks: Vec<_> = packet[data..].chunks(usize::from(size)).collect();
    let last = chunks.len() - 1;
    let segment = |(n, chunk): (usize, &&[u8])| {
        let mut segment = [&packet[..data], chunk].concat();
        let seq = word(packet, at + 4).wrapping_add((n * usize::from(size)) as u32);
        segment[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
        if n < last {
            segment[at + 13] &= !0x09;
        }
        set_length(&mut segment);
        seal_tcp(&mut segment, at);
        segment
    };
    chunks.iter().enumerate().map(segment).collect()
}
