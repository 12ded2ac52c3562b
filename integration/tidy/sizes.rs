//! Limits on the size of files, functions and structs, and on the amount of unsafe code.

use std::collections::BTreeSet;

use super::{Source, sources};

/// Functions with more than five parameters beside `self`: file, name, reason.
const MANY_PARAMETERS: &[(&str, &str, &str)] =
    &[("src/dns64/upstream_query.rs", "new", "each fills a field of its own")];

/// Structs with more than twelve fields outside configuration and wire formats, each with the reason.
const MANY_FIELDS: &[(&str, &str, &str)] = &[
    (
        "src/nat64/tables/fragment/table.rs",
        "Entry",
        "a datagram in the fragment cache: key, expiry, lists, sizes",
    ),
    ("src/dns64/cache/entry.rs", "RecordSetHeader", "a cache entry's fixed part, stored as bytes"),
    ("src/nat64/tables/session.rs", "Session", "one record per session, laid out for the cache line"),
    ("src/resolver/thread_state/state.rs", "ThreadState", "all that one resolver thread owns"),
    ("src/dns64/upstream_query.rs", "UpstreamQuery", "one record per upstream query"),
];

/// Lines with `unsafe`, outside tests. Lower the number with each one removed.
const UNSAFE_LINES: usize = 27;

/// Fails unless the exceptions of `list` are exactly those found in the source.
fn compare<'a>(
    list: &str,
    listed: impl Iterator<Item = (&'a str, &'a str)>,
    found: &BTreeSet<(String, String)>,
) {
    let listed: BTreeSet<_> = listed.map(|(file, name)| (file.to_owned(), name.to_owned())).collect();
    let new = found.difference(&listed).map(|(file, name)| format!("{file}: `{name}` is too large"));
    let outdated = listed.difference(found).map(|(file, name)| {
        format!(
            "{file}: `{name}` needs no exception any more: remove it from {list} in integration/tidy/sizes.rs"
        )
    });
    let wrong: Vec<_> = new.chain(outdated).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

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

/// Whether a function starts in this line.
fn starts_function(line: &str) -> bool {
    let line = line.trim_start();
    let item = match line.strip_prefix("pub(") {
        Some(visibility) => visibility.split_once(')').map_or("", |(_, item)| item.trim_start()),
        None => line,
    };
    let start = item.split('(').next().unwrap_or_default();
    start.starts_with("fn ") || start.contains(" fn ") && !start.contains('"')
}

#[test]
fn functions_are_found() {
    for line in ["fn a() {", "    pub fn b(", "pub(super) fn c(", "pub(in crate::nat64) const fn d<T>("] {
        assert!(starts_function(line), "{line}");
    }
    for line in ["let f: fn(u8) = g;", "pub(super) struct A(fn(u8));", "call(\" fn \")"] {
        assert!(!starts_function(line), "{line}");
    }
}

/// Counted as clippy does not: every line from `fn` to its closing brace.
#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let mut open: Option<(usize, &str)> = None;
        for (line, text) in source.code() {
            let indent = &text[..text.len() - text.trim_start().len()];
            match open {
                None if starts_function(text) && !text.trim_end().ends_with([';', '}']) => {
                    open = Some((line, indent));
                }
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

/// Each function's name, with its number of parameters beside `self`.
fn parameters(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for (_, text) in source.code() {
        if open.is_none() && starts_function(text) {
            open = Some(String::new());
        }
        let Some(signature) = &mut open else { continue };
        signature.push_str(text);
        if text.trim_end().ends_with(['{', ';', '}']) {
            let name = signature.split_once("fn ").map_or("", |(_, after)| after);
            let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            found.push((name.to_owned(), count_parameters(signature)));
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
    let mut found = BTreeSet::new();
    let mut seen = 0;
    for source in code() {
        let all = parameters(&source);
        seen += all.len();
        let many = all.into_iter().filter(|(_, count)| *count > 5);
        found.extend(many.map(|(name, _)| (source.path.clone(), name)));
    }
    assert!(seen > 1000, "only {seen} functions were read");
    let listed = MANY_PARAMETERS.iter().map(|(file, name, _)| (*file, *name));
    compare("MANY_PARAMETERS", listed, &found);
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
    let mut found = BTreeSet::new();
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
                    if *fields > 12 {
                        found.insert((source.path.clone(), name.clone()));
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
    compare("MANY_FIELDS", MANY_FIELDS.iter().map(|(file, name, _)| (*file, *name)), &found);
}

#[test]
fn unsafe_code_does_not_grow() {
    let forms = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    let count =
        |source: &Source| source.code().filter(|(_, line)| forms.iter().any(|f| line.contains(f))).count();
    let lines: usize = code().iter().map(count).sum();
    assert_eq!(lines, UNSAFE_LINES, "lines with `unsafe`; lower UNSAFE_LINES with each one removed");
}
