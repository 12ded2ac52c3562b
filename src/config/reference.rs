//! Tests that `configs/reference.toml` and the schema agree.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{FakeHost, load_on};

const REFERENCE: &str = include_str!("../../configs/reference.toml");

/// The name in a line such as `[a.b]`, `[[a]]` or `#[[a]]`.
fn header(line: &str) -> Option<String> {
    let line = line.trim_start_matches('#');
    let name = line.strip_prefix('[')?.trim_start_matches('[').split(']').next()?;
    Some(name.to_owned())
}

/// The key of a line such as `a = 1` or `#a = 1`. Prose comments have a space after the `#`.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.trim_start_matches('#').split_once(" = ")?;
    key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_').then_some(key)
}

/// Keys of the reference by table.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in REFERENCE.lines().filter(|line| !line.starts_with("# ")) {
        if let Some(name) = header(line) {
            table = name;
        } else if let Some(key) = key(line) {
            tables.entry(table.clone()).or_default().insert(key.to_owned());
        }
    }
    tables
}

/// Keys that the schema allows in a table, from the error for an unknown key.
fn allowed(table: &str) -> BTreeSet<String> {
    let text = match table {
        "" => "nonsense = 1\n".to_owned(),
        "dns64.forward" | "dns64.record" | "zone" | "static" => format!("[[{table}]]\nnonsense = 1\n"),
        "zone.host" | "zone.rule" | "zone.dns64.range" => format!("[[zone]]\n[[{table}]]\nnonsense = 1\n"),
        _ => match table.strip_prefix("zone.") {
            Some(inner) => format!("[[zone]]\n[zone.{inner}]\nnonsense = 1\n"),
            None => format!("[{table}]\nnonsense = 1\n"),
        },
    };
    let error = load_on(&text, &FakeHost::new()).expect_err("an unknown key");
    let unknown = error.diagnostics.iter().find(|d| d.found == "unknown key `nonsense`");
    unknown
        .expect("the key is unknown")
        .allowed
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_reference_has_every_key() {
    let documented = documented();
    let tables: BTreeSet<_> = documented.keys().filter(|t| !t.contains('.')).cloned().collect();
    assert_eq!(tables, allowed(""));
    for (table, keys) in &documented {
        let mut wanted = allowed(table);
        // Keys that are tables.
        let inner = |key: &String| documented.contains_key(&format!("{table}.{key}"));
        wanted.retain(|key| !inner(key));
        assert_eq!(*keys, wanted, "[{table}]");
    }
    let inner = [
        "zone.limits",
        "zone.host",
        "zone.rule",
        "zone.dns64",
        "zone.dns64.range",
        "dns64.forward",
        "dns64.record",
    ];
    for table in inner {
        assert!(documented.contains_key(table), "{table}");
    }
}

#[test]
fn every_key_has_an_explanation() {
    let lines: Vec<_> = REFERENCE.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        if !line.starts_with("# ") && key(line).is_some() {
            assert!(lines[number - 1].starts_with("# "), "line {}: {line}", number + 1);
        }
    }
}

#[test]
fn the_defaults_of_the_reference_are_the_defaults() {
    let host = FakeHost::new();
    let reference = load_on(REFERENCE, &host).expect("the reference is valid");
    let required = "[translator]\npool4 = [\"192.0.2.64/28\"]\n\
                    [dns64]\nlisten = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.53:53\"]\n\
                    [[zone]]\nname = \"floor-3\"\nclients = [\"2001:db8:1::/64\"]\n";
    assert_eq!(reference, load_on(required, &host).expect("good"));
}

#[test]
fn the_commented_out_keys_are_valid() {
    let comment =
        |line: &&str| line.starts_with('#') && !line.starts_with("# ") && !line.contains("egress_ports");
    let all: Vec<_> =
        REFERENCE.lines().map(|l| if comment(&l) { l.trim_start_matches('#') } else { l }).collect();
    let config = load_on(&all.join("\n"), &FakeHost::new()).expect("good");
    assert_eq!(config.nat64.statics.len(), 1);
    assert_eq!(config.nat64.pools.len(), 2);
    assert_eq!(config.host.workers, 8);
}
