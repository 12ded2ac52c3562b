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
    /// Bytes that this thread has allocated, minus those freed.
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count(allocated: usize, freed: usize) {
        let (watching, count) = WATCHED.get();
        WATCHED.set((watching, count + u64::from(watching)));
        BYTES.set(BYTES.get().wrapping_add(allocated as u64).wrapping_sub(freed as u64));
    }
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: every call is passed to the system's allocator unchanged. Counting uses a thread-local cell that
// needs neither initialisation nor destruction, so it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 0);
        // SAFETY: the caller upholds the conditions of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::count(0, layout.size());
        // SAFETY: as above; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::count(new_size, layout.size());
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

#[test]
fn tables_take_what_check_prints() {
    use gate64::addr::PortRange;
    use gate64::nat64::{Limits, TableBytes};
    use gate64::translator::Translator;

    // Bytes that a translator takes above those of its tables: one packet, counters, the timer wheel.
    const REMAINDER: u64 = 300 << 10;
    let whole = Limits::default();
    let tables = [
        Limits { sessions: 2_000_000, ..whole },
        Limits { bindings: 2_000_000, ..whole },
        Limits { blocks: 200_000, ..whole },
        Limits { hosts: 300_000, ..whole },
        Limits { fragment_bytes: 64 << 20, ..whole },
        Limits { unsolicited_syns: 50_000, events: 100_000, ..whole },
    ];
    for limits in tables {
        let mut settings = script::fixture::fixture();
        let pool = "203.0.112.0/22".parse().expect("literal");
        settings.nat64.pools[0].ranges = vec![(pool, PortRange::ALL)];
        settings.nat64.limits = limits;
        let before = BYTES.get();
        let translator = Translator::new(settings, 4);
        let taken = BYTES.get() - before;
        drop(translator);
        let said = TableBytes::of(&limits, 1024).total();
        assert!(taken <= said + REMAINDER, "{limits:?}: {taken} of {said}");
        assert!(taken >= said - said / 50, "{limits:?}: {taken} of {said}");
    }
}
