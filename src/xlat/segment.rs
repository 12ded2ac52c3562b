//! Super-packets cut in software, by the rule that the kernel and network cards follow.

use core::ops::Range;

use super::fragment::{self, IpHeader};
use super::header::{Header4, Header6};
use super::rules::Rules;
use crate::reason::Reason;
use crate::wire::batch::Batch;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::{ICMP4, ICMP6, TCP, UDP, icmp, ipv4, ipv6, put_u16, put_u32, tcp, u32_at, udp};

/// The longest transport header: TCP with all options.
const MAX_HEADER: usize = 60;

/// The packets that a TCP or UDP message stands for: equal ones, the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    protocol: u8,
    /// Length of the transport header that each of them has.
    pub(super) header_len: usize,
    /// Payload bytes of each.
    size: usize,
    /// Payload bytes of all.
    payload: usize,
}

impl Run {
    /// `None` if `message` is a single packet.
    #[inline]
    pub(super) fn of(message: &[u8], segmentation: Segmentation) -> Option<Self> {
        let (protocol, header_len, size) = match segmentation {
            Segmentation::None => return None,
            Segmentation::Tcp { size, .. } => (TCP, tcp::header_len(message)?, size),
            Segmentation::Udp { size } => (UDP, udp::HEADER, size),
        };
        let payload = message.len().checked_sub(header_len)?;
        Some(Self { protocol, header_len, size: usize::from(size.max(1)), payload })
    }

    /// How many packets there are, at least 1.
    pub(super) const fn count(&self) -> usize {
        let full = self.payload.div_ceil(self.size);
        if full == 0 { 1 } else { full }
    }

    /// Where the payload of packet `index` lies in the message.
    pub(super) fn payload(&self, index: usize) -> Range<usize> {
        let start = self.size * index;
        let end = (start + self.size).min(self.payload);
        self.header_len + start..self.header_len + end
    }

    /// Length of the longest packet without its IP header.
    pub(super) fn longest(&self) -> usize {
        self.header_len + self.size.min(self.payload)
    }

    /// The transport header of packet `index`, its checksum complete. `pseudo` is the sum of the
    /// pseudo-header but for the length.
    pub(super) fn header(&self, message: &[u8], index: usize, pseudo: Sum) -> ([u8; MAX_HEADER], usize) {
        let mut bytes = [0; MAX_HEADER];
        let header = &mut bytes[..self.header_len];
        header.copy_from_slice(&message[..self.header_len]);
        let payload = &message[self.payload(index)];
        let len = self.header_len + payload.len();
        let at = if self.protocol == TCP {
            let seq = u32_at(header, 4).wrapping_add((self.size * index) as u32);
            put_u32(header, 4, seq);
            let mut flags = Flags(header[13]);
            if index + 1 < self.count() {
                flags = flags.without(Flags::FIN.with(Flags::PSH));
            }
            if index > 0 {
                flags = flags.without(Flags::CWR);
            }
            header[13] = flags.0;
            tcp::CHECKSUM
        } else {
            put_u16(header, udp::LENGTH, len as u16);
            udp::CHECKSUM
        };
        put_u16(header, at, 0);
        let sum = pseudo.pair(len as u32).plus(Sum::of(header)).plus(Sum::of(payload));
        let checksum = if self.protocol == UDP { sum.udp_checksum() } else { sum.checksum() };
        put_u16(header, at, checksum);
        (bytes, self.header_len)
    }
}

/// How many packets on the wire a message stands for, at least 1.
#[inline]
pub(super) fn packets(message: &[u8], offload: &Offload) -> usize {
    Segments::of(message, offload.segmentation).count
}

/// The packets on the wire that a packet in memory stands for, as the judge sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    /// Length of the longest, without its IP header.
    pub(super) longest: usize,
    /// How many there are.
    pub(super) count: usize,
    /// Length of the TCP header, if they are segments of a super-packet.
    tcp_header: Option<usize>,
}

impl Segments {
    #[inline(always)]
    pub(super) fn of(message: &[u8], segmentation: Segmentation) -> Self {
        match Run::of(message, segmentation) {
            None => Self { longest: message.len(), count: 1, tcp_header: None },
            Some(run) => Self {
                longest: run.longest(),
                count: run.count(),
                tcp_header: (run.protocol == TCP).then_some(run.header_len),
            },
        }
    }

    /// The segment size with which a TCP super-packet fits `mtu` behind an IP header of `header` bytes.
    pub(super) fn resegmented(&self, rules: &Rules, mtu: usize, header: usize) -> Option<u16> {
        let room = mtu.checked_sub(header + self.tcp_header?)?;
        (rules.tcp_resegment && room > 0).then_some(room as u16)
    }
}

