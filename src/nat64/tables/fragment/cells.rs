//! Packet memory in cells of equal size, allocated once. A packet occupies a chain of cells.

/// Bytes per cell: room for one packet of Ethernet size.
pub(in crate::nat64) const CELL: usize = 2048;

/// The end of a chain.
pub(in crate::nat64) const NONE: u32 = u32::MAX;

/// Number of cells for a packet of `len` bytes, at least one.
pub(in crate::nat64) const fn needed(len: usize) -> usize {
    let cells = len.div_ceil(CELL);
    if cells == 0 { 1 } else { cells }
}

/// The memory and the chain of free cells.
pub(in crate::nat64) struct Cells {
    memory: Box<[u8]>,
    next: Box<[u32]>,
    free: u32,
    left: usize,
}

impl Cells {
    /// As many cells as fit in `bytes`.
    pub(in crate::nat64) fn new(bytes: usize) -> Self {
        let count = (bytes / CELL).min(NONE as usize);
        let next = (1..=count).map(|n| if n == count { NONE } else { n as u32 }).collect();
        let free = if count == 0 { NONE } else { 0 };
        Self { memory: vec![0; count * CELL].into(), next, free, left: count }
    }

    /// Number of cells.
    pub(in crate::nat64) fn count(&self) -> usize {
        self.next.len()
    }

    /// Number of free cells.
    #[cfg(test)]
    pub(in crate::nat64) const fn left(&self) -> usize {
        self.left
    }

    /// Copies `packet` into free cells; returns the first, or `None` if there are too few.
    pub(in crate::nat64) fn store(&mut self, packet: &[u8]) -> Option<u32> {
        let needed = needed(packet.len());
        if needed > self.left {
            return None;
        }
        let first = self.free;
        let mut last = first;
        for (number, part) in packet.chunks(CELL).enumerate() {
            if number > 0 {
                last = self.next[last as usize];
            }
            let at = last as usize * CELL;
            self.memory[at..at + part.len()].copy_from_slice(part);
        }
        self.free = self.next[last as usize];
        self.next[last as usize] = NONE;
        self.left -= needed;
        Some(first)
    }

    /// Fills `out` from the packet in the chain at `first`, starting at its byte `from`.
    pub(in crate::nat64) fn copy(&self, first: u32, from: usize, out: &mut [u8]) {
        let mut cell = first;
        for _ in 0..from / CELL {
            cell = self.next[cell as usize];
        }
        let mut skip = from % CELL;
        let mut done = 0;
        while done < out.len() {
            let len = (CELL - skip).min(out.len() - done);
            let at = cell as usize * CELL + skip;
            out[done..done + len].copy_from_slice(&self.memory[at..at + len]);
            done += len;
            skip = 0;
            cell = self.next[cell as usize];
        }
    }

    /// Frees the chain at `first`.
    pub(in crate::nat64) fn release(&mut self, first: u32) {
        let mut last = first;
        let mut freed = 1;
        while self.next[last as usize] != NONE {
            last = self.next[last as usize];
            freed += 1;
        }
        self.next[last as usize] = self.free;
        self.free = first;
        self.left += freed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_all_sizes_survive_until_memory_is_full() {
        let mut cells = Cells::new(CELL * 40);
        for round in 0..3 {
            let packets: Vec<Vec<u8>> = [1, CELL - 1, CELL, CELL + 1, 30 * CELL]
                .iter()
                .map(|len| (0..*len).map(|n| (n + round) as u8).collect())
                .collect();
            let chains: Vec<_> = packets.iter().map(|p| cells.store(p).expect("room")).collect();
            assert_eq!(cells.left(), 5);
            assert_eq!(cells.store(&[0; 5 * CELL + 1]), None);
            for (packet, chain) in packets.iter().zip(&chains) {
                for from in [0, 1, packet.len() / 2, packet.len() - 1] {
                    let mut out = vec![0; packet.len() - from];
                    cells.copy(*chain, from, &mut out);
                    assert_eq!(out, packet[from..]);
                }
            }
            for chain in chains {
                cells.release(chain);
            }
            assert_eq!(cells.left(), 40);
        }
    }

    #[test]
    fn no_memory_stores_nothing() {
        assert_eq!(Cells::new(CELL - 1).store(&[1]), None);
    }
}
