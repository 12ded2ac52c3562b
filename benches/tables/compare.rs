//! Table sizes side by side: their batches interleaved, so that whatever else the machine does
//! befalls all of them, and minimum and median over many short runs.

use crate::memory;
use crate::rig::{Rig, Work};

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

/// Measures all kinds of work at all sizes and prints the figures.
pub fn run(sizes: &[u64]) {
    let mut rigs = Vec::new();
    println!("{:>12} {:>16} {:>12}", "sessions", "bytes a session", "megabytes");
    for &sessions in sizes {
        let before = memory::taken();
        let rig = Rig::new(sessions);
        let bytes = memory::taken() - before;
        println!("{sessions:>12} {:>16.1} {:>12.1}", bytes as f64 / rig.room() as f64, bytes as f64 / 1e6);
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
    }
}
