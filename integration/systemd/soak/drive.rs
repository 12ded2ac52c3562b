//! The run within the booted systemd: injects the faults one after the other under load, and measures.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gate64::device::pcap::Reader;
use gate64::lab::{Deadline, LabError, until};

use super::super::wrong;
use super::faults::{Ends, FAULTS, Fault, Phase, World};
use super::load::{Load, Transfer, now};
use super::site::{self, run};
use super::table::{Memory, Row};

/// Age of a session that a kill must not lose.
const SAVED: Duration = Duration::from_secs(6);

/// Where the outer test has put the inputs, and reads the results.
const OUT: &str = "/mnt";

/// Resident memory of the gateway: time, process, KiB.
type Samples = Arc<Mutex<Vec<(Instant, u32, u64)>>>;

/// Injects all faults and writes the table, for `minutes`; 0 is each fault once.
pub(super) fn all(minutes: u32) -> Result<(), LabError> {
    let mut world = World::new(packets()?, configurations()?, minutes == 0);
    let only = std::fs::read_to_string(format!("{OUT}/fault")).unwrap_or_default();
    world.write_configuration()?;
    run("systemctl start gate64.service")?;
    let load = Load::start()?;
    until_quiet(&load, now())?;
    let samples = sample();
    let mut rows: Vec<_> = FAULTS.iter().map(Row::new).collect();
    let mut memory = Memory::default();
    for phase in [Phase::OneProcess, Phase::Restarts, Phase::Masquerade] {
        if phase == Phase::Masquerade {
            masquerade(&mut world, &load)?;
        }
        let began = now();
        let mut order = order(phase, minutes);
        order.retain(|index| only.split('|').any(|words| FAULTS[*index].name.contains(words)));
        let slot = Duration::from_secs(u64::from(minutes) * 60) / total(minutes);
        for (number, index) in order.into_iter().enumerate() {
            inject(&FAULTS[index], &mut rows[index], &mut world, &load);
            // A steady rate of faults.
            thread::park_timeout((began + slot * (number as u32 + 1)).saturating_duration_since(now()));
        }
        if phase == Phase::OneProcess {
            memory = Memory::of(&between(&samples, began, now()));
        }
    }
    load.stop();
    until(Deadline::after(150), "the transfers end", || load.has_ended())?;
    let transfers = load.finished();
    rows.iter_mut().for_each(|row| row.count(&transfers));
    site::write(&format!("{OUT}/table.md"), super::table::markdown(&rows, &memory, &transfers))?;
    let mut failures: Vec<_> = rows.iter().flat_map(|row| row.failures.clone()).collect();
    let is_excused = |transfer: &&Transfer| rows.iter().any(|row| row.excuses(transfer));
    let failed =
        transfers.iter().filter(|t| !is_excused(t)).filter_map(|t| Some((t.ended, t.failure.as_ref()?)));
    failures.extend(failed.map(|(ended, why)| format!("{why} {}", last_fault(&rows, ended))));
    failures.extend(memory.failure(minutes));
    println!("{}", failures.join("\n"));
    site::write(&format!("{OUT}/failures"), failures.join("\n"))
}

/// The last fault before a time.
fn last_fault(rows: &[Row], then: Instant) -> String {
    let ages = rows.iter().filter_map(|row| Some((row.age(then)?, row.name)));
    ages.min().map_or_else(String::new, |(age, name)| format!("{age:.1?} after: {name}"))
}

/// How often a fault is injected.
fn times(fault: &Fault, minutes: u32) -> u32 {
    if minutes == 0 { 1 } else { fault.times * minutes.div_ceil(20) }
}

fn total(minutes: u32) -> u32 {
    FAULTS.iter().map(|fault| times(fault, minutes)).sum()
}

