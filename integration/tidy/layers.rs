//! Which module may import which, and that imports form no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{self, Import};
use super::sources;

/// The modules that each module may import: those of lower layers (`ARCHITECTURE.md`).
fn layers() -> BTreeMap<&'static str, Vec<&'static str>> {
    let base = ["time", "reason", "addr", "wire", "counters", "ownership", "message"];
    let with = |more: &[&'static str]| base.iter().chain(more).copied().collect::<Vec<_>>();
    let core = ["xlat", "siit", "nat64", "dns64", "translator"];
    let io = ["device", "resolver", "worker", "config"];
    let below_control = [&core[..], &io[..], &["observe"]].concat();
    let below_cli = [&below_control[..], &["control", "replay", "lab", "output"]].concat();
    BTreeMap::from([
        ("time", vec![]),
        ("named", vec![]),
        ("reason", vec![]),
        ("addr", vec![]),
        ("message", vec![]),
        ("output", vec![]),
        ("wire", vec!["addr", "reason"]),
        ("counters", vec!["addr", "reason"]),
        ("ownership", vec!["addr"]),
        ("xlat", with(&[])),
        ("siit", with(&["xlat"])),
        ("nat64", with(&["xlat"])),
        ("dns64", with(&["xlat"])),
        ("translator", with(&["xlat", "siit", "nat64", "dns64"])),
        ("device", with(&core)),
        ("resolver", with(&core)),
        ("worker", with(&[&core[..], &["device"]].concat())),
        ("config", with(&core)),
        ("observe", with(&[&core[..], &io[..]].concat())),
        ("control", with(&below_control)),
        ("replay", with(&core)),
        ("lab", with(&[&core[..], &io[..], &["output"]].concat())),
        ("cli", with(&below_cli)),
        ("main", with(&[&below_cli[..], &["cli"]].concat())),
        // Declares the modules and the library's re-exports.
        ("lib", with(&[&below_cli[..], &["cli"]].concat())),
    ])
}

/// Layers inside a module: a file of the folder imports, within its module, only from these.
const INNER_LAYERS: [(&str, &[&str]); 2] = [
    ("src/nat64/tables/", &["src/nat64/tables/", "src/nat64/settings.rs"]),
    ("src/nat64/policy/", &["src/nat64/policy/", "src/nat64/tables/", "src/nat64/settings.rs"]),
];

/// The top-level module: `nat64` for `src/nat64/tables/bib.rs`.
fn module(file: &str) -> &str {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').next().unwrap_or(path)
}

fn shown(import: &Import) -> String {
    format!("{} imports {} of {}", import.from, import.name, import.to)
}

#[test]
fn imports_point_down() {
    let layers = layers();
    let imports = imports::imports("src");
    assert!(imports.len() > 1000, "only {} imports were read", imports.len());
    let mut upward = Vec::new();
    for import in &imports {
        let (from, to) = (module(&import.from), module(&import.to));
        let Some(below) = layers.get(from) else {
            upward.push(format!("module {from} has no layer"));
            continue;
        };
        if from != to && !below.contains(&to) {
            upward.push(shown(import));
        }
        for (layer, may) in INNER_LAYERS {
            let leaves = !may.iter().any(|start| import.to.starts_with(start));
            if import.from.starts_with(layer) && from == to && leaves {
                upward.push(shown(import));
            }
        }
    }
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
    for source in sources("src") {
        let module = module(&source.path);
        assert!(layers.contains_key(module), "module {module} has no layer");
    }
}

#[test]
fn imports_form_no_circle() {
    let mut imports = imports::imports("src");
    imports.extend(imports::imports("integration"));
    let mut found = Vec::new();
    while let Some(circle) = imports::circle(&imports) {
        found.push(circle.iter().map(shown).collect::<Vec<_>>().join("\n"));
        imports.retain(|import| (&import.from, &import.to) != (&circle[0].from, &circle[0].to));
    }
    assert!(found.is_empty(), "circles of imports:\n{}\n", found.join("\n\n"));
}

#[test]
fn circles_are_found() {
    let import =
        |from: &str, to: &str| Import { from: from.to_owned(), to: to.to_owned(), name: "N".to_owned() };
    let mut imports = BTreeSet::from([import("a", "b"), import("b", "c"), import("a", "c")]);
    assert_eq!(imports::circle(&imports), None);
    imports.insert(import("c", "a"));
    assert_eq!(imports::circle(&imports), Some(vec![import("a", "c"), import("c", "a")]));
}

#[test]
fn the_core_knows_no_other_crate() {
    let core = [
        "time",
        "named",
        "reason",
        "addr",
        "ownership",
        "wire",
        "counters",
        "xlat",
        "siit",
        "nat64",
        "translator",
    ];
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
