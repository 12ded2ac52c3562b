//! Files that can't be used, and every word that is said about them.
//!
//! `configs_bad/NAME.toml` has its message in `NAME.txt`, as `gate64 check` prints it. `BLESS=1 cargo
//! test configs_bad` writes the messages anew: read the difference before it is committed.

use std::path::{Path, PathBuf};

use gate64::config::Config;

use crate::tidy::AnyHost;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/configs_bad");
    let entries = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut cases: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    cases
}

/// What is said about a file; its name is given without the folder.
fn message(case: &Path) -> Result<String, String> {
    let name = case.file_name().expect("a file").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(case).expect("readable");
    match Config::parse(&name, &text, &AnyHost::new()) {
        Ok(_) => Err(format!("{name}: nothing is wrong with it")),
        Err(error) => Ok(format!("{error}\n")),
    }
}

#[test]
fn every_bad_file_gets_exactly_its_message() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} bad files", cases.len());
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let said = message(case).expect("a bad file");
        let expected = case.with_extension("txt");
        if bless {
            std::fs::write(&expected, said).expect("writable");
            continue;
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != want {
            wrong.push(format!("{}\n--- expected\n{want}--- got\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_message_names_file_line_and_column() {
    for case in cases() {
        let said = message(&case).expect("a bad file");
        let name = case.file_name().expect("a file").to_string_lossy().into_owned();
        let place = said.strip_prefix(&format!("{name}:")).expect("it begins with the file");
        let mut numbers = place.splitn(3, ':');
        for what in ["line", "column"] {
            let number: u32 = numbers.next().and_then(|n| n.parse().ok()).expect(what);
            assert!(number > 0, "{name}: {what}");
        }
        assert!(said.contains('^'), "{name}: it points at the place");
        assert!(said.contains("= allowed: "), "{name}: it says what is allowed:\n{said}");
    }
}
