//! Runs the collected fuzz corpora through the same properties, without nightly Rust.

use std::path::{Path, PathBuf};

use crate::properties;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

fn replay(target: &str, property: fn(&[u8])) {
    let files = corpus(target);
    assert!(files.len() >= 10, "{target} has a corpus of {} files", files.len());
    for file in files {
        let data = std::fs::read(&file).expect("readable");
        let held = std::panic::catch_unwind(|| property(&data));
        assert!(held.is_ok(), "{} does not hold", file.display());
    }
}

#[test]
fn corpora_pass() {
    replay("parse", properties::parse);
    replay("translate", properties::translate);
    replay("quoted", properties::quoted);
    replay("config", properties::config);
    replay("sessions", properties::sessions);
    replay("saved", properties::saved);
    replay("dns_query", properties::dns_query);
    replay("dns_answer", properties::dns_answer);
}
