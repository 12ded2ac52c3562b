//! Compares table sizes. Their batches are interleaved, so that other load on the machine affects all of
//! them alike. Reports minimum and median of many short runs.

use std::hint::black_box;
use std::time::Instant;

use crate::memory;
use crate::rig::{Rig, Work};
use crate::targets::{self, Bound};

/// Runs of each kind of work and size.
const RUNS: usize = 200;
/// Batches per run.
const BATCHES: usize = 16;

/// Nanoseconds per packet.
#[derive(Clone, Copy)]
struct Figure {
    least: f64,
    median: f64,
}

fn figure(mut runs: Vec<f64>) -> Figure {
    runs.sort_by(f64::total_cmp);
    Figure { least: runs[0], median: runs[runs.len() / 2] }
}

fn run_of(rig: &mut Rig, work: Work) -> f64 {
    // Expiring all short-lived sessions is as much work as many batches.
    let batches = if work == Work::Expire { 1 } else { BATCHES };
    // Warm up: the previous table has filled the cache.
    if work != Work::Expire {
        for _ in 0..BATCHES {
            rig.batch(work);
        }
    }
    let (mut nanos, mut done) = (0, 0);
    for _ in 0..batches {
        let (time, count) = rig.batch(work);
        nanos += time.as_nanos();
        done += count;
    }
    nanos as f64 / done as f64
}

fn measure(rigs: &mut [Rig], work: Work) -> Vec<Figure> {
    let mut runs = vec![Vec::with_capacity(RUNS); rigs.len()];
    let count = if work == Work::Expire { RUNS / 10 } else { RUNS };
    for _ in 0..count {
        for (rig, runs) in rigs.iter_mut().zip(&mut runs) {
            runs.push(run_of(rig, work));
        }
    }
    runs.into_iter().map(figure).collect()
}

/// The figures by size.
struct Report<'a> {
    sizes: &'a [u64],
    bytes: Vec<f64>,
    work: Vec<(Work, Vec<Figure>)>,
}

impl Report<'_> {
    fn index(&self, size: u64) -> Option<usize> {
        self.sizes.iter().position(|sessions| *sessions == size)
    }

    /// The median time of `work` at a size.
    fn nanos(&self, work: Work, size: u64) -> Option<f64> {
        let (_, figures) = self.work.iter().find(|(of, _)| *of == work)?;
        Some(figures[self.index(size)?].median)
    }

    /// The speed of `work` at one size as a ratio of its speed at another.
    fn speed(&self, work: Work, size: u64, other: u64) -> Option<f64> {
        Some(self.nanos(work, other)? / self.nanos(work, size)?)
    }

    fn targets(&self) {
        let directions = [(Work::Hit6, "IPv6 to IPv4"), (Work::Hit4, "IPv4 to IPv6")];
        println!("\ntargets, by the medians");
        for (work, direction) in directions {
            let report = |what: &str, size, most| {
                let what = format!("known session, {what}, {direction}");
                targets::report(&what, self.nanos(work, size), " ns", Bound::Most(most));
            };
            report("64 B, of 1,000", 1_000, 45.0);
            report("random of a million", 1_000_000, 120.0);
        }
        for (size, name) in [(1_000, "a thousand"), (1_000_000, "a million")] {
            let what = format!("new session with its binding, beside {name}");
            targets::report(&what, self.nanos(Work::New, size), " ns", Bound::Most(350.0));
        }
        for (work, (_, direction)) in [Work::Super6, Work::Super4].into_iter().zip(directions) {
            let what = format!("super-packet of 64 KiB, {direction}");
            targets::report(&what, self.nanos(work, 1_000), " ns", Bound::Most(150.0));
        }
        for (size, name) in [(1_000_000, "a million"), (10_000_000, "ten million")] {
            let bytes = self.index(size).map(|at| self.bytes[at]);
            targets::report(&format!("memory of a session, at {name}"), bytes, " bytes", Bound::Most(128.0));
        }
        for (work, direction) in directions {
            let speed = self.speed(work, 10_000_000, 10_000);
            let what = format!("speed at ten million / at ten thousand, {direction}");
            targets::report(&what, speed, "", Bound::Least(0.35));
        }
    }
}

/// Time of a dependent multiplication and addition in nanoseconds: four clock cycles on most machines.
/// The minimum of many runs.
fn multiply_add_ns() -> f64 {
    const STEPS: u32 = 10_000;
    let run = |_| {
        let start = Instant::now();
        let mut x = black_box(3u64);
        for _ in 0..STEPS {
            x = x.wrapping_mul(x).wrapping_add(1);
        }
        black_box(x);
        start.elapsed().as_nanos() as f64 / f64::from(STEPS)
    };
    (0..RUNS).map(run).fold(f64::MAX, f64::min)
}

/// A rig, and the bytes that it allocated.
fn allocated_by(sessions: u64) -> (Rig, usize) {
    let before = memory::allocated();
    let rig = Rig::new(sessions);
    (rig, memory::allocated() - before)
}

/// Measures all kinds of work at all sizes. Prints the figures and compares them with the targets.
pub fn run(sizes: &[u64]) {
    let mut report = Report { sizes, bytes: Vec::new(), work: Vec::new() };
    let mut rigs = Vec::new();
    println!("speed of this machine now: {:.2} ns for a multiplication and an addition\n", multiply_add_ns());
    println!("{:>12} {:>16} {:>12}", "sessions", "bytes a session", "megabytes");
    // Memory without any known session: buffers, fragment cache, room for short-lived sessions.
    let (_, fixed) = allocated_by(0);
    for &sessions in sizes {
        let (rig, bytes) = allocated_by(sessions);
        let each = (bytes - fixed) as f64 / sessions as f64;
        println!("{sessions:>12} {each:>16.1} {:>12.1}", bytes as f64 / 1e6);
        report.bytes.push(each);
        rigs.push(rig);
    }
    println!("\nns per packet or session, minimum and median of {RUNS} runs of {BATCHES} batches");
    print!("{:<18}", "");
    sizes.iter().for_each(|size| print!(" {size:>17}"));
    println!();
    for work in Work::ALL {
        let figures = measure(&mut rigs, work);
        print!("{:<18}", work.name());
        figures.iter().for_each(|f| print!(" {:>8.1} {:>8.1}", f.least, f.median));
        println!();
        report.work.push((work, figures));
    }
    report.targets();
}
