//! Runs the scenarios through the program.
//!
//! `scenarios.rs` runs the scenarios through the library. Here each scenario becomes a capture and a
//! configuration file for `gate64 translate`. The same packets must come out at the same times, with the
//! same verdict on each input. Scenarios that a capture or a file can't express are skipped, counted and
//! printed with the reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gate64::addr::WorkerId;
use gate64::config::Config;
use gate64::control::host_info::UnknownHost;
use gate64::device::pcap::{Reader, Writer};
use gate64::siit::Untranslatable;
use gate64::time::Instant;
use gate64::translator::Settings;

use crate::script::record::{Recording, What};
use crate::script::world::record;
use crate::script::{file, files};
use crate::translate::translate;

/// Skipped scenarios: the reasons, and how many.
#[derive(Default)]
pub(crate) struct Left {
    passed: usize,
    skipped: BTreeMap<String, Vec<String>>,
}

impl Left {
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    pub(crate) fn skip(&mut self, scenario: &Path, why: &str) {
        self.skipped.entry(why.to_owned()).or_default().push(name(scenario));
    }

    /// Prints how many scenarios ran, and which were skipped.
    pub(crate) fn report(&self, runner: &str) {
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        crate::uncaptured::show(&format!(
            "runners: {runner}: {} scenarios through, {skipped} skipped",
            self.passed
        ));
        for (why, scenarios) in &self.skipped {
            println!("runners: {runner}: {} skipped, {why}: {}", scenarios.len(), scenarios.join(" "));
        }
    }

    /// Fails if a runner tests too little: less than `percent` of the scenarios, or none of those chosen.
    pub(crate) fn check(&self, runner: &str, percent: usize) {
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        let all = skipped + self.passed;
        // A run of a few chosen scenarios may consist of skipped ones.
        let enough = all < 100 && all > 0 || self.passed * 100 >= all * percent && self.passed > 0;
        assert!(enough, "{runner}: {skipped} scenarios skipped, {} through", self.passed);
    }
}

/// `tcp/handshake` for a scenario's path.
pub(crate) fn name(scenario: &Path) -> String {
    let mut parts: Vec<_> =
        scenario.with_extension("").iter().rev().take(2).map(|p| p.to_string_lossy().into_owned()).collect();
    parts.reverse();
    parts.join("/")
}

/// Settings as a file expresses them: an empty error pool means the gateway's own address, and there is one
/// deny list.
pub(crate) fn in_words_of_a_file(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    if let Some(siit) = &mut settings.siit
        && siit.error_sources.untranslatable == Untranslatable::Pool
        && siit.error_sources.pool4.is_empty()
    {
        siit.error_sources.untranslatable = Untranslatable::Own;
    }
    settings
}

/// The file with these settings, if a file can express them.
pub(crate) fn as_file(settings: &Settings) -> Result<String, String> {
    let settings = &in_words_of_a_file(settings);
    let mtu = settings.rules.mtu6.max(settings.rules.mtu4);
    let text = file::text(settings, mtu, "");
    let config = Config::parse("scenario.toml", &text, &UnknownHost::new())
        .map_err(|error| format!("not valid in a file: {}", error.diagnostics[0].found))?;
    let mut output = config.worker(WorkerId(0), 1, settings.seed, settings.owner_seed);
    // Those of the unknown host are placeholders.
    output.local = settings.local.clone();
    if output == *settings { Ok(text) } else { Err("settings that a file expresses differently".to_owned()) }
}

/// The output: packets with their times, and the verdict on each input.
type Output = (Vec<(Instant, Vec<u8>)>, Vec<String>);

fn by_library(recording: &Recording) -> Output {
    let (mut packets, mut verdicts) = (Vec::new(), Vec::new());
    for entry in &recording.entries {
        match &entry.what {
            What::In { .. } => {}
            What::Out { bytes, .. } => packets.push((entry.at, bytes.clone())),
            What::Forward => verdicts.push("forward".to_owned()),
            What::Drop(reason) => verdicts.push(format!("drop {reason}")),
            What::Reject(reason) => verdicts.push(format!("reject {reason}")),
            What::Hold => verdicts.push("hold".to_owned()),
        }
    }
    (packets, verdicts)
}

fn by_translate(recording: &Recording, text: &str) -> Result<Output, String> {
    let mut capture = Writer::new(Vec::new()).expect("memory");
    let mut first = None;
    for entry in &recording.entries {
        if let What::In { bytes, .. } = &entry.what {
            first.get_or_insert(entry.at);
            capture.write(entry.at.since(Instant::ZERO), bytes).expect("memory");
        }
    }
    let until = recording.end.since(first.unwrap_or_default()).as_millis();
    let words = format!("--explain --until {until}ms --seed {}", recording.settings.seed);
    let output = translate(text, &words, &capture.into_inner());
    let explained = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(explained);
    }
    let mut reader = Reader::new(output.stdout.as_slice()).map_err(|error| error.to_string())?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet().map_err(|error| error.to_string())? {
        packets.push((Instant::ZERO + packet.at, packet.bytes.to_vec()));
    }
    let verdict = |line: &str| {
        let line = line.strip_prefix("                    ")?;
        let words = line.split(':').next()?;
        let known = ["forward", "drop ", "reject ", "hold"].iter().any(|word| words.starts_with(word));
        known.then(|| words.to_owned())
    };
    Ok((packets, explained.lines().filter_map(verdict).collect()))
}

/// The difference between the two runners.
fn compare(recording: &Recording, text: &str) -> Result<(), String> {
    let (want, got) = (by_library(recording), by_translate(recording, text)?);
    if want.1 != got.1 {
        return Err(format!("verdicts\n  library    {:?}\n  translate  {:?}", want.1, got.1));
    }
    for (number, pair) in want.0.iter().zip(&got.0).enumerate() {
        if pair.0 != pair.1 {
            return Err(format!("output {number}\n  library    {:x?}\n  translate  {:x?}", pair.0, pair.1));
        }
    }
    match want.0.len() == got.0.len() {
        true => Ok(()),
        false => Err(format!("{} packets by the library, {} by translate", want.0.len(), got.0.len())),
    }
}

pub(crate) fn chosen() -> Vec<PathBuf> {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    files().into_iter().filter(|f| f.to_string_lossy().contains(&only)).collect()
}

/// `SCENARIO=words cargo test runners` runs only files whose path contains the words.
#[test]
fn scenarios_hold_through_translate() {
    let mut left = Left::default();
    let mut failures = Vec::new();
    let files = chosen();
    for scenario in &files {
        let recording = record(scenario).expect("it holds through the library");
        if let Some(why) = recording.library_only() {
            left.skip(scenario, why);
            continue;
        }
        match as_file(&recording.settings) {
            Err(why) => left.skip(scenario, &why),
            Ok(text) => match compare(&recording, &text) {
                Ok(()) => left.pass(),
                Err(why) => failures.push(format!("{}: {why}", name(scenario))),
            },
        }
    }
    left.report("translate");
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), files.len(), failures.join("\n"));
    left.check("translate", 67);
}

#[test]
fn a_runner_that_skips_too_much_fails() {
    let of = |passed: usize, skipped: usize| {
        let mut left = Left { passed, ..Left::default() };
        (0..skipped).for_each(|_| left.skip(Path::new("udp/x.txt"), "no reason"));
        std::panic::catch_unwind(|| left.check("runner", 50)).is_ok()
    };
    assert!(of(100, 100) && of(200, 0) && of(0, 5));
    assert!(!of(99, 101) && !of(0, 200) && !of(0, 0));
}
