//! Rewrites ports and transport checksums in place (RFC 7915 §4.5, §5.5).

use crate::wire::buf::{Checksum, Offload, Segmentation};
use crate::wire::checksum::{Delta, Sum};
use crate::wire::{DST_PORT, SRC_PORT, icmp, put_u16, put_u32, tcp, u16_at, u32_at, udp};

/// Sums of a packet's addresses before and after translation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) old: Sum,
    pub(super) new: Sum,
}

impl Addresses {
    /// The checksum delta of the pseudo-header: only its addresses change.
    const fn change(self) -> Delta {
        self.old.replaced_by(self.new)
    }
}

/// Writes both ports at the start of a TCP or UDP message. Returns the checksum delta.
#[inline(always)]
pub(super) fn put_ports(message: &mut [u8], (src, dst): (u16, u16), addresses: Addresses) -> Delta {
    let new = u32::from(src) << 16 | u32::from(dst);
    let old = addresses.old.pair(u32_at(message, 0));
    put_u32(message, 0, new);
    old.replaced_by(addresses.new.pair(new))
}

/// Rewrites a TCP segment; `mss` is the upper bound for the MSS option of a SYN.
#[inline]
pub(super) fn rewrite_tcp(
    message: &mut [u8],
    ports: (u16, u16),
    addresses: Addresses,
    mss: Option<u16>,
    offload: &Offload,
) {
    let mut change = put_ports(message, ports, addresses);
    if let Some(mss) = mss {
        change = change.and(clamp_mss(message, mss));
    }
    let field = u16_at(message, tcp::CHECKSUM);
    let field = match offload.checksum {
        Checksum::Partial => addresses.change().apply_partial(field),
        Checksum::Verified | Checksum::Unverified => change.apply(field),
    };
    put_u16(message, tcp::CHECKSUM, field);
}

/// Rewrites a UDP datagram that has a checksum.
#[inline(always)]
pub(super) fn rewrite_udp(message: &mut [u8], ports: (u16, u16), addresses: Addresses, offload: &Offload) {
    let change = put_ports(message, ports, addresses);
    let field = u16_at(message, udp::CHECKSUM);
    let field = match offload.checksum {
        Checksum::Partial => addresses.change().apply_partial(field),
        Checksum::Verified | Checksum::Unverified => change.apply_udp(field),
    };
    put_u16(message, udp::CHECKSUM, field);
}

/// Rewrites a UDP datagram without checksum and adds one. `pseudo` is the sum of the new addresses and the
/// protocol. A super-packet gets a partial checksum.
pub(super) fn add_udp_checksum(
    message: &mut [u8],
    (src, dst): (u16, u16),
    pseudo: Sum,
    offload: &mut Offload,
) {
    put_u16(message, SRC_PORT, src);
    put_u16(message, DST_PORT, dst);
    put_u16(message, udp::CHECKSUM, 0);
    let len = u16_at(message, udp::LENGTH);
    let pseudo = pseudo.word(len);
    let field = match offload.segmentation {
        Segmentation::None => {
            let datagram = &message[..usize::from(len).min(message.len())];
            pseudo.plus(Sum::of(datagram)).udp_checksum()
        }
        Segmentation::Tcp { .. } | Segmentation::Udp { .. } => {
            offload.checksum = Checksum::Partial;
            pseudo.fold()
        }
    };
    put_u16(message, udp::CHECKSUM, field);
}

/// Rewrites type, identifier and checksum of an echo. `old` and `new` are the sums of the pseudo-headers
/// (zero for ICMPv4).
pub(super) fn put_echo(message: &mut [u8], kind: u8, id: u16, old: Sum, new: Sum) {
    let old = old.word(u16_at(message, 0)).word(u16_at(message, icmp::IDENTIFIER));
    message[0] = kind;
    put_u16(message, icmp::IDENTIFIER, id);
    let new = new.word(u16_at(message, 0)).word(id);
    let field = u16_at(message, icmp::CHECKSUM);
    put_u16(message, icmp::CHECKSUM, old.replaced_by(new).apply(field));
}

/// Lowers the MSS option of a SYN to `max`. Never raises or adds it (id 6m-mss).
fn clamp_mss(message: &mut [u8], max: u16) -> Delta {
    let Some(len) = tcp::header_len(message) else { return Delta::default() };
    let Some(at) = tcp::mss_at(&message[..len]) else { return Delta::default() };
    let old = u16_at(message, at);
    if old <= max {
        return Delta::default();
    }
    put_u16(message, at, max);
    // An option at an odd offset contributes byte-swapped to the sum.
    let aligned = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
    Sum::ZERO.word(aligned(old)).replaced_by(Sum::ZERO.word(aligned(max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: Addresses = Addresses { old: Sum::ZERO, new: Sum::ZERO };

    fn syn(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes.extend_from_slice(options);
        bytes[12] = (bytes.len() as u8 / 4) << 4;
        let checksum = Sum::of(&bytes).checksum();
        put_u16(&mut bytes, tcp::CHECKSUM, checksum);
        bytes
    }

    #[test]
    fn the_mss_is_lowered_and_never_raised() {
        // id 6m-mss
        let cases: [(&[u8], u16, Option<u16>); 5] = [
            (&[2, 4, 0x05, 0xb4], 1440, Some(1440)),
            (&[1, 2, 4, 0x05, 0xb4, 0, 0, 0], 1440, Some(1440)),
            (&[2, 4, 0x05, 0x78], 1440, Some(1400)),
            (&[1, 1, 1, 1], 1440, None),
            (&[], 1440, None),
        ];
        for (options, max, want) in cases {
            let mut segment = syn(options);
            rewrite_tcp(&mut segment, (0, 0), SAME, Some(max), &Offload::default());
            assert_eq!(tcp::mss(&segment), want, "{options:?}");
            assert_eq!(Sum::of(&segment).checksum(), 0, "{options:?}");
        }
    }

    #[test]
    fn a_wrong_checksum_keeps_its_error() {
        // id 7915-4.5-badcsum
        let mut segment = syn(&[]);
        segment[4] ^= 0x10;
        let error = Sum::of(&segment).checksum();
        rewrite_tcp(&mut segment, (4000, 80), SAME, None, &Offload::default());
        assert_eq!(Sum::of(&segment).checksum(), error);
    }
}
