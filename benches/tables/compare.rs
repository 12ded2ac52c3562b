//! Table sizes side by side: their batches interleaved, so that whatever else the machine does
//! befalls all of them, and minimum and median over many short runs.

use std::hint::black_box;
use std::time::Instant;

use crate::memory;
use crate::rig::{Rig, Work};
use crate::targets::{self, Bound};

/// Runs of each kind of work and size.
const RUNS: usize = 200;
/// Batches of a run.
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
    // One end of all sessions of the churn is many batches already.
    let batches = if work == Work::Expire { 1 } else { BATCHES };
    // A table before this one has filled the cache; what is small enough is there from now on.
    if work != Work::Expire {
        for _ in 0..BATCHES {
            rig.batch(work);
        }
    }
    let (mut nanos, mut done) = (0, 0);
    for _ in 0..batches {
        let (spent, count) = rig.batch(work);
        nanos += spent.as_nanos();
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

/// What was measured, by size.
struct Report<'a> {
    sizes: &'a [u64],
    bytes: Vec<f64>,
    work: Vec<(Work, Vec<Figure>)>,
}

impl Report<'_> {
    fn place(&self, size: u64) -> Option<usize> {
        self.sizes.iter().position(|sessions| *sessions == size)
    }

    /// The median of a kind of work at a size.
    fn nanos(&self, work: Work, size: u64) -> Option<f64> {
        let (_, figures) = self.work.iter().find(|(of, _)| *of == work)?;
        Some(figures[self.place(size)?].median)
    }

    /// How fast a kind of work is at one size, in proportion to how fast it is at another.
    fn speed(&self, work: Work, size: u64, other: u64) -> Option<f64> {
        Some(self.nanos(work, other)? / self.nanos(work, size)?)
    }

    fn targets(&self) {
        let ways = [(Work::Hit6, "IPv6 to IPv4"), (Work::Hit4, "IPv4 to IPv6")];
        println!("\ntargets, by the medians");
        for (work, way) in ways {
            let say = |what: &str, size, most| {
                let what = format!("known session, {what}, {way}");
                targets::say(&what, self.nanos(work, size), " ns", Bound::Most(most));
            };
            say("64 B, of 1,000", 1_000, 45.0);
            say("random of a million", 1_000_000, 120.0);
        }
        for (size, name) in [(1_000, "a thousand"), (1_000_000, "a million")] {
            let what = format!("new session with its binding, beside {name}");
            targets::say(&what, self.nanos(Work::New, size), " ns", Bound::Most(350.0));
        }
        for (work, (_, way)) in [Work::Super6, Work::Super4].into_iter().zip(ways) {
            let what = format!("super-packet of 64 KiB, {way}");
            targets::say(&what, self.nanos(work, 1_000), " ns", Bound::Most(150.0));
        }
        for (size, name) in [(1_000_000, "a million"), (10_000_000, "ten million")] {
            let bytes = self.place(size).map(|at| self.bytes[at]);
            targets::say(&format!("memory of a session, at {name}"), bytes, " bytes", Bound::Most(128.0));
        }
        for (work, way) in ways {
            let speed = self.speed(work, 10_000_000, 10_000);
            let what = format!("speed at ten million / at ten thousand, {way}");
            targets::say(&what, speed, "", Bound::Least(0.35));
        }
    }
}

/// Nanoseconds of a multiplication and an addition that depend on what was before: four cycles of the
/// clock on most machines. The least of many runs.
fn pace() -> f64 {
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

/// A rig, and the bytes it took.
fn taken_by(sessions: u64) -> (Rig, usize) {
    let before = memory::taken();
    let rig = Rig::new(sessions);
    (rig, memory::taken() - before)
}

/// Measures all kinds of work at all sizes, prints the figures, and whether they are as wanted.
pub fn run(sizes: &[u64]) {
    let mut report = Report { sizes, bytes: Vec::new(), work: Vec::new() };
    let mut rigs = Vec::new();
    println!("pace of this machine now: {:.2} ns for a multiplication and an addition\n", pace());
    println!("{:>12} {:>16} {:>12}", "sessions", "bytes a session", "megabytes");
    // Buffers, fragments on hold, the churn's room: what is there without any known session.
    let (_, fixed) = taken_by(0);
    for &sessions in sizes {
        let (rig, bytes) = taken_by(sessions);
        let each = (bytes - fixed) as f64 / sessions as f64;
        println!("{sessions:>12} {each:>16.1} {:>12.1}", bytes as f64 / 1e6);
        report.bytes.push(each);
        rigs.push(rig);
    }
    println!("\nns per packet or session, the least and the median of {RUNS} runs of {BATCHES} batches");
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
