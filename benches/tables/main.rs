//! Cost of a packet by table size: known, new and refused packets, and the expiry of sessions.
//!
//! | command | effect |
//! |---|---|
//! | `cargo bench --bench tables` | criterion: every kind of work by table size |
//! | `cargo bench --bench tables -- hit/1000$` | the benchmarks whose name matches |
//! | `cargo bench --bench tables -- --compare [SIZE...]` | compares sizes, interleaved, and checks the targets |
//! | `cargo bench --bench tables -- --instructions [SIZE...]` | instructions per packet, by valgrind |
//!
//! Sizes are 10^3 to 10^7 sessions, each with its own binding; 10^7 need 1.3 GB of memory. Criterion skips
//! sizes above `GATE64_BENCH_SESSIONS`, by default 10^6.
#![allow(missing_docs, unreachable_pub)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod compare;
mod flows;
mod instructions;
mod memory;
mod rig;
mod targets;

use std::time::Duration;

use criterion::{Criterion, Throughput};

use rig::{Rig, Work};

const SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Runs the measured work. valgrind counts only inside this function.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    work();
}

fn criterion(c: &mut Criterion) {
    let max = std::env::var("GATE64_BENCH_SESSIONS").ok().and_then(|max| max.parse().ok());
    // Without `--bench`, as under `cargo test`, criterion runs each benchmark once.
    let is_test = !std::env::args().any(|word| word == "--bench");
    let max = max.unwrap_or(if is_test { SIZES[0] } else { 1_000_000 });
    for sessions in SIZES.into_iter().filter(|sessions| *sessions <= max) {
        // Built by the first benchmark that is not filtered out.
        let mut rig = None;
        for work in Work::ALL {
            let mut group = c.benchmark_group(work.name());
            group.throughput(Throughput::Elements(1));
            group.bench_function(sessions.to_string(), |bencher| {
                let rig = rig.get_or_insert_with(|| Rig::new(sessions));
                bencher.iter_custom(|rounds| {
                    let (mut total, mut done) = (Duration::ZERO, 0);
                    while done < rounds {
                        let (time, count) = rig.batch(work);
                        total += time;
                        done += count;
                    }
                    total.mul_f64(rounds as f64 / done as f64)
                });
            });
            group.finish();
        }
    }
}

fn sizes(words: &[String], default: &[u64]) -> Vec<u64> {
    let named: Vec<_> = words.iter().filter_map(|word| word.replace('_', "").parse().ok()).collect();
    if named.is_empty() { default.to_vec() } else { named }
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.split_first() {
        Some((first, rest)) if first == "--compare" => compare::run(&sizes(rest, &SIZES)),
        Some((first, rest)) if first == "--instructions" => instructions::run(&sizes(rest, &SIZES[..2])),
        Some((first, rest)) if first == "--once" => instructions::once(rest),
        Some(_) | None => {
            let mut c = Criterion::default()
                .sample_size(20)
                .warm_up_time(Duration::from_millis(300))
                .measurement_time(Duration::from_millis(1200))
                .configure_from_args();
            criterion(&mut c);
            c.final_summary();
        }
    }
}
