//! Scenarios: their language, which `integration/scenarios/README.md` describes, and how they run.

pub(crate) mod build;
pub(crate) mod describe;
pub(crate) mod file;
pub(crate) mod fixture;
pub(crate) mod language;
pub(crate) mod live;
mod look;
pub(crate) mod oracle;
pub(crate) mod packet;
pub(crate) mod record;
pub(crate) mod settings;
mod siit;
pub(crate) mod world;

use std::path::{Path, PathBuf};

use language::parse;
use world::Meter;

/// All scenarios.
pub(crate) fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/scenarios");
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is part of the repository") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == "txt") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// Runs a file; the error names file and line.
pub(crate) fn run_file(path: &Path, meter: Meter) -> Result<(), String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    run_text(&text, meter).map_err(|error| format!("{name}: {error}"))
}

/// Runs a scenario from text; the error names the line.
pub(crate) fn run_text(text: &str, meter: Meter) -> Result<(), String> {
    world::run(&parse(text)?, meter)
}
