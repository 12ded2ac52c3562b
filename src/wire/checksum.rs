//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use core::net::{Ipv4Addr, Ipv6Addr};

/// A one's complement sum of 16-bit words, not yet folded.
///
/// Sums up to 2^32 words without overflow; a packet of 128 KiB has 2^16.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`. An odd last byte is the high byte of a word.
    pub fn of(bytes: &[u8]) -> Self {
        // Sums four words at a time in native byte order and swaps the result (RFC 1071 §2 B).
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

    /// The sum of the IPv4 pseudo-header of a transport message of `len` bytes (RFC 793 §3.1).
    pub fn pseudo4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: usize) -> Self {
        Self::of_v4(src).plus(Self::of_v4(dst)).word(u16::from(protocol)).plus(Self(len as u64))
    }

    /// The sum of the IPv6 pseudo-header of a transport message of `len` bytes (RFC 8200 §8.1).
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

    /// Adds another sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Adds a 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds two 16-bit words.
    #[must_use]
    pub const fn pair(self, pair: u32) -> Self {
        Self(self.0 + pair as u64)
    }

    /// Folds the sum to 16 bits. Zero only if all words are zero.
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the inverted folded sum.
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The UDP checksum: 0xffff instead of zero, which means "no checksum" (RFC 768).
    pub const fn udp_checksum(self) -> u16 {
        nonzero(self.checksum())
    }

    /// The checksum delta of replacing the words of `self` by those of `new`.
    pub const fn replaced_by(self, new: Self) -> Delta {
        Delta(!self.fold() as u64 + new.0)
    }
}

const fn fold(sum: u64) -> u16 {
    // Halves the width twice, each time with end-around carry.
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    sum + carry as u16
}

/// Replaces a UDP checksum of zero by all ones (RFC 768).
const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A checksum delta, not yet folded. A correct checksum stays correct, an incorrect one incorrect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// Combines two deltas.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Applies the delta to a checksum field (RFC 1624 §3, equation 3).
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u64 + self.0)
    }

    /// Applies the delta to a UDP checksum field, which is never zero.
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        nonzero(self.apply(checksum))
    }

    /// Applies the delta to a partial checksum: a folded sum that is not inverted.
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
    fn example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::of(&bytes).checksum(), 0x220d);
    }

    #[test]
    fn example_of_rfc_1624() {
        let delta = Sum::ZERO.word(0x5555).replaced_by(Sum::ZERO.word(0x3285));
        assert_eq!(delta.apply(0xdd2f), 0x0000);
        assert_eq!(delta.apply_udp(0xdd2f), 0xffff);
    }

    proptest! {
        #[test]
        fn sums_agree_with_a_word_by_word_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::of(&bytes).fold(), plain(&bytes));
        }

        #[test]
        fn a_delta_agrees_with_a_new_sum(
            mut bytes in proptest::collection::vec(any::<u8>(), 20..40), new: [u8; 6],
        ) {
            let (before, old) = (Sum::of(&bytes), Sum::of(&bytes[4..10]));
            bytes[4..10].copy_from_slice(&new);
            let (after, delta) = (Sum::of(&bytes), old.replaced_by(Sum::of(&new)));
            // One's complement has two representations of zero.
            prop_assert_eq!(delta.apply(before.checksum()) % 0xffff, after.checksum() % 0xffff);
            prop_assert_eq!(delta.apply_partial(before.fold()) % 0xffff, after.fold() % 0xffff);
        }
    }
}
