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

// SAFETY: the layout alone decides which of the two allocators owns an allocation, and every method
// receives the layout of the allocation. Neither allocator unwinds.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            // The kernel's memory is zero.
            return map(layout.size());
        }
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: `map` returned `memory` for this size, and the caller no longer uses it. Unmapping
            // an existing mapping cannot fail.
            unsafe { libc::munmap(memory.cast(), layout.size().next_multiple_of(PAGE)) };
            return;
        }
        // SAFETY: `System` allocated `memory`, since its layout is not large.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that `size` is not zero and, rounded up, fits an `isize`.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !is_large(layout) && !is_large(new) {
            // SAFETY: `System` allocated `memory`, and the new layout is not large either.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: both layouts are valid. The two allocations do not overlap, and both are at least as
        // long as the shorter size. The caller no longer uses `memory`.
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

/// Maps `size` bytes, rounded up to huge pages and aligned to one. Returns null if memory is exhausted.
fn map(size: usize) -> *mut u8 {
    let len = size.next_multiple_of(PAGE);
    // One more page, so that an aligned range of `len` bytes fits.
    let Some(all) = len.checked_add(PAGE) else { return ptr::null_mut() };
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without MAP_FIXED the new mapping does not overlap existing memory.
    let start = unsafe { libc::mmap(ptr::null_mut(), all, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let start = start.cast::<u8>();
    let before = start.addr().next_multiple_of(PAGE) - start.addr();
    // SAFETY: `before` is at most a page, so all three ranges lie within the new mapping, to which no
    // other pointer exists. The unmapped ranges are not used afterwards. `madvise` may fail harmlessly.
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
    fn large_allocations_are_aligned_and_zeroed_and_keep_their_content_when_moved() {
        let memory = LargePages;
        // Across the threshold and back, and between two large sizes.
        let sizes = [1000, LARGE + 1, 3 * LARGE, LARGE, 500];
        // SAFETY: sizes are not zero. Every pointer is used within its size and freed once, with its
        // current layout.
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
    fn an_impossible_allocation_returns_null() {
        // SAFETY: the size is not zero; null is not used.
        let start = unsafe { LargePages.alloc(layout(isize::MAX as usize - PAGE)) };
        assert!(start.is_null());
    }
}
