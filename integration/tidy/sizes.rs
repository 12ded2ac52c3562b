//! Limits on the size of files, functions and structs, and on the amount of unsafe code.

use std::collections::BTreeMap;

use super::{Source, sources};

/// Functions with more than five parameters beside `self`, by file. Lower the numbers; add no file.
const MANY_PARAMETERS: &[(&str, usize)] = &[("src/siit/outward.rs", 1)];

/// Structs with more than twelve fields outside configuration and wire formats, each with the reason.
const MANY_FIELDS: &[(&str, &str, &str)] = &[
    (
        "src/nat64/tables/fragment/table.rs",
        "Entry",
        "a datagram in the fragment cache: key, expiry, lists, sizes",
    ),
    ("src/dns64/cache/entry.rs", "RecordSetHeader", "a cache entry's fixed part, stored as bytes"),
    ("src/nat64/mod.rs", "Nat64", "the tables and what a packet needs of them"),
    ("src/nat64/tables/pool4.rs", "Pool4", "addresses, blocks and hosts, which change together"),
    ("src/nat64/tables/session.rs", "Session", "one record per session, laid out for the cache line"),
    ("src/siit/mod.rs", "Siit", "the mappings and the counters of one translator"),
    ("src/resolver/worker.rs", "State", "all that one resolver thread owns"),
    ("src/dns64/upstream_query.rs", "UpstreamQuery", "one record per upstream query"),
];

/// Lines with `unsafe`, outside tests. Lower the number with each one removed.
const UNSAFE_LINES: usize = 31;

fn code() -> Vec<Source> {
    sources("src").into_iter().filter(|source| !source.is_test()).collect()
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

/// The number of parameters of each function beside `self`, with the line of its name.
fn parameters(source: &Source) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, text) in source.code() {
        let starts = text.trim_start().split('(').next().unwrap_or_default();
        let is_fn = starts.starts_with("fn ") || starts.contains(" fn ") && !starts.contains('"');
        if open.is_none() && is_fn {
            open = Some((line, String::new()));
        }
        let Some((from, signature)) = &mut open else { continue };
        signature.push_str(text);
        if text.trim_end().ends_with(['{', ';', '}']) {
            found.push((*from, count_parameters(signature)));
            open = None;
        }
    }
    found
}

/// Counts the parameters of one signature beside `self`: the colons at depth one of its parentheses.
fn count_parameters(signature: &str) -> usize {
    let after_name = signature.split_once("fn ").map_or("", |(_, after)| after);
    // Generics may contain parentheses: skip to the parameter list.
    let (mut angle, mut depth, mut count) = (0, 0, 0);
    let mut previous = ' ';
    let mut chars = after_name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '<' => angle += 1,
            '>' if previous != '-' => angle -= 1,
            '(' | '[' if angle == 0 => depth += 1,
            ')' | ']' if angle == 0 => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ':' if depth == 1 && angle == 0 && previous != ':' && chars.peek() != Some(&':') => count += 1,
            _ => {}
        }
        previous = c;
    }
    count
}

#[test]
fn functions_take_at_most_five_parameters() {
    let known: BTreeMap<_, _> = MANY_PARAMETERS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in code() {
        let all = parameters(&source);
        seen += all.len();
        let many: Vec<_> = all.into_iter().filter(|(_, count)| *count > 5).collect();
        let allowed = known.get(source.path.as_str()).copied().unwrap_or(0);
        if many.len() < allowed {
            eprintln!(
                "tidy/sizes.rs: MANY_PARAMETERS allows {} {allowed}, it has {}",
                source.path,
                many.len()
            );
        }
        if many.len() > allowed {
            let lines: Vec<_> = many.iter().map(|(line, count)| format!("{line} has {count}")).collect();
            wrong.push(format!("{}: {} functions: line {}", source.path, many.len(), lines.join(", line ")));
        }
    }
    assert!(seen > 1000, "only {seen} functions were read");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn parameters_are_counted() {
    for (signature, count) in [
        ("fn a() {", 0),
        ("pub fn b(&mut self, x: u8, y: std::fmt::Result) -> u8 {", 2),
        ("fn c<F: Fn(u8) -> u8>(f: F, (a, b): (u8, u8), g: impl Fn(&str) -> u8,) {", 3),
    ] {
        assert_eq!(count_parameters(signature), count, "{signature}");
    }
}

#[test]
fn structs_have_at_most_twelve_fields() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    // Configuration has a field for each key; `status` a field for each value shown; `wire` for each of a header.
    let free = ["src/config/", "src/wire/", "src/observe/status.rs", "settings.rs"];
    for source in code().iter().filter(|source| !free.iter().any(|part| source.path.contains(part))) {
        let mut open: Option<(String, String, usize)> = None;
        for (_, text) in source.code() {
            let indent = &text[..text.len() - text.trim_start().len()];
            let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let is_struct = words.contains(&"struct") && text.trim_end().ends_with('{');
            if let Some((name, outer, fields)) = &mut open {
                if *outer == indent && text.trim() == "}" {
                    seen += 1;
                    let is_known =
                        MANY_FIELDS.iter().any(|(file, known, _)| *file == source.path && known == name);
                    if *fields <= 12 && is_known {
                        eprintln!("tidy/sizes.rs: MANY_FIELDS lists {name}, which has {fields}");
                    }
                    if *fields > 12 && !is_known {
                        wrong.push(format!("{}: {name} has {fields} fields", source.path));
                    }
                    open = None;
                } else if indent.len() == outer.len() + 4 && text.contains(": ") {
                    *fields += 1;
                }
            } else if is_struct {
                let name = words.iter().skip_while(|word| **word != "struct").nth(1).unwrap_or(&"");
                open = Some(((*name).to_owned(), indent.to_owned(), 0));
            }
        }
    }
    assert!(seen > 100, "only {seen} structs were read");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_does_not_grow() {
    let forms = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    let count =
        |source: &Source| source.code().filter(|(_, line)| forms.iter().any(|f| line.contains(f))).count();
    let lines: usize = code().iter().map(count).sum();
    assert!(lines <= UNSAFE_LINES, "{lines} lines with `unsafe`, at most {UNSAFE_LINES}");
}
