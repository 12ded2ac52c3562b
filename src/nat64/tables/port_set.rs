//! Sets of ports and of cells of a port range.

use crate::addr::PortRange;
use crate::ownership::ports_of;

/// Ports per cell: the size of the smallest block. A range below port 1024 has one cell, others have 16.
pub(in crate::nat64) const CELL: u16 = 16;

/// A set of ports of a range: one bit per port, from the range's first port.
pub(in crate::nat64) type PortSet = [u64; 4];

/// A set of cells of a range: one bit per cell, from the range's first port.
pub(in crate::nat64) type CellSet = u16;

/// The bits `first` to `last`, both included.
pub(in crate::nat64) fn port_set(first: usize, last: usize) -> PortSet {
    core::array::from_fn(|word| {
        let (low, high) = (word * 64, word * 64 + 63);
        if last < low || high < first {
            return 0;
        }
        u64::MAX << (first.max(low) - low) & u64::MAX >> (high - last.min(high))
    })
}

/// The cells that contain any of these ports.
pub(in crate::nat64) fn cells_with(ports: &PortSet) -> CellSet {
    (0..16)
        .filter(|cell| ports[cell / 4] >> (cell % 4 * 16) & 0xffff != 0)
        .fold(0, |set, cell| set | 1 << cell)
}

/// The ports of adjacent cells of a range.
pub(in crate::nat64) fn ports_of_cells(range: usize, cells: CellSet) -> PortRange {
    let first = ports_of(range).first() + cells.trailing_zeros() as u16 * CELL;
    PortRange::new(first, first + (cells.count_ones() as u16 * CELL - 1)).expect("a block is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_sets_exactly_the_given_range() {
        for (first, last) in [(0, 0), (0, 255), (63, 64), (1, 62), (128, 191), (200, 255), (255, 255)] {
            let bits = port_set(first, last);
            for at in 0..256 {
                assert_eq!(bits[at / 64] >> (at % 64) & 1 == 1, (first..=last).contains(&at), "{at}");
            }
        }
    }

    #[test]
    fn cells_and_ports_agree() {
        assert_eq!(cells_with(&[0; 4]), 0);
        assert_eq!(cells_with(&port_set(0, 255)), u16::MAX);
        assert_eq!(cells_with(&port_set(15, 16)), 0b11);
        assert_eq!(cells_with(&port_set(250, 250)), 1 << 15);
        let ports =
            |range, cells| (ports_of_cells(range, cells).first(), ports_of_cells(range, cells).last());
        assert_eq!(ports(63, 1), (1008, 1023));
        assert_eq!(ports(64, 0xffff), (1024, 1279));
        assert_eq!(ports(64, 0b1100), (1056, 1087));
        assert_eq!(ports(315, 0x8000), (65_520, 65_535));
    }
}
