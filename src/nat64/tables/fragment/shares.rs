//! Usage of the fragment cache per source, so that one source cannot exhaust it for all others.

/// A source may use one part in this many of the cache.
const PART: usize = 8;
/// Minimum datagrams per source, in the smallest cache.
const FEW: usize = 16;

/// Usage of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    datagrams: u32,
    cells: u32,
}

/// Bytes of the counters of a datagram.
pub(super) const ENTRY: usize = 4 * size_of::<Share>();

/// Usage by hash of the source. There are four counters per datagram, so that two sources rarely share one.
pub(in crate::nat64) struct Shares {
    counts: Box<[Share]>,
    most: Share,
}

impl Shares {
    /// Shares of a cache with this many datagrams and cells; each source may use at least `cells_at_least`.
    pub(in crate::nat64) fn new(datagrams: usize, cells: usize, cells_at_least: u32) -> Self {
        let most = Share { datagrams: (datagrams / PART).max(FEW) as u32, cells: (cells / PART) as u32 };
        Self {
            counts: vec![Share::default(); (datagrams * 4).max(1)].into(),
            most: Share { cells: most.cells.max(cells_at_least), ..most },
        }
    }

    /// The position of a source with this hash.
    pub(in crate::nat64) const fn index_of(&self, hash: u32) -> u32 {
        ((hash as u64 * self.counts.len() as u64) >> 32) as u32
    }

    /// Adds one datagram; false if that exceeds the share.
    pub(in crate::nat64) fn open(&mut self, share: u32) -> bool {
        let share = &mut self.counts[share as usize];
        let fits = share.datagrams < self.most.datagrams;
        share.datagrams += u32::from(fits);
        fits
    }

    /// Subtracts one datagram.
    pub(in crate::nat64) fn close(&mut self, share: u32) {
        self.counts[share as usize].datagrams -= 1;
    }

    /// Whether a source may use this many more cells.
    pub(in crate::nat64) fn has_room(&self, share: u32, cells: u32) -> bool {
        self.counts[share as usize].cells + cells <= self.most.cells
    }

    /// Adds cells.
    pub(in crate::nat64) fn take(&mut self, share: u32, cells: u32) {
        self.counts[share as usize].cells += cells;
    }

    /// Subtracts cells.
    pub(in crate::nat64) fn release(&mut self, share: u32, cells: u32) {
        self.counts[share as usize].cells -= cells;
    }

    /// Whether all counters are zero.
    #[cfg(test)]
    pub(in crate::nat64) fn are_empty(&self) -> bool {
        self.counts.iter().all(|share| *share == Share::default())
    }
}
