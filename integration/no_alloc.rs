//! Forwarding allocates no memory: runs every scenario under an allocator that counts.
//!
//! This covers known, new and refused packets, fragments, hairpins, handed over packets, timers and the
//! packets that they send.

#[path = "script/mod.rs"]
#[allow(dead_code, reason = "the runners use more of it")]
mod script;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Whether this thread's allocations are counted, and the count.
    static WATCHED: Cell<(bool, u64)> = const { Cell::new((false, 0)) };
}

struct Counting;

impl Counting {
    fn count() {
        let (watching, count) = WATCHED.get();
        WATCHED.set((watching, count + u64::from(watching)));
    }
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: every call is passed to the system's allocator unchanged. Counting uses a thread-local cell that
// needs neither initialisation nor destruction, so it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller upholds the conditions of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::count();
        // SAFETY: as above; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above; `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn watch(act: &mut dyn FnMut()) {
    WATCHED.set((true, WATCHED.get().1));
    act();
    WATCHED.set((false, WATCHED.get().1));
}

#[test]
fn forwarding_allocates_nothing() {
    let mut greedy = Vec::new();
    let files = script::files();
    assert!(files.len() > 100, "only {} scenarios found", files.len());
    for file in files {
        WATCHED.set((false, 0));
        // A scenario that stops early would leave code unmeasured.
        if let Err(error) = script::run_file(&file, watch) {
            greedy.push(error);
        }
        let (_, count) = WATCHED.get();
        if count > 0 {
            greedy.push(format!("{}: {count} times", file.display()));
        }
    }
    assert!(greedy.is_empty(), "memory is allocated or freed while forwarding:\n{}", greedy.join("\n"));
}

#[test]
fn the_meter_counts() {
    WATCHED.set((false, 0));
    watch(&mut || drop(Box::new(64)));
    assert_eq!(WATCHED.get().1, 2);
}
