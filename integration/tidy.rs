//! The rules of the house that the compiler and clippy can't hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use gate64::config::{Config, OwnAddress, Surroundings};

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the repository below `folder`, sorted.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is part of the repository") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == extension) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).expect("readable"),
        path: path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned(),
    };
    files(folder, "rs").into_iter().map(read).collect()
}

impl Source {
    /// Whether all of the file is tests.
    fn is_test(&self) -> bool {
        self.path.contains("/tests") || self.path.starts_with("integration/")
    }

    /// The lines that are neither comments nor, at the file's end, tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().collect::<Vec<_>>();
        let inline = |n: &usize| {
            lines[*n] == "#[cfg(test)]"
                && lines.get(n + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        };
        let tests = (0..lines.len()).find(inline).unwrap_or(lines.len());
        let code = lines.into_iter().take(tests).enumerate().map(|(n, line)| (n + 1, line));
        code.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The top-level module: `nat64` for `src/nat64/bib.rs`.
    fn module(&self) -> &str {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').next().unwrap_or(path)
    }
}

/// What each module may import (design, "A packet walks one way"). Not listed: everything.
fn floors() -> BTreeMap<&'static str, Vec<&'static str>> {
    let ground = ["time", "reason", "addr", "wire", "counters", "ownership"];
    let with = |more: &[&'static str]| ground.iter().chain(more).copied().collect::<Vec<_>>();
    let doors = ["xlat", "siit", "nat64", "dns64", "translator", "message"];
    let io = ["device", "resolver", "worker", "config"];
    BTreeMap::from([
        ("time", vec![]),
        ("reason", vec![]),
        ("addr", vec![]),
        ("wire", vec!["addr", "reason"]),
        // Ground floor: whoever drops a packet counts it.
        ("counters", vec!["addr", "reason"]),
        ("ownership", vec!["addr"]),
        ("xlat", with(&[])),
        ("siit", with(&["xlat"])),
        ("nat64", with(&["xlat"])),
        ("message", vec![]),
        ("dns64", with(&["xlat", "message"])),
        ("translator", with(&["xlat", "siit", "nat64", "dns64"])),
        ("device", with(&doors)),
        ("resolver", with(&doors)),
        ("worker", with(&[&doors[..], &["device"]].concat())),
        ("config", with(&["xlat", "siit", "nat64", "dns64", "translator"])),
        ("observe", with(&[&doors[..], &io[..]].concat())),
        ("control", with(&[&doors[..], &io[..], &["observe"]].concat())),
    ])
}

#[test]
fn imports_point_down() {
    let floors = floors();
    let mut upward = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let module = source.module();
        let Some(below) = floors.get(module) else { continue };
        for (line, text) in source.code() {
            for import in text.split("crate::").skip(1) {
                let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name != module && !below.contains(&name.as_str()) {
                    upward.push(format!("{}:{line}: {module} imports {name}", source.path));
                }
            }
        }
    }
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
}

/// Inside `nat64`: tables know neither policy nor steps, and policy knows no step.
#[test]
fn nat64_stands_on_three_floors() {
    // Values that every floor shares.
    let shared = ["Event", "Lease", "Pairing", "Pool", "Record", "Settings", "StaticBinding"];
    let of_settings = ["Filtering", "Timers", "UnsolicitedSyn", "Zone"];
    let mut upward = Vec::new();
    let mut seen = 0;
    for source in sources("src/nat64").iter().filter(|source| !source.is_test()) {
        let below: &[&str] = match source.path.split('/').nth(2) {
            Some("tables") => &["tables"],
            Some("policy") => &["tables", "policy"],
            Some(_) | None => continue,
        };
        let depth = source.path.matches('/').count() - 2;
        let is_root = source.path.ends_with("/mod.rs");
        for (line, text) in source.code().filter(|(_, text)| text.contains("use ")) {
            // How often `super::` leads out of the floor's folder into `nat64`.
            let out = "super::".repeat(if is_root { depth } else { depth + 1 });
            let path = text.trim().trim_start_matches("pub(in crate::nat64) ").trim_start_matches("use ");
            let inside = path.strip_prefix("crate::nat64::").or_else(|| path.strip_prefix(&out));
            let Some(inside) = inside else { continue };
            seen += 1;
            for name in inside.trim_end_matches(';').trim_matches(['{', '}']).split(", ") {
                let name = name.split("::").next().unwrap_or(name);
                let may = below.contains(&name)
                    || shared.contains(&name)
                    || below.contains(&"policy") && of_settings.contains(&name);
                if !may {
                    upward.push(format!("{}:{line}: {text}", source.path));
                }
            }
        }
    }
    assert!(seen > 5, "only {seen} imports were read");
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
}

#[test]
fn the_core_knows_no_other_crate() {
    let core =
        ["time", "reason", "addr", "ownership", "wire", "counters", "xlat", "siit", "nat64", "translator"];
    let outside = [
        "tokio::",
        "serde::",
        "libc::",
        "hickory",
        "tracing::",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::env",
        "std::thread",
        "Mutex",
        "RwLock",
    ];
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| core.contains(&source.module()) && !source.is_test())
    {
        for (line, text) in source.code() {
            if let Some(word) = outside.iter().find(|word| text.contains(**word)) {
                found.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// So that hickory's next version changes one module. Tests build their messages by it as well: they are to
/// notice what it does differently.
#[test]
fn hickory_is_named_in_one_module() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| source.module() != "message" && !source.is_test()) {
        for (line, _) in source.text.lines().enumerate().filter(|(_, text)| text.contains("hickory")) {
            found.push(format!("{}:{}", source.path, line + 1));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_are_short() {
    let mut lengths = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let code = source.code().last().map_or(0, |(line, _)| line);
        assert!(code <= 500, "{} has {code} lines without its tests", source.path);
        lengths.push(code);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median < 200, "the median file has {median} lines");
}

/// Counted as clippy does not: every line from `fn` to its closing brace.
#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let mut open: Option<(usize, &str)> = None;
        for (line, text) in source.code() {
            let indent = &text[..text.len() - text.trim_start().len()];
            let starts = text.trim_start().split('(').next().unwrap_or_default();
            let is_fn = starts.starts_with("fn ") || starts.contains(" fn ") && !starts.contains('"');
            match open {
                None if is_fn && !text.trim_end().ends_with([';', '}']) => open = Some((line, indent)),
                Some((from, outer)) if indent == outer && text.trim() == "}" => {
                    if line - from - 1 > 60 {
                        long.push(format!("{}:{from}: {} lines", source.path, line - from - 1));
                    }
                    open = None;
                }
                // A declaration without a body.
                Some((_, outer)) if indent == outer && text.trim_end().ends_with(';') => open = None,
                None | Some(_) => {}
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn code_never_unwraps() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (line, text) in source.code().filter(|(_, text)| text.contains(".unwrap()")) {
            found.push(format!("{}:{line}: {}", source.path, text.trim()));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn unsafe_code_lives_in_the_device_and_the_resolver_and_says_why() {
    let mut found = Vec::new();
    for source in sources("src") {
        let may = ["src/device/", "src/resolver/", "src/lab/tap.rs"]
            .iter()
            .any(|folder| source.path.starts_with(folder));
        let lines: Vec<_> = source.text.lines().collect();
        for (line, text) in source.code() {
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| text.contains(word));
            let explained = lines[line.saturating_sub(12)..line]
                .iter()
                .any(|before| before.to_uppercase().contains("SAFETY"));
            if is_unsafe && !(may && explained) {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn names_are_the_fields_own() {
    // A `Helper` alone is one of the kernel's, and `futures_util` a crate, under the names they have.
    let banned = |name: &str| {
        let vague = ["Manager", "Helper", "Util", "Utils", "_util", "_utils", "_helper", "_helpers"];
        vague.iter().any(|end| name.ends_with(end)) && !matches!(name, "Helper" | "futures_util")
    };
    let mut found = Vec::new();
    for source in sources("src").iter().chain(&sources("integration")) {
        for (line, text) in source.code() {
            let code: String = text.split('"').step_by(2).collect();
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if code.contains("fn get_") || words.any(banned) {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_modules_of_the_architecture_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("part of the repository");
    let table: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(table.len() > 5, "the table of floors is gone");
    for row in &table[2..] {
        let modules = row.split('|').nth(2).unwrap_or_default();
        for module in modules.split('`').skip(1).step_by(2) {
            let file = root().join(format!("src/{module}.rs"));
            let folder = root().join(format!("src/{module}/mod.rs"));
            assert!(file.exists() || folder.exists(), "ARCHITECTURE.md names `{module}`");
        }
    }
}

/// A host with an address of each family and a route for everything.
pub(crate) struct AnyHost([OwnAddress; 2]);

impl AnyHost {
    pub(crate) fn new() -> Self {
        let own = |addr: &str, len| OwnAddress {
            interface: "eth0".to_owned(),
            addr: addr.parse().expect("literal"),
            len,
        };
        Self([own("203.0.113.1", 24), own("2001:db8:1::1", 64)])
    }
}

impl Surroundings for AnyHost {
    fn addresses(&self) -> &[OwnAddress] {
        &self.0
    }

    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        self.0.iter().map(|own| own.addr).find(|addr| addr.is_ipv4() == to.is_ipv4())
    }

    fn cpus(&self) -> usize {
        4
    }
}

#[test]
fn every_configuration_that_is_shipped_loads() {
    let host = AnyHost::new();
    let files = files("configs", "toml");
    assert!(!files.is_empty());
    for file in files {
        if let Err(error) = Config::load(&file, &host) {
            panic!("{}: {error}", file.display());
        }
    }
}

#[test]
fn lints_that_hold_the_other_rules_are_on() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("part of the repository");
    for lint in ["unsafe_code = \"deny\"", "missing_docs", "unwrap_used", "too_many_lines"] {
        assert!(manifest.contains(lint), "Cargo.toml has no {lint}");
    }
    let clippy = std::fs::read_to_string(root().join("clippy.toml")).expect("part of the repository");
    for rule in ["too-many-lines-threshold = 60", "std::time::Instant::now", "std::thread::sleep"] {
        assert!(clippy.contains(rule), "clippy.toml has no {rule}");
    }
}
