//! Invalid configuration files and their error messages.
//!
//! `configs_bad/NAME.txt` is the message for `NAME.toml`, as `gate64 check` prints it. `BLESS=1 cargo test
//! configs_bad` rewrites the messages: read the difference before you commit it.

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

/// The error message for a file. It names the file without the folder.
fn message(case: &Path) -> Result<String, String> {
    let name = case.file_name().expect("a file").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(case).expect("readable");
    match Config::parse(&name, &text, &AnyHost::new()) {
        Ok(_) => Err(format!("{name}: the file is valid")),
        Err(error) => Ok(format!("{error}\n")),
    }
}

#[test]
fn every_invalid_file_has_its_message() {
    // ids 6052-2.2-lens, 6052-2.2-wkplen, 6052-2.2-u-96cfg, 6052-2.2-hostbits, 6146-3-pref, 6146-3.5.1-timer-min,
    // 6146-3.5.2-estmin, 6146-3.5.3-timer, 7915-4.1-frag-mtucfg-min
    let cases = cases();
    assert!(cases.len() >= 115, "{} files", cases.len());
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let message = message(case).expect("a bad file");
        let expected = case.with_extension("txt");
        if bless {
            std::fs::write(&expected, message).expect("writable");
            continue;
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if message != want {
            wrong.push(format!("{}\n--- expected\n{want}--- got\n{message}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_message_names_file_line_and_column() {
    for case in cases() {
        let message = message(&case).expect("a bad file");
        let name = case.file_name().expect("a file").to_string_lossy().into_owned();
        let place = message.strip_prefix(&format!("{name}:")).expect("it begins with the file");
        let mut numbers = place.splitn(3, ':');
        for what in ["line", "column"] {
            let number: u32 = numbers.next().and_then(|n| n.parse().ok()).expect(what);
            assert!(number > 0, "{name}: {what}");
        }
        assert!(message.contains('^'), "{name}: carets mark the place");
        assert!(message.contains("= allowed: "), "{name}: the message says what is allowed:\n{message}");
    }
}
