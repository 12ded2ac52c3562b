//! The Internet checksum: sums (RFC 1071) and changes to them (RFC 1624).

use core::net::{Ipv4Addr, Ipv6Addr};

/// A one's complement sum of 16-bit words, not yet folded.
///
/// It holds up to 2^32 words without overflow: 128 KiB of packet are 2^16.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`; an odd last byte is the high half of a word.
    pub fn of(bytes: &[u8]) -> Self {
        // In the machine's own order, four words at a time: a one's complement sum doesn't mind,
        // as long as the result is turned back (RFC 1071 §2 B).
        let mut chunks = bytes.chunks_exact(8);
        let (mut even, mut odd) = (0u64, 0u64);
        for chunk in &mut chunks {
            let word = u64::from_ne_bytes(chunk.try_into().unwrap_or([0; 8]));
            even += word & 0xffff_ffff;
            odd += word >> 32;
        }
        let mut tail = [0; 8];
        tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        let last = u64::from_ne_bytes(tail);
        let sum = even + odd + (last & 0xffff_ffff) + (last >> 32);
        Self(u64::from(u16::from_be(fold(sum))))
    }

    /// The pseudo-header of a transport packet of `len` bytes over IPv4 (RFC 793 §3.1).
    pub fn pseudo4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: usize) -> Self {
        Self::of_v4(src).plus(Self::of_v4(dst)).word(u16::from(protocol)).plus(Self(len as u64))
    }

    /// The pseudo-header of a transport packet of `len` bytes over IPv6 (RFC 8200 §8.1).
    pub fn pseudo6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, len: usize) -> Self {
        Self::of_v6(src).plus(Self::of_v6(dst)).word(u16::from(protocol)).plus(Self(len as u64))
    }

    /// The sum of an address.
    pub const fn of_v4(addr: Ipv4Addr) -> Self {
        Self(addr.to_bits() as u64)
    }

    /// The sum of an address.
    pub const fn of_v6(addr: Ipv6Addr) -> Self {
        let bits = addr.to_bits();
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        Self((high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff))
    }

    /// This sum and another.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// This sum and one more word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// This sum and one more pair of words.
    #[must_use]
    pub const fn pair(self, pair: u32) -> Self {
        Self(self.0 + pair as u64)
    }

    /// The sum in 16 bits. Zero only for the sum of zeros.
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the folded sum inverted.
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The checksum as UDP sends it: never zero, which would mean that there is none (RFC 768).
    pub const fn udp_checksum(self) -> u16 {
        nonzero(self.checksum())
    }

    /// What changes in a sum when the words of `self` make place for those of `new`.
    pub const fn replaced_by(self, new: Self) -> Delta {
        Delta(!self.fold() as u64 + new.0)
    }
}

const fn fold(sum: u64) -> u16 {
    // Half the width each time, the carry brought round.
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    sum + carry as u16
}

/// A UDP checksum of zero is sent as all ones.
const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A change of a sum, not yet folded. Applied to a checksum, it leaves a right one right and a wrong one wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// This change and another.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum field after the change (RFC 1624 §3, equation 3).
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u64 + self.0)
    }

    /// As [`apply`](Self::apply) for UDP, whose checksum is never sent as zero.
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        nonzero(self.apply(checksum))
    }

    /// The field after the change, where it holds a folded sum that is not inverted: the partial
    /// checksum that the kernel leaves to be completed.
    pub const fn apply_partial(self, sum: u16) -> u16 {
        fold(sum as u64 + self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::of(&bytes).checksum(), 0x220d);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        let delta = Sum::ZERO.word(0x5555).replaced_by(Sum::ZERO.word(0x3285));
        assert_eq!(delta.apply(0xdd2f), 0x0000);
        assert_eq!(delta.apply_udp(0xdd2f), 0xffff);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_plain_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::of(&bytes).fold(), plain(&bytes));
        }

        #[test]
        fn a_delta_does_what_a_new_sum_does(
            mut bytes in proptest::collection::vec(any::<u8>(), 20..40), new: [u8; 6],
        ) {
            let (before, old) = (Sum::of(&bytes), Sum::of(&bytes[4..10]));
            bytes[4..10].copy_from_slice(&new);
            let (after, delta) = (Sum::of(&bytes), old.replaced_by(Sum::of(&new)));
            // The two zeros of one's complement are one number.
            prop_assert_eq!(delta.apply(before.checksum()) % 0xffff, after.checksum() % 0xffff);
            prop_assert_eq!(delta.apply_partial(before.fold()) % 0xffff, after.fold() % 0xffff);
        }
    }
}
