//! Compares the translator with a model of it, step by step, over random runs.
//!
//! `MODEL_STEPS=10000000 cargo test --release model` runs more steps, `MODEL_SEED=7` others.

mod address;
mod datagram;
pub(crate) mod generate;
mod nat64;
mod packet;
pub(crate) mod play;
mod ports;
mod reload;
mod shrink;
mod tcp;
mod workers;
mod write;

use generate::{Generator, Random};
use play::{Case, Play, Step};
use write::Script;

/// Steps of one run.
const LENGTH: usize = 500;

/// Generates and runs steps; the error is the first difference, with the run up to it.
fn run(random: Random<'_>, length: usize) -> Result<(), (Case, String)> {
    let mut generator = Generator::new(random);
    let mut run = Case { settings: generator.settings(), steps: Vec::new() };
    let mut play = match Play::new(&run.settings) {
        Ok(play) => play,
        Err(error) => return Err((run, error)),
    };
    for n in 1..=length {
        if generator.is_over() {
            break;
        }
        run.steps.push(generator.step());
        let step = &run.steps[n - 1];
        let look = n % 32 == 0 || !matches!(step, Step::Packet { .. });
        let done = guarded(|| play.step(step).and_then(|()| if look { play.check() } else { Ok(()) }));
        if let Err(error) = done {
            return Err((run, error));
        }
    }
    play.check().map_err(|error| (run, error))
}

/// Runs the steps and compares all state after each.
fn again(run: &Case, script: Option<Script>) -> (Result<(), String>, Option<Script>) {
    let mut play = match Play::new(&run.settings) {
        Ok(play) => play,
        Err(error) => return (Err(error), script),
    };
    play.script = script;
    let mut one = |step| guarded(|| play.step(step).and_then(|()| play.check()));
    let done = run.steps.iter().try_for_each(&mut one);
    (done, play.script)
}

/// Turns a panic into an error.
fn guarded(act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    caught.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// A readable failure: the shortest failing run, as a scenario.
fn report(run: &Case, error: &str) -> String {
    let fails = |run: &Case| play::settings(&run.settings).is_ok() && again(run, None).0.is_err();
    if !fails(run) {
        return format!("{error}\nand it does not fail if everything is looked at after each step");
    }
    let short = shrink::shrink(run.clone(), &fails);
    let mut script = Script::default();
    script.settings(&short.settings);
    let (done, script) = again(&short, Some(script));
    let error = done.err().unwrap_or_default();
    let last = short.steps.last();
    format!("{error}\n\n{}\nlast step: {last:?}", script.map_or(String::new(), |script| script.0))
}

/// Runs what a fuzzer's bytes describe.
pub(crate) fn bytes(data: &[u8]) {
    if let Err((made, error)) = run(Random::Bytes(data), usize::MAX) {
        panic!("{}", report(&made, &error));
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn translator_and_model_agree() {
    let (first, steps) = (number("MODEL_SEED", 1), number("MODEL_STEPS", 200_000));
    let runs = steps.div_ceil(LENGTH as u64);
    let failed = |worker: u64| {
        let mut seeds = (first..first + runs).filter(move |seed| seed % 2 == worker);
        seeds.find_map(|seed| Some((seed, run(Random::seed(seed), LENGTH).err()?)))
    };
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| failed(1));
        [failed(0), other.join().expect("ran to its end")]
    });
    if let Some((seed, (run, error))) = both.into_iter().flatten().min_by_key(|(seed, _)| *seed) {
        panic!("seed {seed}: {}", report(&run, &error));
    }
}
