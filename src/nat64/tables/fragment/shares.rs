//! What each source has of the store, so that one that sends first fragments and nothing else does not
//! keep all others from theirs.

/// A source may have this part of the store.
const PART: usize = 8;
/// Datagrams that a source may have of the smallest store.
const FEW: usize = 16;

/// What a source has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    datagrams: u32,
    cells: u32,
}

/// What all sources have, by hash of the source: many more places than there are sources in a full
/// store, so that two seldom share one.
pub(in crate::nat64) struct Shares {
    counts: Box<[Share]>,
    most: Share,
}

impl Shares {
    /// For a store of so many datagrams and cells. A source may always have `cells_at_least`.
    pub(in crate::nat64) fn new(datagrams: usize, cells: usize, cells_at_least: u32) -> Self {
        let most = Share { datagrams: (datagrams / PART).max(FEW) as u32, cells: (cells / PART) as u32 };
        Self {
            counts: vec![Share::default(); (datagrams * 4).max(1)].into(),
            most: Share { cells: most.cells.max(cells_at_least), ..most },
        }
    }

    /// The place of a source with this hash.
    pub(in crate::nat64) const fn place(&self, hash: u32) -> u32 {
        ((hash as u64 * self.counts.len() as u64) >> 32) as u32
    }

    /// Counts one more datagram; false if that is too many.
    pub(in crate::nat64) fn open(&mut self, place: u32) -> bool {
        let share = &mut self.counts[place as usize];
        let fits = share.datagrams < self.most.datagrams;
        share.datagrams += u32::from(fits);
        fits
    }

    /// Counts one datagram less.
    pub(in crate::nat64) fn close(&mut self, place: u32) {
        self.counts[place as usize].datagrams -= 1;
    }

    /// Whether a source may have so many more cells.
    pub(in crate::nat64) fn has_room(&self, place: u32, cells: u32) -> bool {
        self.counts[place as usize].cells + cells <= self.most.cells
    }

    /// Counts cells as taken.
    pub(in crate::nat64) fn take(&mut self, place: u32, cells: u32) {
        self.counts[place as usize].cells += cells;
    }

    /// Counts cells as given back.
    pub(in crate::nat64) fn release(&mut self, place: u32, cells: u32) {
        self.counts[place as usize].cells -= cells;
    }

    /// Whether no source has anything.
    #[cfg(test)]
    pub(in crate::nat64) fn are_empty(&self) -> bool {
        self.counts.iter().all(|share| *share == Share::default())
    }
}
