//! Compares DNS64 with unbound, BIND, PowerDNS, Knot and bare UDP: CPU time per query, answers when AAAA
//! queries are dropped, memory, and upstream queries. Interleaved, with one thread each and the same
//! upstream.

pub(crate) mod bare;
mod goals;
mod load;
mod servers;

use std::path::PathBuf;

use gate64::lab::{Lab, LabError, Plan};

use goals::Goals;
use load::Questions;
use servers::{Running, Server, UPSTREAM};

use crate::record::median;

/// Number of names queried repeatedly.
const HOT: usize = 10_000;
/// Number of names queried once per round.
const COLD: usize = 30_000;
/// Number of names of which 5 % drop AAAA.
const LOSSY: usize = 2_000;
/// Number of names to measure memory.
const MANY: usize = 100_000;
/// Number of names to count upstream queries.
const COUNTED: usize = 1_000;
/// Targets when AAAA is dropped: time for all answers, and the 99th percentile, in seconds.
const WITHIN: f64 = 1.0;
const P99: f64 = 0.9;

/// One figure of each server, by round.
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

    fn median(&self, server: Server) -> Option<f64> {
        median(&self.values.iter().find(|(of, _)| *of == server)?.1)
    }

    /// The ratio of gate64 to `server`; `None` if one was not measured.
    fn ratio(&self, server: Server) -> Option<f64> {
        Some(self.median(Server::Gate64)? / self.median(server)?)
    }

    fn show(&self) {
        println!("\n{}:", self.name);
        for (server, _) in &self.values {
            let (value, ratio) = (self.median(*server), self.ratio(*server));
            println!(
                "  {:<14} {:>10.2}   gate64 is {:.2} of it",
                server.name(),
                value.unwrap_or(f64::NAN),
                ratio.unwrap_or(f64::NAN)
            );
        }
    }
}

/// Number of A and AAAA queries that the upstream received.
fn counted(lab: &Lab) -> Result<[f64; 2], LabError> {
    let (host, port) = UPSTREAM.split_once(':').unwrap_or((UPSTREAM, "53"));
    let output = lab.gateway.text(&format!("dig +short +time=2 -p {port} @{host} count. TXT"))?;
    let number = |label: &str| -> f64 {
        let words = output.trim().trim_matches('"').split_whitespace();
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
    let mut goals = Goals::default();
    // First, before any cache evicts entries.
    memory(&lab, &running, &mut goals)?;
    speed(&lab, &running, rounds, if quick { 1 } else { 4 }, &mut goals)?;
    dropped_aaaa(&lab, &running, &mut goals)?;
    upstream_queries(&lab, &running, &mut goals)?;
    goals.show();
    Ok(())
}

/// CPU time per query of cached and of uncached names.
fn speed(
    lab: &Lab,
    running: &[Running],
    rounds: usize,
    seconds: usize,
    goals: &mut Goals,
) -> Result<(), LabError> {
    let limit = servers::start(lab, Server::Bare)?;
    let mut hot = Figure::new("CPU us per query, cached");
    let mut rate = Figure::new("queries per second, cached (the tester has one CPU)");
    let mut cold = Figure::new("CPU us per query, not cached");
    for round in 0..rounds {
        let questions = Questions::write(lab, HOT, |n| format!("n{n}.hot.example"))?;
        for server in running.iter().chain(&limit) {
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
    goals.at_most("CPU per query, cached / unbound", hot.ratio(Server::Unbound), 0.8);
    goals.at_most("CPU per query, not cached / unbound", cold.ratio(Server::Unbound), 1.0);
    Ok(())
}

/// Answers and response times when 5 % of AAAA queries are dropped.
fn dropped_aaaa(lab: &Lab, running: &[Running], goals: &mut Goals) -> Result<(), LabError> {
    println!("\n5 % of AAAA dropped: answered, answered within 1 s, 50th and 99th percentile of the wait:");
    let questions = Questions::write(lab, LOSSY, |n| format!("n{n}.lossy.example"))?;
    for server in running {
        let run = questions.ask(lab, server, "-n 1 -q 1000 -Q 500 -t 4 -v")?;
        let within = run.latencies.iter().filter(|latency| **latency <= WITHIN).count() as f64 / run.sent;
        // Unanswered queries count as the slowest.
        let at = |part: f64| run.latencies.get((run.sent * part) as usize).copied();
        let text =
            |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{:.0} ms", at * 1e3));
        println!(
            "  {:<14} {:>6.2} %  {:>6.2} %  {:>8} {:>8}",
            server.server.name(),
            100.0 * run.answered / run.sent,
            100.0 * within,
            text(at(0.5)),
            text(at(0.99))
        );
        if server.server == Server::Gate64 {
            goals.at_least("5 % of AAAA dropped: answered within 1 s, %", Some(100.0 * within), 100.0);
            let p99 = at(0.99).unwrap_or(f64::INFINITY);
            goals.at_most("5 % of AAAA dropped: 99th percentile, s", Some(p99), P99);
        }
    }
    Ok(())
}

/// Upstream queries per uncached name that clients query three times: IPv4-only, and dual-stack.
fn upstream_queries(lab: &Lab, running: &[Running], goals: &mut Goals) -> Result<(), LabError> {
    println!("\nupstream queries per cold name, IPv4-only and dual, each asked three times (A, AAAA):");
    // gate64 queries A and AAAA in parallel: a dual-stack name may cost one query more than with unbound.
    for (kind, more) in [("four", 0.0), ("dual", 1.0)] {
        let mut asked = Figure::new(kind);
        for server in running {
            let name = server.server.name();
            let questions = Questions::write(lab, COUNTED, |n| format!("n{n}.{kind}.{name}.count.example"))?;
            let before = counted(lab)?;
            questions.ask(lab, server, "-n 3 -q 50")?;
            let after = counted(lab)?;
            let [a, aaaa] = [0, 1].map(|kind| (after[kind] - before[kind]) / COUNTED as f64);
            println!("  {name:<14} {kind}  {a:.3} {aaaa:.3}");
            asked.add(server.server, a + aaaa);
        }
        let Some(unbound) = asked.median(Server::Unbound) else { continue };
        let what = format!("upstream queries per cold name, {kind}");
        goals.at_most(&what, asked.median(Server::Gate64), unbound + more);
    }
    Ok(())
}

/// Memory of cached names.
fn memory(lab: &Lab, running: &[Running], goals: &mut Goals) -> Result<(), LabError> {
    let mut grown = Figure::new("memory of 100,000 names, KiB");
    let few = Questions::write(lab, COUNTED, |n| format!("n{n}.warm.example"))?;
    for server in running {
        few.ask(lab, server, "-n 1 -q 100")?;
    }
    let questions = Questions::write(lab, MANY, |n| format!("n{n}.memory.example"))?;
    for server in running {
        let before = server.memory();
        questions.ask(lab, server, "-n 1 -q 100")?;
        grown.add(server.server, server.memory().saturating_sub(before) as f64);
    }
    grown.show();
    goals.at_most("memory of 100,000 names / unbound", grown.ratio(Server::Unbound), 1.0);
    Ok(())
}
