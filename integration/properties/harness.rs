//! A translator with checks of every guarantee: packet in, packets out.

use gate64::addr::WorkerId;
use gate64::time::Instant;
use gate64::translator::{Cursor, ExtraPackets, SessionRecord, Settings, Translator, Verdict};
use gate64::wire::buf::{Checksum, PacketBuf};

use crate::script::build::{add, fold, transport};
use crate::script::oracle::{judge, transport_is_right};

/// Longest input packet.
pub(super) const LONGEST: usize = 4096;

pub(super) struct Harness {
    pub(super) translator: Translator,
    pub(super) now: Instant,
    extra: ExtraPackets,
    buffer: PacketBuf,
    /// Packets and bytes of the input, and output packets of any kind.
    work: [usize; 3],
}

/// The outputs of a packet. The first one uses the input's buffer.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) packets: Vec<Vec<u8>>,
}

impl Harness {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            translator: Translator::new(Settings { worker: WorkerId(0), workers: 1, ..settings }, 8),
            now: Instant::from_secs(1),
            extra: ExtraPackets::new(32, LONGEST + 60),
            buffer: PacketBuf::new(LONGEST + 60),
            work: [0; 3],
        }
    }

    /// Processes a packet and checks the guarantees for every packet.
    pub(super) fn put(&mut self, packet: &[u8]) -> Outcome {
        self.buffer.fill(packet);
        self.extra.clear();
        let mut verdict = [Verdict::Hold];
        let buffer = std::slice::from_mut(&mut self.buffer);
        self.translator.process(self.now, buffer, &mut verdict, &mut self.extra);
        let verdict = verdict[0];
        let mut packets = Vec::new();
        match verdict {
            Verdict::Forward | Verdict::Reject(_) => packets.push(self.buffer.bytes().to_vec()),
            Verdict::Hold => assert!(self.buffer.is_empty(), "on hold, and still there"),
            Verdict::HandOver(_) => panic!("handed over by the only worker"),
            Verdict::Drop(_) => {
                let replaced = self.buffer.meta.reassembled || self.buffer.meta.hairpin;
                assert!(replaced || self.buffer.bytes() == packet, "dropped, but changed");
            }
        }
        packets.extend(self.extra.packets().iter().map(|extra| extra.packet.bytes().to_vec()));
        for bytes in &packets {
            sound(bytes);
        }
        match verdict {
            Verdict::Forward => kept_its_checksum(packet, &packets),
            Verdict::Reject(_) => answers(packet, &packets[0]),
            Verdict::Hold | Verdict::HandOver(_) | Verdict::Drop(_) => {}
        }
        self.count(1, packet.len(), packets.len());
        Outcome { verdict, packets }
    }

    /// Advances the clock.
    pub(super) fn wait(&mut self, millis: u64) {
        self.now = Instant::from_nanos(self.now.as_nanos() + millis * 1_000_000);
        for round in 0.. {
            self.extra.clear();
            let more = self.translator.expire(self.now, 8, &mut self.extra);
            let sent = self.extra.packets().len();
            self.extra.packets().iter().for_each(|extra| sound(extra.packet.bytes()));
            self.count(0, 0, sent);
            assert!(round < 10_000, "expiry never ends");
            if !more {
                return;
            }
        }
    }

    /// The work per input is bounded: a packet causes at most itself, a held packet, an error when it
    /// expires, and its fragments.
    fn count(&mut self, put: usize, bytes: usize, sent: usize) {
        self.work = [self.work[0] + put, self.work[1] + bytes, self.work[2] + sent];
        let [put, bytes, sent] = self.work;
        assert!(sent <= 3 * put + bytes / 1000, "{put} packets of {bytes} bytes made {sent}");
    }

    /// All sessions.
    pub(super) fn sessions(&self) -> Vec<SessionRecord> {
        let blank = SessionRecord {
            proto: gate64::addr::Proto::Udp,
            v6: gate64::addr::Transport6::new([0; 16].into(), 0),
            v4: gate64::addr::Transport4::new([0; 4].into(), 0),
            remote: gate64::addr::Transport4::new([0; 4].into(), 0),
            pref64: "64:ff9b::/96".parse().expect("literal"),
            state: 0,
            remaining: core::time::Duration::ZERO,
            silent: core::time::Duration::ZERO,
            inbound: false,
            answered: false,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let (mut all, mut cursor, mut out) = (Vec::new(), Cursor::default(), [blank; 16]);
        loop {
            let count = self.translator.export(self.now, &mut cursor, &mut out);
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&out[..count]);
        }
    }
}

