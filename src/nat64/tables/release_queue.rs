//! Release queue of empty blocks: a heap by the start of their quarantine, from which any block can be removed.

use super::slab::NIL;

/// Slots of blocks with the start of their quarantine; each slot at most once.
#[derive(Debug)]
pub(in crate::nat64) struct ReleaseQueue {
    /// A binary heap of starts and slots, the oldest first.
    heap: Vec<(u32, u32)>,
    /// Position in the heap by slot, or [`NIL`].
    positions: Box<[u32]>,
}

impl ReleaseQueue {
    /// A queue of blocks in slots below `limit`.
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        Self {
            heap: Vec::with_capacity(limit as usize),
            positions: vec![NIL; limit as usize].into_boxed_slice(),
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        (size_of::<(u32, u32)>() + size_of::<u32>()) * limit as usize
    }

    /// Adds a block, unless it is in the queue.
    pub(in crate::nat64) fn push(&mut self, since: u32, slot: u32) {
        if self.positions[slot as usize] == NIL {
            self.heap.push((since, slot));
            self.positions[slot as usize] = self.heap.len() as u32 - 1;
            self.rise(self.heap.len() - 1);
        }
    }

    /// The oldest entry: start and slot.
    pub(in crate::nat64) fn peek(&self) -> Option<(u32, u32)> {
        self.heap.first().copied()
    }

    /// Removes a block if it is in the queue.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        let at = self.positions[slot as usize] as usize;
        if at >= self.heap.len() {
            return;
        }
        self.positions[slot as usize] = NIL;
        self.heap.swap_remove(at);
        if let Some((_, moved)) = self.heap.get(at) {
            self.positions[*moved as usize] = at as u32;
            self.rise(at);
            self.sink(at);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.positions[self.heap[a].1 as usize] = a as u32;
        self.positions[self.heap[b].1 as usize] = b as u32;
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.heap[at] < self.heap[(at - 1) / 2] {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat64::tables::hash::Rng;

    #[test]
    fn entries_leave_in_order_and_any_can_be_removed() {
        let mut rng = Rng::new(3);
        let mut queue = ReleaseQueue::new(64);
        let mut expected = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            let slot = rng.below(64);
            match rng.below(3) {
                0 => {
                    expected.retain(|(_, other)| *other != slot);
                    queue.remove(slot);
                }
                1 => {
                    let first = expected.pop_first();
                    assert_eq!(queue.peek(), first);
                    first.into_iter().for_each(|(_, slot)| queue.remove(slot));
                }
                _ => {
                    let since = rng.below(1000);
                    if expected.iter().all(|(_, other)| *other != slot) {
                        expected.insert((since, slot));
                    }
                    queue.push(since, slot);
                }
            }
        }
        assert!(queue.heap.len() == expected.len() && queue.peek() == expected.first().copied());
    }
}
