//! How much memory is taken: an allocator that keeps the sum.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "daemon")]
use gate64::device::pages::LargePages as Inner;
#[cfg(not(feature = "daemon"))]
use std::alloc::System as Inner;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

struct Summing;

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: every call goes to the program's own allocator as it came; the sum is only a number.
unsafe impl GlobalAlloc for Summing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are that allocator's conditions.
        unsafe { Inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { Inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; `ptr` came from `Inner`.
        unsafe { Inner.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Summing = Summing;

/// Bytes that the process has taken from its allocator and not given back.
pub fn taken() -> usize {
    TAKEN.load(Ordering::Relaxed)
}
