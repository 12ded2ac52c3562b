//! Generates IPv4 identifications for packets translated from IPv6.

use core::net::Ipv4Addr;

/// Number of counters; a power of two.
const COUNTERS: usize = 2048;

/// A generator of IPv4 identifications.
///
/// A hash of source, destination, protocol and DF selects one of 2,048 counters, which start at random values.
/// The identifications of 65,536 packets of one tuple differ, unless another busy tuple shares the counter.
///
/// With DF clear, 1,260 bytes a packet and a reassembly timeout of 120 s, this is safe up to 5.5 Mb/s: the
/// limit of any 16-bit field (RFC 6864 §5.3.1). Packets with DF set need no unique identification; they use
/// separate counters so as not to exhaust the others.
#[derive(Debug)]
pub(crate) struct Ids {
    key: u64,
    counters: Box<[u16; COUNTERS]>,
}

impl Ids {
    /// A generator whose counters start at values derived from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let key = split_mix(&mut state) | 1;
        let mut counters = Box::new([0; COUNTERS]);
        counters.fill_with(|| split_mix(&mut state) as u16);
        Self { key, counters }
    }

    /// Reserves `packets` consecutive identifications and returns the first.
    #[inline]
    pub(crate) fn take(
        &mut self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        protocol: u8,
        df: bool,
        packets: usize,
    ) -> u16 {
        let pair = u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits());
        let kind = u64::from(protocol) << 1 | u64::from(df);
        let hash = (pair ^ kind.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_mul(self.key);
        let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let counter = &mut self.counters[(hash >> 48) as usize % COUNTERS];
        let first = *counter;
        *counter = first.wrapping_add(packets as u16);
        first
    }
}

/// The next number of a SplitMix64 generator: evenly distributed, but predictable.
pub(crate) const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_splitmix64() {
        let mut state = 0;
        let numbers = [(); 3].map(|()| split_mix(&mut state));
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    const A: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    #[test]
    fn identifications_of_65536_packets_differ() {
        // ids 7915-5.1-id-gen, 7915-5.1-id-unique, 7857-10
        let mut ids = Ids::new(7);
        let mut seen = vec![false; 65_536];
        for _ in 0..65_536 {
            let id = usize::from(ids.take(A, B, 17, false, 1));
            assert!(!seen[id]);
            seen[id] = true;
        }
    }

    #[test]
    fn a_super_packet_reserves_one_identification_per_segment() {
        let mut ids = Ids::new(7);
        let first = ids.take(A, B, 6, true, 45);
        assert_eq!(ids.take(A, B, 6, true, 1), first.wrapping_add(45));
    }

    #[test]
    fn packets_with_df_use_separate_counters() {
        let mut ids = Ids::new(1);
        let first = ids.take(A, B, 6, false, 1);
        ids.take(A, B, 6, true, 1000);
        assert_eq!(ids.take(A, B, 6, false, 1), first.wrapping_add(1));
    }

    #[test]
    fn equal_seeds_give_equal_identifications() {
        let (mut one, mut two, mut other) = (Ids::new(1), Ids::new(1), Ids::new(2));
        let first = one.take(A, B, 17, false, 1);
        assert_eq!(first, two.take(A, B, 17, false, 1));
        assert_ne!(first, other.take(A, B, 17, false, 1));
    }
}
