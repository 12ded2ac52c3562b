//! The DNS64 beside unbound, BIND, PowerDNS and Knot: CPU time per query, answers where AAAA is
//! dropped, memory, and what is asked upstream. Interleaved, one thread each, on the same upstream.

mod load;
mod servers;

use std::path::PathBuf;

use gate64::lab::{Lab, LabError, Plan};

use load::Questions;
use servers::{Running, Server, UPSTREAM};

/// Names that are asked again and again.
const HOT: usize = 10_000;
/// Names that are asked once, in each round.
const COLD: usize = 30_000;
/// Names of which five in a hundred have a server that drops AAAA.
const LOSSY: usize = 2_000;
/// Names of which is seen what they take of memory.
const MANY: usize = 100_000;

/// One figure of all servers, by round.
struct Figure {
    name: &'static str,
    values: Vec<(Server, Vec<f64>)>,
}

impl Figure {
    fn new(name: &'static str) -> Self {
        Self { name, values: Vec::new() }
    }

    fn add(&mut self, server: Server, value: f64) {
        match self.values.iter_mut().find(|(of, _)| *of == server) {
            Some((_, values)) => values.push(value),
            None => self.values.push((server, vec![value])),
        }
    }

    fn show(&self) {
        let median = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
        };
        println!("\n{}:", self.name);
        let own =
            self.values.iter().find(|(of, _)| *of == Server::Gate64).map_or(f64::NAN, |(_, v)| median(v));
        for (server, values) in &self.values {
            let value = median(values);
            println!("  {:<14} {value:>10.2}   gate64 is {:.2} of it", server.name(), own / value);
        }
    }
}

/// How many A and AAAA queries the upstream has had.
fn counted(lab: &Lab) -> Result<[f64; 2], LabError> {
    let (host, port) = UPSTREAM.split_once(':').unwrap_or((UPSTREAM, "53"));
    let said = lab.gateway.text(&format!("dig +short +time=2 -p {port} @{host} count. TXT"))?;
    let number = |label: &str| -> f64 {
        let words = said.trim().trim_matches('"').split_whitespace();
        words.filter_map(|word| word.strip_prefix(label)?.parse().ok()).next().unwrap_or(0.0)
    };
    Ok([number("A="), number("AAAA=")])
}

/// Measures and prints.
pub(crate) fn run(rounds: usize, quick: bool) -> Result<(), LabError> {
    let gate64 = PathBuf::from(env!("CARGO_BIN_EXE_gate64"));
    let lab = Lab::build(&Plan { hosts: 1, far: None, gate64 })?;
    let _upstream = servers::upstream(&lab)?;
    let mut running = Vec::new();
    for server in Server::ALL {
        running.extend(servers::start(&lab, server)?);
    }
    speed(&lab, &running, rounds, if quick { 1 } else { 4 })?;
    broken(&lab, &running)?;
    asked(&lab, &running)?;
    memory(&lab, &running)
}

/// CPU time per query, of names that are cached and of names that are not.
fn speed(lab: &Lab, running: &[Running], rounds: usize, seconds: usize) -> Result<(), LabError> {
    let mut hot = Figure::new("CPU us per query, cached");
    let mut rate = Figure::new("queries per second, cached (the tester has one CPU)");
    let mut cold = Figure::new("CPU us per query, not cached");
    for round in 0..rounds {
        let questions = Questions::write(lab, HOT, |n| format!("n{n}.hot.example"))?;
        for server in running {
            questions.ask(lab, server, "-n 3 -q 100")?;
            let run = questions.ask(lab, server, &format!("-l {seconds} -q 200"))?;
            println!(
                "round {round} {:<14} cached   {:>7.2} us {:>8.0}/s",
                server.server.name(),
                run.cpu,
                run.per_second
            );
            hot.add(server.server, run.cpu);
            rate.add(server.server, run.per_second);
        }
        for server in running {
            let name = server.server.name();
            let questions = Questions::write(lab, COLD, |n| format!("n{n}.r{round}.{name}.cold.example"))?;
            let run = questions.ask(lab, server, "-n 1 -q 100")?;
            println!("round {round} {name:<14} uncached {:>7.2} us {:>8.0}/s", run.cpu, run.per_second);
            cold.add(server.server, run.cpu);
        }
    }
    hot.show();
    rate.show();
    cold.show();
    Ok(())
}

/// What clients see when some AAAA queries are dropped.
fn broken(lab: &Lab, running: &[Running]) -> Result<(), LabError> {
    println!("\n5 % of AAAA dropped: answered, answered within 1 s, 50th and 99th percentile of the wait:");
    let questions = Questions::write(lab, LOSSY, |n| format!("n{n}.lossy.example"))?;
    for server in running {
        let run = questions.ask(lab, server, "-n 1 -q 1000 -Q 500 -t 4 -v")?;
        let within = run.latencies.iter().filter(|latency| **latency <= 1.0).count() as f64;
        let at = |part: f64| {
            // Who was not answered waited longer than all others.
            let rank = (run.sent * part) as usize;
            run.latencies
                .get(rank)
                .map_or_else(|| "never".to_owned(), |latency| format!("{:.0} ms", latency * 1e3))
        };
        println!(
            "  {:<14} {:>6.2} %  {:>6.2} %  {:>8} {:>8}",
            server.server.name(),
            100.0 * run.answered / run.sent,
            100.0 * within / run.sent,
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}

/// What is asked upstream for cold names, half of which have AAAA, that are asked three times.
fn asked(lab: &Lab, running: &[Running]) -> Result<(), LabError> {
    println!("\nupstream queries per cold name, IPv4-only and dual, each asked three times (A, AAAA):");
    for server in running {
        for kind in ["four", "dual"] {
            let name = server.server.name();
            let questions = Questions::write(lab, 1_000, |n| format!("n{n}.{kind}.{name}.count.example"))?;
            let before = counted(lab)?;
            questions.ask(lab, server, "-n 3 -q 50")?;
            let after = counted(lab)?;
            let [a, aaaa] = [0, 1].map(|kind| (after[kind] - before[kind]) / 1_000.0);
            println!("  {name:<14} {kind}  {a:.3} {aaaa:.3}");
        }
    }
    Ok(())
}

/// What names take of memory.
fn memory(lab: &Lab, running: &[Running]) -> Result<(), LabError> {
    let mut grown = Figure::new("memory of 100,000 names, KiB");
    let questions = Questions::write(lab, MANY, |n| format!("n{n}.memory.example"))?;
    for server in running {
        let before = server.memory();
        questions.ask(lab, server, "-n 1 -q 100")?;
        grown.add(server.server, server.memory().saturating_sub(before) as f64);
    }
    grown.show();
    Ok(())
}
