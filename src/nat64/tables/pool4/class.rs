//! Port classes.

use crate::nat64::tables::block::Block;
use crate::ownership::{LOW_RANGES, RANGES};

/// Port class: ports below 1024 and above are allocated separately (RFC 6146 §3.5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Low,
    High,
}

impl Class {
    pub(super) const fn ranges(self) -> core::ops::Range<usize> {
        match self {
            Self::Low => 0..LOW_RANGES,
            Self::High => LOW_RANGES..RANGES,
        }
    }

    pub(super) const fn of_range(range: usize) -> Self {
        if range < LOW_RANGES { Self::Low } else { Self::High }
    }

    pub(super) const fn of_block(block: &Block) -> Self {
        if block.is_low() { Self::Low } else { Self::High }
    }
}
