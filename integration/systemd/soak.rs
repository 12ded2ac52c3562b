//! Reliability: many faults under load, in a booted systemd. `make soak` writes the table of RELIABILITY.md.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gate64::config::{Config, HostInfo, OwnAddress};
use gate64::device::pcap::Writer;
use gate64::lab::LabError;

use super::{Shared, wrong};
use crate::lab::{Test, lock_machine, program};
use crate::storm::{Random, corpus, damage};

mod drive;
mod faults;
mod load;
mod site;
mod table;

/// Malformed packets of each fault, and configurations in all.
const PACKETS: usize = 1000;
const CONFIGURATIONS: usize = 1000;

/// Each fault once, for CI. `FAULT=words|words` injects only faults whose name contains some of the words.
#[test]
fn each_fault_once() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    run(0, program()).and_then(|(_, failures)| verdict(failures))
}

/// `GATE64_SOAK_MINUTES` sets the length, `GATE64_SOAK_PROGRAM` the program. Writes the table also after failures.
#[test]
#[ignore = "takes 20 minutes; `make soak` runs it"]
fn all_faults() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let minutes = std::env::var("GATE64_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let program = std::env::var_os("GATE64_SOAK_PROGRAM").map_or_else(|| program().to_owned(), PathBuf::from);
    let (table, failures) = run(minutes, &program)?;
    publish(&format!("{}\n{table}", machine(minutes, &program)))?;
    verdict(failures)
}

fn verdict(failures: String) -> Test {
    if failures.is_empty() { Ok(()) } else { Err(wrong(failures)) }
}

#[test]
#[ignore = "the other tests run this in the systemd that they boot"]
fn inside() -> Test {
    let minutes = fs::read_to_string("/mnt/minutes").map_err(|why| wrong(why.to_string()))?;
    drive::all(minutes.trim().parse().expect("written by the other tests"))
}

/// Boots, injects the faults, and returns the table and the failures.
fn run(minutes: u32, program: &Path) -> Result<(String, String), LabError> {
    let shared = Shared::new(include_str!("soak/drive.sh"))?;
    shared.write("more.sh", include_str!("soak/more.sh"))?;
    shared.write("clock.c", include_str!("soak/clock.c"))?;
    shared.write("minutes", minutes.to_string())?;
    shared.write("fault", std::env::var("FAULT").unwrap_or_default())?;
    shared.write("malformed.pcap", malformed_packets()?)?;
    let configurations = malformed_configurations();
    shared.write("malformed.json", serde_json::to_vec(&configurations).expect("strings"))?;
    let this = std::env::current_exe().map_err(|why| wrong(why.to_string()))?;
    fs::hard_link(&this, shared.0.join("soak")).map_err(|why| wrong(format!("{}: {why}", this.display())))?;
    shared.boot(program, u64::from(minutes) * 120 + 900)?;
    let table = shared.read("table.md");
    println!("{table}");
    if table.is_empty() { Err(wrong("no table")) } else { Ok((table, shared.read("failures"))) }
}

/// Damaged packets as a capture. Sources and destinations are such that the zone translates them, and belong to no
/// flow of the load.
fn malformed_packets() -> Result<Vec<u8>, LabError> {
    let corpus = corpus();
    let mut random = Random(0x5eed);
    let mut writer = Writer::new(Vec::new()).map_err(|why| wrong(why.to_string()))?;
    for number in 0..PACKETS {
        let mut packet = corpus[random.below(corpus.len())].clone();
        match packet.first().map(|byte| byte >> 4) {
            Some(6) if packet.len() >= 40 => {
                packet[8..24]
                    .copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xba, 0xd0]);
                packet[24..40]
                    .copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1]);
            }
            Some(4) if packet.len() >= 20 => {
                packet[12..16].copy_from_slice(&[203, 0, 113, 9]);
                packet[16..20].copy_from_slice(&[192, 0, 2, 64 + (number % 16) as u8]);
            }
            _ => {}
        }
        damage(&mut packet, &corpus, &mut random);
        // The kernel sends neither empty packets nor those longer than the MTU.
        packet.truncate(1500);
        packet.resize(packet.len().max(1), 0);
        writer.write(Duration::ZERO, &packet).map_err(|why| wrong(why.to_string()))?;
    }
    Ok(writer.into_inner())
}

/// The gateway's host without addresses: what only its addresses make invalid is left out.
struct SiteHost;

impl HostInfo for SiteHost {
    fn addresses(&self) -> &[OwnAddress] {
        &[]
    }

    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        Some(if to.is_ipv4() {
            IpAddr::from([192, 0, 2, 2])
        } else {
            "2001:db8:1::1".parse().expect("literal")
        })
    }

    fn cpus(&self) -> usize {
        4
    }
}

/// Invalid configurations: those of `configs_bad`, and the lab's own with damage.
fn malformed_configurations() -> Vec<String> {
    let host = SiteHost;
    let is_invalid = |text: &String| Config::parse("gate64.toml", text, &host).is_err();
    let good = faults::World::default().configuration();
    let read = |path: PathBuf| fs::read_to_string(path).expect("readable");
    let mut all: Vec<_> = crate::tidy::files("integration/configs_bad", "toml")
        .into_iter()
        .map(read)
        .filter(is_invalid)
        .collect();
    let mut random = Random(0xc0f1);
    while all.len() < CONFIGURATIONS {
        let mut bytes = good.clone().into_bytes();
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes.truncate(at),
            1 => bytes[at] = b"\"[]={}#x0\n"[random.below(10)],
            _ => drop(bytes.drain(at..(at + 1 + random.below(8)).min(good.len()))),
        }
        all.extend(Some(String::from_utf8_lossy(&bytes).into_owned()).filter(is_invalid));
    }
    all
}

/// The command and the machine, above the table.
fn machine(minutes: u32, program: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cpus = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "`make soak MINUTES={minutes}`, gate64 {} ({} build), on {cpus} CPUs ({model}), Linux {}, systemd {}.\n",
        env!("CARGO_PKG_VERSION"),
        program.parent().and_then(Path::file_name).unwrap_or_default().display(),
        kernel.trim(),
        gate64::lab::CommandLine::new("systemctl --version")
            .text()
            .unwrap_or_default()
            .split(' ')
            .nth(1)
            .unwrap_or("?")
    )
}

/// Replaces the table in RELIABILITY.md.
fn publish(table: &str) -> Test {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RELIABILITY.md");
    let failed = |why: std::io::Error| wrong(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(failed)?;
    let (begin, end) = ("<!-- make soak writes from here -->\n", "<!-- to here -->");
    let parts = text.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let (head, tail) = parts.ok_or_else(|| wrong("RELIABILITY.md has no place for the table"))?;
    fs::write(&path, format!("{head}{begin}\n{table}\n{end}{tail}")).map_err(failed)
}