/// Whether lengths and IPv4 header checksum are right, for any transport.
fn sound(bytes: &[u8]) {
    // After a Fragment header that is not the first there may be any bytes.
    let judged = match transport_is_right(bytes) {
        Some(right) => judge(bytes, Checksum::Unverified, right),
        None => judge(bytes, Checksum::Partial, true),
    };
    // etherparse rejects an invalid transport header; then only the lengths are checked.
    let word = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let lengths = match bytes.first().map(|b| b >> 4) {
        Some(4) => bytes.len() >= 20 && word(2) == bytes.len(),
        Some(6) => bytes.len() >= 40 && word(4) + 40 == bytes.len(),
        _ => false,
    };
    assert!(lengths, "no packet: {bytes:02x?}");
    if let Err(error) = judged {
        panic!("{error}: {bytes:02x?}");
    }
}

/// A right checksum stays right, a wrong one wrong. A missing one is computed.
fn kept_its_checksum(before: &[u8], after: &[Vec<u8>]) {
    // The checksum of a fragment can't be verified.
    let Some(was) = transport_is_right(before) else { return };
    let Some(whole) = joined(after) else { return };
    let Some(is) = transport_is_right(&whole) else { return };
    assert_eq!(was || has_none(before), is, "checksum of {before:02x?} in {whole:02x?}");
}

/// UDP over IPv4 without a checksum.
fn has_none(packet: &[u8]) -> bool {
    match transport(packet) {
        Some((17, at)) => packet[0] >> 4 == 4 && packet.get(at + 6..at + 8) == Some(&[0, 0]),
        _ => false,
    }
}

/// Reassembles IPv6 fragments, or returns the only packet.
fn joined(packets: &[Vec<u8>]) -> Option<Vec<u8>> {
    let first = packets.first()?;
    if packets.len() == 1 || first[0] >> 4 != 6 || first[6] != 44 {
        return Some(first.clone());
    }
    let mut whole = first[..40].to_vec();
    whole[6] = first[40];
    for piece in packets {
        // Fragments of another, held datagram.
        if piece.len() < 48 || piece[0] >> 4 != 6 || piece[6] != 44 || piece[44..48] != first[44..48] {
            return None;
        }
        let offset = usize::from(u16::from_be_bytes([piece[42], piece[43]]) & 0xfff8);
        assert_eq!(offset, whole.len() - 40, "pieces in order and without gaps");
        whole.extend(&piece[48..]);
    }
    let len = (whole.len() - 40) as u16;
    whole[4..6].copy_from_slice(&len.to_be_bytes());
    Some(whole)
}

/// A generated error goes to the sender, has a right checksum and an allowed size, and quotes the packet.
fn answers(packet: &[u8], answer: &[u8]) {
    assert_eq!(transport_is_right(answer), Some(true), "{answer:02x?}");
    let (header, longest, source, destination) = match answer[0] >> 4 {
        4 => (20, 576, 12..16, 16..20),
        _ => (40, 1280, 8..24, 24..40),
    };
    assert_eq!(answer[0] >> 4, packet[0] >> 4);
    assert_eq!(answer[destination], packet[source]);
    assert!(answer.len() <= longest, "an error of {} bytes", answer.len());
    if answer[0] >> 4 == 6 && answer[6] == 6 {
        assert_eq!((answer.len(), answer[53] & 0x04), (60, 0x04), "a RST without data");
        return;
    }
    assert!(packet.starts_with(&answer[header + 8..]), "quotes something else");
}

/// Corrects the checksums of a packet.
pub(super) fn mend(packet: &mut [u8]) {
    let v4 = packet.first().is_some_and(|b| b >> 4 == 4);
    if v4 && packet.len() >= 20 {
        let header = (usize::from(packet[0] & 15) * 4).clamp(20, packet.len());
        packet[10..12].fill(0);
        let sum = !fold(add(0, &packet[..header]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let Some((protocol, at)) = transport(packet) else { return };
    let end = match v4 {
        true => usize::from(u16::from_be_bytes([packet[2], packet[3]])),
        false => usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40,
    };
    let offset = match protocol {
        6 => 16,
        17 => 6,
        1 if v4 => 2,
        58 if !v4 => 2,
        _ => return,
    };
    if at > end || end > packet.len() || at + offset + 2 > end {
        return;
    }
    packet[at + offset..at + offset + 2].fill(0);
    let pseudo = match protocol {
        1 => 0,
        _ => {
            let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
            add(u64::from(protocol) + (end - at) as u64, addresses)
        }
    };
    let sum = match !fold(add(pseudo, &packet[at..end])) {
        0 if protocol == 17 => 0xffff,
        sum => sum,
    };
    packet[at + offset..at + offset + 2].copy_from_slice(&sum.to_be_bytes());
}
