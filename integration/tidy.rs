//! Rules about the source that neither the compiler nor clippy checks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use gate64::config::{Config, HostInfo, OwnAddress};

mod imports;
mod layers;
mod sizes;

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
    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        self.path.contains("/tests") || self.path.starts_with("integration/")
    }

    /// The numbered lines that are neither comments nor the test module at the end of the file.
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

/// A new version of hickory changes one module. Tests may use hickory to build their messages, so that they
/// notice a change in its behaviour.
#[test]
fn hickory_is_imported_by_one_module() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| source.module() != "message" && !source.is_test()) {
        for (line, _) in source.text.lines().enumerate().filter(|(_, text)| text.contains("hickory")) {
            found.push(format!("{}:{}", source.path, line + 1));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
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
fn unsafe_code_is_in_the_device_and_the_resolver_with_a_reason() {
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
fn names_are_not_vague() {
    // `Helper` is the kernel's term for conntrack helpers; `futures_util` and `hyper_util` are crates.
    let banned = |name: &str| {
        let vague = ["Manager", "Helper", "Util", "Utils", "_util", "_utils", "_helper", "_helpers"];
        vague.iter().any(|end| name.ends_with(end))
            && !matches!(name, "Helper" | "futures_util" | "hyper_util")
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
    assert!(table.len() > 5, "no table of layers");
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

impl HostInfo for AnyHost {
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
fn every_shipped_configuration_loads() {
    let host = AnyHost::new();
    let files = files("configs", "toml");
    assert!(!files.is_empty());
    // Programmes are targets of reports.
    for file in files.iter().filter(|file| !file.iter().any(|part| part == "programmes")) {
        if let Err(error) = Config::load(file, &host) {
            panic!("{}: {error}", file.display());
        }
    }
}

#[test]
fn lints_for_the_other_rules_are_enabled() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("part of the repository");
    for lint in ["unsafe_code = \"deny\"", "missing_docs", "unwrap_used", "too_many_lines"] {
        assert!(manifest.contains(lint), "Cargo.toml has no {lint}");
    }
    let clippy = std::fs::read_to_string(root().join("clippy.toml")).expect("part of the repository");
    for rule in ["too-many-lines-threshold = 60", "std::time::Instant::now", "std::thread::sleep"] {
        assert!(clippy.contains(rule), "clippy.toml has no {rule}");
    }
}
