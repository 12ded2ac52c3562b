//! The program's allocator: backs large allocations with huge pages.
//!
//! The tables of a million sessions are accessed randomly: with 4 KiB pages nearly every lookup misses
//! the TLB. The core uses ordinary vectors, so the allocator maps large allocations, which are mostly
//! the tables, aligned to huge pages and advises the kernel to use them (`MADV_HUGEPAGE`). The kernel
//! decides (`/sys/kernel/mm/transparent_hugepage/enabled`); correctness does not depend on it. Memory
//! that was never written still takes no physical memory.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// Size of a huge page: 2 MiB.
const PAGE: usize = 2 << 20;
/// Smallest allocation that is mapped separately. Rounding wastes at most half of it.
const LARGE: usize = PAGE;

/// The system's allocator, except for large allocations.
#[derive(Clone, Copy, Debug)]
pub struct LargePages;

const fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

// SAFETY: which of the two allocators an allocation belongs to follows from its layout alone, and
// every method is given the layout with which the memory was allocated. Neither unwinds.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            // The kernel's memory is zero.
            return map(layout.size());
        }
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: `memory` is the start of a mapping of this size that `map` made, and the caller
            // gives it up. It can't fail for a mapping that exists.
            unsafe { libc::munmap(memory.cast(), layout.size().next_multiple_of(PAGE)) };
            return;
        }
        // SAFETY: `memory` came from `System`, since its layout is not large.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` is not zero and, rounded up, fits an `isize`.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !is_large(layout) && !is_large(new) {
            // SAFETY: `memory` came from `System`, and stays there.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: both layouts are valid; the ranges belong to different allocations, each at least
        // as long as the shorter of the two sizes; `memory` is given up by the caller.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(memory, moved, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

/// Memory for `size` bytes, its start at the edge of a large page and its length a number of them;
/// null if there is none.
fn map(size: usize) -> *mut u8 {
    let len = size.next_multiple_of(PAGE);
    // A page more than needed, so that an edge is among it.
    let Some(all) = len.checked_add(PAGE) else { return ptr::null_mut() };
    let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever the kernel likes, touches no memory that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), all, rights, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let start = start.cast::<u8>();
    let before = start.addr().next_multiple_of(PAGE) - start.addr();
    // SAFETY: `before` is at most a page, so all three ranges lie within the mapping, of which nobody
    // else knows; what is given back is not used. Advice that is not taken changes nothing.
    unsafe {
        let memory = start.add(before);
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        if before < PAGE {
            libc::munmap(memory.add(len).cast(), PAGE - before);
        }
        libc::madvise(memory.cast(), len, libc::MADV_HUGEPAGE);
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).expect("a layout")
    }

    #[test]
    fn large_memory_is_aligned_zero_and_keeps_what_is_written_wherever_it_moves() {
        let memory = LargePages;
        // Over the limit and back, and from one large size to another.
        let sizes = [1000, LARGE + 1, 3 * LARGE, LARGE, 500];
        // SAFETY: sizes are not zero; every pointer is used within its size and given back once, with
        // the layout it has then.
        unsafe {
            let mut start = memory.alloc_zeroed(layout(sizes[0]));
            start.write(7);
            start.add(499).write(9);
            for pair in sizes.windows(2) {
                start = memory.realloc(start, layout(pair[0]), pair[1]);
                assert_eq!((start.read(), start.add(499).read()), (7, 9));
                start.add(pair[1] - 1).write(1);
                assert!(pair[1] < LARGE || start.addr().is_multiple_of(PAGE));
            }
            memory.dealloc(start, layout(sizes[4]));
            let fresh = memory.alloc_zeroed(layout(2 * LARGE));
            assert!((0..2 * LARGE).step_by(4093).all(|at| fresh.add(at).read() == 0));
            memory.dealloc(fresh, layout(2 * LARGE));
        }
    }

    #[test]
    fn more_memory_than_there_is_is_refused() {
        // SAFETY: the size is not zero; null is not used.
        let start = unsafe { LargePages.alloc(layout(isize::MAX as usize - PAGE)) };
        assert!(start.is_null());
    }
}
