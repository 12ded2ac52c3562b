//! Runs every file under `integration/scenarios/`; each tests one rule and is named after it.

use std::path::PathBuf;

use crate::script::{self, files};

/// `SCENARIO=words cargo test scenarios` runs only files whose path contains the words.
#[test]
fn scenarios_hold() {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let files: Vec<_> = files().into_iter().filter(|f| f.to_string_lossy().contains(&only)).collect();
    let failures: Vec<_> =
        files.iter().filter_map(|file| script::run_file(file, |act| act()).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios fail:\n\n{}\n",
        failures.len(),
        files.len(),
        failures.join("\n\n")
    );
}

#[test]
fn each_scenario_names_its_requirements() {
    let files = files();
    assert!(files.len() >= 60, "{} scenarios", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("# ") && first.contains(": "),
            "{} begins with `# ids: what`",
            file.display()
        );
    }
}

#[test]
fn scenarios_parse() {
    let unreadable = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("readable");
        script::language::parse(&text).err().map(|error| format!("{}: {error}", file.display()))
    };
    let failures: Vec<_> = files().iter().filter_map(unreadable).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