/// Completes a partial checksum: the field holds the sum of the pseudo-header (and what it should
/// cover is all there).
pub(super) fn complete(message: &mut [u8], protocol: u8) {
    let at = match protocol {
        TCP => tcp::CHECKSUM,
        UDP => udp::CHECKSUM,
        ICMP4 | ICMP6 => icmp::CHECKSUM,
        _ => return,
    };
    if message.len() < at + 2 {
        return;
    }
    let sum = Sum::of(message);
    put_u16(message, at, if protocol == UDP { sum.udp_checksum() } else { sum.checksum() });
}

/// The packets of a packet in memory, as they are to be on the wire where the kernel or the device
/// can't cut it: for packets as [`v6_to_v4`](super::v6_to_v4) and [`v4_to_v6`](super::v4_to_v6) leave
/// them, without IPv4 options and extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    head: Head,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Head {
    V4(Header4),
    V6(Header6),
}

impl Cuts {
    /// `None` if `packet` is a single packet already.
    pub fn of(packet: &[u8], offload: &Offload) -> Option<Self> {
        let (head, at) = match packet.first()? >> 4 {
            4 => (Head::V4(Header4::read(packet.first_chunk()?)), ipv4::HEADER),
            _ => (Head::V6(Header6::read(packet.first_chunk()?)), ipv6::HEADER),
        };
        Some(Self { head, run: Run::of(&packet[at..], offload.segmentation)? })
    }

    /// How many packets there are, at least 1.
    pub const fn count(&self) -> usize {
        self.run.count()
    }

    /// Length in bytes of the longest of them.
    pub fn longest(&self) -> usize {
        self.run.longest()
            + match self.head {
                Head::V4(_) => ipv4::HEADER,
                Head::V6(_) => ipv6::HEADER,
            }
    }

    /// Replaces what is in `out` by packet `index` of `packet`, its checksum complete.
    ///
    /// # Panics
    /// If `index` is not below [`count`](Self::count), or `out` takes less than
    /// [`longest`](Self::longest) bytes.
    pub fn write(&self, packet: &[u8], index: usize, out: &mut PacketBuf) {
        assert!(index < self.count(), "packet {index} of {}", self.count());
        match &self.head {
            Head::V4(head) => write(head, &self.run, &packet[ipv4::HEADER..], index, out),
            Head::V6(head) => write(head, &self.run, &packet[ipv6::HEADER..], index, out),
        }
    }
}

fn write<H: IpHeader>(head: &H, run: &Run, message: &[u8], index: usize, out: &mut PacketBuf) {
    let (header, header_len) = run.header(message, index, head.pseudo());
    let payload = &message[run.payload(index)];
    let head = head.segment(index);
    out.clear();
    let bytes = out.append(head.len() + header_len + payload.len());
    head.write(bytes, header_len + payload.len());
    let (front, behind) = bytes[head.len()..].split_at_mut(header_len);
    front.copy_from_slice(&header[..header_len]);
    behind.copy_from_slice(payload);
    out.offload.checksum = Checksum::Verified;
}

/// Cuts a super-packet into its packets: the first stays in `buf`, the others go to `extra`. A single
/// packet only has its partial checksum completed.
///
/// For packets as [`v6_to_v4`](super::v6_to_v4) and [`v4_to_v6`](super::v4_to_v6) leave them.
///
/// # Errors
/// [`Reason::ExtraFull`] if `extra` has not enough room; nothing is written then.
pub fn cut(buf: &mut PacketBuf, extra: &mut Batch) -> Result<(), Reason> {
    match buf.bytes().first().map(|first| first >> 4) {
        Some(4) if buf.len() >= ipv4::HEADER => {
            let head = Header4::read(buf.bytes().first_chunk().ok_or(Reason::Ipv4Header)?);
            cut_behind(&head, buf, extra)
        }
        Some(6) if buf.len() >= ipv6::HEADER => {
            let head = Header6::read(buf.bytes().first_chunk().ok_or(Reason::Ipv6Header)?);
            cut_behind(&head, buf, extra)
        }
        _ => Err(Reason::NotIp),
    }
}

fn cut_behind<H: IpHeader>(head: &H, buf: &mut PacketBuf, extra: &mut Batch) -> Result<(), Reason> {
    let shape = fragment::Shape::of(head, &buf.bytes()[head.len()..], &buf.offload, usize::MAX);
    if !shape.fits(extra) {
        return Err(Reason::ExtraFull);
    }
    buf.shrink_front(head.len());
    shape.cut(head, buf, extra);
    Ok(())
}
