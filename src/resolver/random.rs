//! Unpredictable random numbers for message ids, ports and letter case (0x20).

use std::io;

/// Bytes read from the kernel at once.
const DRAWN: usize = 1_024;

/// Random bytes from the kernel, read in batches: an id or a letter case needs no system call.
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
        // Used bytes must not remain in memory.
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

    /// A number below `end`, which must not be 0. `end` is small, so the bias is below 2^-40.
    pub(super) fn below(&mut self, end: usize) -> io::Result<usize> {
        let drawn = self.u64()? % (end as u64).max(1);
        Ok(usize::try_from(drawn).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_stay_in_range() {
        let mut random = Random::new();
        let drawn: std::collections::HashSet<_> = (0..1_000).map(|_| random.u64().unwrap()).collect();
        assert_eq!(drawn.len(), 1_000);
        assert!((0..100).all(|_| random.below(3).unwrap() < 3));
    }
}
