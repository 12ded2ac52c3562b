//! Keyed hashes for the tables, and the random number generator.

use core::net::Ipv6Addr;

/// A keyed hash: without the key, nobody can choose colliding addresses.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Hasher {
    keys: [u64; 3],
}

impl Hasher {
    /// Draws three keys.
    pub(in crate::nat64) fn new(rng: &mut Rng) -> Self {
        Self { keys: [rng.next(), rng.next(), rng.next() | 1] }
    }

    /// The hash of an IPv6 address and a few bits that go with it.
    pub(in crate::nat64) const fn address(&self, addr: Ipv6Addr, with: u64) -> u32 {
        let bits = addr.to_bits();
        let folded = fold((bits >> 64) as u64 ^ self.keys[0], bits as u64 ^ self.keys[1]);
        (fold(folded ^ with, self.keys[2]) >> 32) as u32
    }

    /// The hash of two words.
    pub(in crate::nat64) const fn words(&self, a: u64, b: u64) -> u32 {
        (fold(fold(a ^ self.keys[0], self.keys[2]) ^ b, self.keys[1]) >> 32) as u32
    }
}

const fn fold(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    wide as u64 ^ (wide >> 64) as u64
}

/// A seeded random number generator: SipHash-2-4 of a counter, so that observed ports do not reveal the
/// next one (RFC 6056 §3.1).
#[derive(Clone, Debug)]
pub(in crate::nat64) struct Rng {
    key: [u64; 2],
    drawn: u64,
}

impl Rng {
    /// The sequence of `seed`.
    pub(in crate::nat64) const fn new(seed: u64) -> Self {
        Self { key: [seed, seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15], drawn: 0 }
    }

    /// The next 64 bits.
    pub(in crate::nat64) const fn next(&mut self) -> u64 {
        self.drawn += 1;
        sip(self.key, self.drawn)
    }

    /// A uniform number below `n`, with a bias below 2^-32; zero if `n` is zero.
    pub(in crate::nat64) const fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * n as u64) >> 32) as u32
    }
}

/// SipHash-2-4 of one eight-byte word. Not the crate `siphasher`: without the
/// feature `daemon` this library has no dependency.
const fn sip(key: [u64; 2], word: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    // The last block holds the length, eight, in its top byte.
    let blocks = [word, 8 << 56];
    let mut i = 0;
    while i < 2 {
        v[3] ^= blocks[i];
        v = round(round(v));
        v[0] ^= blocks[i];
        i += 1;
    }
    v[2] ^= 0xff;
    v = round(round(round(round(v))));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round(mut v: [u64; 4]) -> [u64; 4] {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_agrees_with_the_published_vector() {
        // SipHash reference vectors: key 00..0f, message 00..07.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(sip(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn numbers_repeat_with_their_seed_and_are_uniform() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let mut counts = [0u32; 16];
        for _ in 0..16_000 {
            let n = a.below(16);
            assert_eq!(n, b.below(16));
            counts[n as usize] += 1;
        }
        // Chi squared with 15 degrees of freedom: 37.7 is the 0.1 % point.
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 37.7, "{chi}");
    }
}
