//! Port ranges with assigned blocks: which cells are assigned, and the bindings of each port.
//!
//! A range is the unit of ownership (see [`ownership`](crate::ownership)). Its blocks share one array indexed
//! by port, so that a lookup from the IPv4 side needs no hash.

use core::net::Ipv4Addr;

use super::bib::Bib;
use super::port_set::CellSet;
use super::slab::{Item, NIL, Slab};
use crate::addr::Proto;
use crate::ownership::offset_of;

/// Maximum ports per range.
const WIDTH: usize = 256;

/// A range with at least one assigned block.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct Range {
    /// IPv4 address.
    pub(in crate::nat64) addr: Ipv4Addr,
    /// Row of the address; [`NIL`] if it is in no pool. In a free slot, the next free slot.
    pub(in crate::nat64) row: u32,
    /// Number of the range in its row.
    pub(in crate::nat64) number: u16,
    /// Assigned cells; none in a free slot.
    pub(in crate::nat64) assigned: CellSet,
}

impl Item for Range {
    fn free(next: u32) -> Self {
        Self { addr: Ipv4Addr::UNSPECIFIED, row: next, number: 0, assigned: 0 }
    }

    fn next_free(&self) -> Option<u32> {
        (self.assigned == 0).then_some(self.row)
    }
}

/// All ranges with assigned blocks. They index bindings by their IPv4 side: each port has a list of its bindings,
/// at most one per protocol.
#[derive(Debug)]
pub(in crate::nat64) struct Ranges {
    slab: Slab<Range>,
    /// First binding of each port plus one, so that zeroed pages need no initialisation.
    heads: Box<[u32]>,
}

impl Ranges {
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        Self { slab: Slab::new(limit), heads: vec![0; limit as usize * WIDTH].into_boxed_slice() }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Range>::bytes(limit) + WIDTH * size_of::<u32>() * limit as usize
    }

    /// Adds a range; `None` if the table is full.
    pub(in crate::nat64) fn insert(&mut self, range: Range) -> Option<u32> {
        self.slab.insert(range)
    }

    /// Frees cells of a range; returns true, and removes the range, if they were the last ones.
    pub(in crate::nat64) fn free_cells(&mut self, slot: u32, cells: CellSet) -> bool {
        let rest = self.slab[slot].assigned & !cells;
        if rest == 0 {
            self.slab.remove(slot);
        } else {
            self.slab[slot].assigned = rest;
        }
        rest == 0
    }

    /// The position of a port's list.
    #[inline]
    pub(in crate::nat64) const fn head(slot: u32, port: u16) -> usize {
        slot as usize * WIDTH + offset_of(port)
    }

    /// The first binding of a port's list, or [`NIL`].
    #[inline]
    pub(in crate::nat64) fn first_at(&self, head: usize) -> u32 {
        self.heads[head].wrapping_sub(1)
    }

    /// The binding of this protocol in the list at `head`.
    #[inline]
    pub(in crate::nat64) fn find(&self, head: usize, proto: Proto, bib: &Bib) -> Option<u32> {
        let mut link = self.first_at(head);
        while link != NIL {
            let binding = bib.binding(link);
            if binding.proto() == proto {
                return Some(link);
            }
            link = binding.same_port;
        }
        None
    }

    /// Adds a binding to the list of its port.
    pub(in crate::nat64) fn link(&mut self, slot: u32, binding: u32, bib: &mut Bib) {
        let entry = bib.binding_mut(binding);
        let head = &mut self.heads[Self::head(slot, entry.port)];
        entry.same_port = head.wrapping_sub(1);
        *head = binding + 1;
    }

    /// Removes a binding from the list of its port.
    pub(in crate::nat64) fn unlink(&mut self, slot: u32, binding: u32, bib: &mut Bib) {
        let (port, next) = (bib.binding(binding).port, bib.binding(binding).same_port);
        let head = &mut self.heads[Self::head(slot, port)];
        let mut link = head.wrapping_sub(1);
        if link == binding {
            *head = next.wrapping_add(1);
            return;
        }
        while bib.binding(link).same_port != binding {
            link = bib.binding(link).same_port;
        }
        bib.binding_mut(link).same_port = next;
    }

    /// The range in an occupied slot.
    pub(in crate::nat64) fn range(&self, slot: u32) -> &Range {
        &self.slab[slot]
    }

    /// The range in an occupied slot, mutably.
    pub(in crate::nat64) fn range_mut(&mut self, slot: u32) -> &mut Range {
        &mut self.slab[slot]
    }

    /// The range in a slot, if there is one.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&Range> {
        self.slab.get(slot)
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }
}
