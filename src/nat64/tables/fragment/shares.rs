//! Usage of the fragment cache per source and per site, so that none exhausts it for all others.

/// A source may use one part in this many of the cache.
const SOURCE_PART: usize = 8;
/// A site may use one part in this many.
const SITE_PART: usize = 2;
/// Minimum datagrams per source, in the smallest cache.
const FEW: usize = 16;

/// Number of datagrams, and of cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Held {
    datagrams: u32,
    cells: u32,
}

/// Bytes of the counters of a datagram.
pub(super) const ENTRY: usize = 2 * COUNTERS * size_of::<Held>();
/// Counters per datagram and level, so that two sources rarely share one.
const COUNTERS: usize = 4;

/// Positions of the counters of a source and of its site.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::nat64) struct SourceShare([u32; 2]);

/// Counters by hash, and their common limit.
struct Level {
    counts: Box<[Held]>,
    most: Held,
}

impl Level {
    fn new(datagrams: usize, cells: usize, part: usize, cells_at_least: u32) -> Self {
        Self {
            counts: vec![Held::default(); (datagrams * COUNTERS).max(1)].into(),
            most: Held {
                datagrams: (datagrams / part).max(FEW) as u32,
                cells: ((cells / part) as u32).max(cells_at_least),
            },
        }
    }

    const fn index_of(&self, hash: u32) -> u32 {
        ((hash as u64 * self.counts.len() as u64) >> 32) as u32
    }
}

/// Usage of sources and sites.
pub(in crate::nat64) struct Shares([Level; 2]);

impl Shares {
    /// Shares of a cache with this many datagrams and cells; each source may use at least `cells_at_least`.
    pub(in crate::nat64) fn new(datagrams: usize, cells: usize, cells_at_least: u32) -> Self {
        let level = |part| Level::new(datagrams, cells, part, cells_at_least);
        Self([level(SOURCE_PART), level(SITE_PART)])
    }

    /// The share of a source and a site with these hashes.
    pub(in crate::nat64) fn share_of(&self, source: u32, site: u32) -> SourceShare {
        let [sources, sites] = &self.0;
        SourceShare([sources.index_of(source), sites.index_of(site)])
    }

    fn counts(&mut self, share: SourceShare) -> impl Iterator<Item = &mut Held> {
        self.0.iter_mut().zip(share.0).map(|(level, at)| &mut level.counts[at as usize])
    }

    /// The counts of both levels with their limits.
    fn usage(&self, share: SourceShare) -> impl Iterator<Item = (Held, Held)> {
        self.0.iter().zip(share.0).map(|(level, at)| (level.counts[at as usize], level.most))
    }

    /// Adds one datagram; false if that exceeds a share.
    pub(in crate::nat64) fn open(&mut self, share: SourceShare) -> bool {
        let fits = self.usage(share).all(|(held, most)| held.datagrams < most.datagrams);
        if fits {
            self.counts(share).for_each(|held| held.datagrams += 1);
        }
        fits
    }

    /// Subtracts one datagram.
    pub(in crate::nat64) fn close(&mut self, share: SourceShare) {
        self.counts(share).for_each(|held| held.datagrams -= 1);
    }

    /// Whether source and site may use this many more cells.
    pub(in crate::nat64) fn has_room(&self, share: SourceShare, cells: u32) -> bool {
        self.usage(share).all(|(held, most)| held.cells + cells <= most.cells)
    }

    /// Adds cells.
    pub(in crate::nat64) fn take(&mut self, share: SourceShare, cells: u32) {
        self.counts(share).for_each(|held| held.cells += cells);
    }

    /// Subtracts cells.
    pub(in crate::nat64) fn release(&mut self, share: SourceShare, cells: u32) {
        self.counts(share).for_each(|held| held.cells -= cells);
    }

    /// Whether all counters are zero.
    #[cfg(test)]
    pub(in crate::nat64) fn are_empty(&self) -> bool {
        self.0.iter().flat_map(|level| &level.counts).all(|held| *held == Held::default())
    }
}