/// The faults of a phase, as indices, each spread evenly over it.
fn order(phase: Phase, minutes: u32) -> Vec<usize> {
    let mut order = Vec::new();
    for (index, fault) in FAULTS.iter().enumerate().filter(|(_, fault)| fault.phase == phase) {
        let times = times(fault, minutes);
        order.extend((0..times).map(|n| ((2 * n + 1) * 10_000 / (2 * times), index)));
    }
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

/// Waits until all traffic has been answered after `then`.
fn until_quiet(load: &Load, then: Instant) -> Result<(), LabError> {
    let waited = until(Deadline::after(60), "traffic", || load.silent_since(then).is_empty());
    waited.map_err(|_| wrong(format!("no answer for 60 s: {}", load.silent_since(then).join(", "))))
}

/// The gateway with the address of the uplink instead of a pool: another configuration, which needs a restart.
fn masquerade(world: &mut World, load: &Load) -> Result<(), LabError> {
    // The transfers so far end with the pool.
    load.pause(true);
    until(Deadline::after(150), "the transfers end", || load.has_ended())?;
    world.is_masquerading = true;
    world.write_configuration()?;
    run("systemctl restart gate64.service")?;
    load.pause(false);
    until_quiet(load, now())?;
    until(Deadline::ample(), "transfers", || load.are_older_than(Duration::from_millis(500)))
}

fn inject(fault: &Fault, row: &mut Row, world: &mut World, load: &Load) {
    world.number += 1;
    if fault.phase == Phase::Restarts {
        let waited = until(Deadline::after(60), "saved transfers", || load.are_older_than(SAVED));
        row.failures.extend(waited.err().map(|why| format!("{}: {why}", fault.name)));
    }
    let _ = site::logged();
    let (before, repairs) = (site::identity(), site::repairs(&site::status()));
    let began = now();
    let injected = (fault.inject)(world).and_then(|said| until_quiet(load, now()).map(|()| said));
    let ended = now();
    // A repair may end after the traffic flows again, for example that of an unreachable route.
    let after = site::identity();
    let is_new = after.process != before.process;
    row.window(began, ended, |column| load.gap(column, began, ended));
    row.repaired(if is_new { &[] } else { &repairs }, &site::repairs(&site::status()));
    let expected = match fault.ends {
        Ends::Nothing => after == before,
        Ends::Process => is_new && after.device == before.device,
        Ends::Device => is_new && after.device != before.device && after.device != 0,
    };
    let problem = match injected {
        Ok(said) => {
            row.said(said);
            (!expected).then(|| format!("{before:?} became {after:?}"))
        }
        Err(why) => Some(why.to_string()),
    };
    let log = site::logged();
    println!("{}: {:?}, {} {log}", fault.name, ended - began, problem.as_deref().unwrap_or("as expected"));
    if let Some(why) = problem {
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        row.failures.push(format!("{}: {why}\n{}", fault.name, last.join("\n")));
        let again = world.write_configuration().and_then(|()| site::start_again());
        row.failures.extend(again.and_then(|()| until_quiet(load, now())).err().map(|why| why.to_string()));
    }
    if world.is_short || world.is_masquerading {
        // After three repairs in a minute the gateway assumes that another program undoes them. A reload resumes them.
        let _ = site::reload();
    }
}

/// Samples the gateway's memory each second.
fn sample() -> Samples {
    let samples = Samples::default();
    let all = Arc::clone(&samples);
    thread::spawn(move || {
        loop {
            let process = site::identity().process;
            if let Some(size) = site::memory(process) {
                all.lock().unwrap_or_else(PoisonError::into_inner).push((now(), process, size));
            }
            thread::park_timeout(Duration::from_secs(1));
        }
    });
    samples
}

/// Seconds and KiB between two times.
fn between(samples: &Samples, from: Instant, to: Instant) -> Vec<(f64, f64)> {
    let all = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let within = all.iter().filter(|(at, _, _)| (from..to).contains(at));
    within.map(|(at, _, size)| ((*at - from).as_secs_f64(), *size as f64)).collect()
}

fn packets() -> Result<Vec<Vec<u8>>, LabError> {
    let failed = |why: String| wrong(format!("malformed.pcap: {why}"));
    let file = std::fs::File::open(format!("{OUT}/malformed.pcap")).map_err(|why| failed(why.to_string()))?;
    let mut reader = Reader::new(std::io::BufReader::new(file)).map_err(|why| failed(why.to_string()))?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet().map_err(|why| failed(why.to_string()))? {
        packets.push(packet.bytes.to_vec());
    }
    Ok(packets)
}

fn configurations() -> Result<Vec<String>, LabError> {
    let text =
        std::fs::read_to_string(format!("{OUT}/malformed.json")).map_err(|why| wrong(why.to_string()))?;
    serde_json::from_str(&text).map_err(|why| wrong(why.to_string()))
}
