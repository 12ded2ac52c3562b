//! Unpredictable random numbers for message ids, ports and letter case (0x20).

use std::io;

/// Bytes drawn from the kernel at once.
const DRAWN: usize = 1_024;

/// Random bytes of the kernel, read in batches: an id or a letter case costs no system call.
pub(super) struct Random {
    bytes: [u8; DRAWN],
    used: usize,
}

impl Random {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; DRAWN], used: DRAWN }
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        if self.used + N > DRAWN {
            getrandom::fill(&mut self.bytes).map_err(|error| io::Error::other(error.to_string()))?;
            self.used = 0;
        }
        let mut taken = [0; N];
        let from = &mut self.bytes[self.used..][..N];
        taken.copy_from_slice(from);
        // What has been used must not lie about to be found.
        from.fill(0);
        self.used += N;
        Ok(taken)
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    pub(super) fn octets<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take()
    }

    /// A number below `end`, which must not be 0. Ports and upstreams are few, so the bias is below 2^-40.
    pub(super) fn below(&mut self, end: usize) -> io::Result<usize> {
        let drawn = self.u64()? % (end as u64).max(1);
        Ok(usize::try_from(drawn).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_keep_to_their_range() {
        let mut chance = Random::new();
        let drawn: std::collections::HashSet<_> = (0..1_000).map(|_| chance.u64().unwrap()).collect();
        assert_eq!(drawn.len(), 1_000);
        assert!((0..100).all(|_| chance.below(3).unwrap() < 3));
    }
}
