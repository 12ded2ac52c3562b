//! The requirement matrix: a test names every row of `requirements.txt`, or CONFORMANCE.md says what gate64
//! does instead, why, and which test checks it.
//!
//! A row counts as tested only where a test declares it:
//! - the first line of a scenario, `# ids: sentence`;
//! - the title of a DNS64 scenario, `== ids: sentence`;
//! - in the body of a test function, a comment `// ids 6146-3.8-udp, 6146-3.8-tcp`. A line that ends with a
//!   comma continues in the next. The same comment anywhere else is an error.
//!
//! `6146-3.5.2.2-*` names all rows with this prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use crate::tidy::files;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows: the compared ids with their levels, and all known ids.
struct Rows {
    compared: BTreeMap<String, String>,
    known: BTreeSet<String>,
}

impl Rows {
    fn read() -> Self {
        let text = read("integration/requirements.txt");
        let (compared, later) = text.split_once("# Known, and not compared yet.").expect("two parts");
        let rows = |part: &str| -> Vec<(String, String)> {
            let rows = part.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            let mut words = rows.map(|line| line.split_whitespace().map(str::to_owned));
            let row = |words: &mut dyn Iterator<Item = String>| Some((words.next()?, words.next()?));
            words.by_ref().map(|mut line| row(&mut line).expect("id and level")).collect()
        };
        let known = rows(compared).into_iter().chain(rows(later)).map(|(id, _)| id).collect();
        Self { compared: rows(compared).into_iter().collect(), known }
    }

    /// The ids that `name` matches: one, all with its prefix, or none for other words.
    ///
    /// # Errors
    /// `name` has the form of an id, and no row has it.
    fn named(&self, name: &str) -> Result<Vec<String>, String> {
        let found: Vec<_> = match name.strip_suffix('*') {
            Some(start) => self.known.iter().filter(|id| id.starts_with(start)).cloned().collect(),
            None => self.known.get(name).into_iter().cloned().collect(),
        };
        // Several ids separated by blanks are an error, too.
        let mut words = name.split(' ');
        let like_an_id = words.all(|word| {
            word.contains('-') && word.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
        });
        if found.is_empty() && like_an_id { Err(format!("`{name}` is not a row")) } else { Ok(found) }
    }

    /// Whether gate64 must implement it: level `M` alone, not a draft's or an operator's duty.
    fn is_must(&self, id: &str) -> bool {
        self.compared.get(id).is_some_and(|level| level == "M")
    }
}

/// Names in comments of `text` that begin with `// id ` or `// ids `, each with its line.
fn names_in_comments(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        let comment = line.trim_start().strip_prefix("// ");
        let list = comment.and_then(|c| {
            if continues { Some(c) } else { c.strip_prefix("ids ").or_else(|| c.strip_prefix("id ")) }
        });
        let Some(list) = list else {
            continues = false;
            continue;
        };
        continues = list.trim_end().ends_with(',');
        let list = list.split(": ").next().unwrap_or_default();
        let split = list.split(", ").map(|name| name.trim().trim_end_matches([',', ':', '.']));
        names.extend(split.filter(|name| !name.is_empty()).map(|name| (number + 1, name.to_owned())));
    }
    names
}

/// The part of a source file that is tests.
fn tests_of(path: &str, text: &str) -> String {
    if path.starts_with("integration/") || path.contains("/tests") {
        return text.to_owned();
    }
    // Blank lines keep the line numbers.
    let Some(at) = text.find("#[cfg(test)]\nmod ") else { return String::new() };
    "\n".repeat(text[..at].lines().count()) + &text[at..]
}

/// The numbers of the lines of functions that are tests.
fn test_lines(text: &str) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    let (mut is_marked, mut end): (bool, Option<String>) = (false, None);
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        if end.is_none() && (code.starts_with("#[test]") || code.starts_with("#[tokio::test")) {
            is_marked = true;
        } else if end.is_none() && is_marked && (code.starts_with("fn ") || code.starts_with("async fn ")) {
            (is_marked, end) = (false, Some(format!("{indent}}}")));
        }
        if let Some(brace) = &end {
            lines.insert(number + 1);
            if line == brace {
                end = None;
            }
        }
    }
    lines
}

/// The rows that tests declare, and errors about declarations.
fn named_by_tests(rows: &Rows) -> (BTreeSet<String>, Vec<String>) {
    let (mut held, mut wrong, mut misplaced) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut note = |source: String, name: &str| match rows.named(name) {
        Ok(ids) => held.extend(ids),
        Err(error) => wrong.push(format!("{source}: {error}")),
    };
    let shown = |path: &Path| path.strip_prefix(ROOT).expect("below").to_string_lossy().into_owned();
    for file in files("integration/scenarios", "txt") {
        let text = std::fs::read_to_string(&file).expect("readable");
        let first = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        let ids = first.split(": ").next().unwrap_or_default();
        ids.split(", ").for_each(|name| note(shown(&file), name));
    }
    for file in files("integration/dns_scenarios", "txt") {
        let text = std::fs::read_to_string(&file).expect("readable");
        for (line, title) in
            text.lines().enumerate().filter_map(|(n, l)| Some((n + 1, l.strip_prefix("== ")?)))
        {
            let ids = title.split_once(": ").map_or("", |(ids, _)| ids);
            ids.split(' ').for_each(|name| note(format!("{}:{line}", shown(&file)), name));
        }
    }
    for file in files("src", "rs").into_iter().chain(files("integration", "rs")) {
        let text = std::fs::read_to_string(&file).expect("readable");
        let path = shown(&file);
        if path == "integration/matrix.rs" {
            continue;
        }
        let tests = tests_of(&path, &text);
        let inside = test_lines(&tests);
        for (line, name) in names_in_comments(&tests) {
            if inside.contains(&line) {
                note(format!("{path}:{line}"), &name);
            } else {
                misplaced.push(format!("{path}:{line}: ids outside a test function"));
            }
        }
    }
    wrong.extend(misplaced);
    (held, wrong)
}

/// A row of a table of CONFORMANCE.md.
struct Listed {
    ids: Vec<String>,
    what: String,
    tests: String,
}

/// The rows of CONFORMANCE.md, by the tables whose first column is `id`.
fn listed(rows: &Rows, wrong: &mut Vec<String>) -> Vec<Listed> {
    let (mut found, mut in_table) = (Vec::new(), false);
    for line in read("CONFORMANCE.md").lines() {
        let cells: Vec<_> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        in_table = line.starts_with('|') && (in_table || cells[0] == "id");
        if !in_table || cells[0] == "id" || cells[0].starts_with("---") {
            continue;
        }
        let [names, what, tests] = cells[..] else {
            wrong.push(format!("CONFORMANCE.md: three columns: {line}"));
            continue;
        };
        let mut ids = Vec::new();
        for name in names.split(", ") {
            match rows.named(name) {
                Ok(named) if !named.is_empty() => ids.extend(named),
                Ok(_) => wrong.push(format!("CONFORMANCE.md: `{name}` is not a row")),
                Err(error) => wrong.push(format!("CONFORMANCE.md: {error}")),
            }
        }
        found.push(Listed { ids, what: what.to_owned(), tests: tests.to_owned() });
    }
    found
}

/// Errors in a row of CONFORMANCE.md: a test that does not exist, or a MUST that is not implemented.
fn check_listed(rows: &Rows, row: &Listed) -> Vec<String> {
    let mut wrong = Vec::new();
    let unimplemented = ["**Deviation:**", "**Not built:**"].iter().any(|word| row.what.starts_with(word));
    for id in row.ids.iter().filter(|id| unimplemented && rows.is_must(id)) {
        wrong.push(format!("CONFORMANCE.md: {id} is a MUST and must be implemented"));
    }
    let tests: Vec<_> = row.tests.split('`').skip(1).step_by(2).collect();
    let exists = |test: &&str| {
        let root = Path::new(ROOT);
        root.join(test).exists() || root.join(format!("integration/scenarios/{test}.txt")).exists()
    };
    if let Some(absent) = tests.iter().find(|test| !exists(test)) {
        wrong.push(format!("CONFORMANCE.md: there is no test `{absent}`"));
    }
    let without = ["**Not built:**", "**Does not apply:**"].iter().any(|word| row.what.starts_with(word));
    if tests.is_empty() && !without {
        wrong.push(format!("CONFORMANCE.md: {} names no test", row.ids.join(", ")));
    }
    wrong
}

#[test]
fn every_row_is_tested_or_explained() {
    let rows = Rows::read();
    let (held, mut wrong) = named_by_tests(&rows);
    let listed = listed(&rows, &mut wrong);
    wrong.extend(listed.iter().flat_map(|row| check_listed(&rows, row)));
    let explained: BTreeSet<_> = listed.into_iter().flat_map(|row| row.ids).collect();
    let (mut tested, mut stated, mut uncovered) = (0, 0, 0);
    for id in rows.compared.keys() {
        match (held.contains(id), explained.contains(id)) {
            (true, _) => tested += 1,
            (false, true) => stated += 1,
            (false, false) => {
                uncovered += 1;
                wrong.push(format!("{id}: neither a test nor CONFORMANCE.md names it"));
            }
        }
    }
    let all = rows.compared.len();
    // Bypasses the capture of test output, so that every run shows it.
    let line = format!(
        "\n{all} rows in the matrix, {tested} tested, {stated} listed as choices or deviations, {uncovered} uncovered\n"
    );
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn declarations_and_typos_are_found() {
    let text = "// ids 6146-3.8-udp, 6146-3.8-tcp: both,\nfn a() {}\n  // id C-01,\n  // C-02\n  // C-03\n";
    let names: Vec<_> =
        names_in_comments(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(names, ["1 6146-3.8-udp", "1 6146-3.8-tcp", "3 C-01", "4 C-02"]);
    let text = "// id A\n#[test]\n#[ignore]\nfn a() {\n    // id B\n}\nfn b() {\n    // id C\n}\n";
    assert_eq!(test_lines(text), BTreeSet::from([4, 5, 6]));
    let rows = Rows::read();
    assert_eq!(rows.named("6146-3.5.2.2-*").map(|ids| ids.len()), Ok(81));
    assert_eq!(rows.named("own thinking").map(|ids| ids.len()), Ok(0));
    assert!(rows.named("6146-3.8-ucp").is_err());
    assert!(rows.named("6146-3.8-udp 6146-3.8-tcp").is_err());
    assert!(rows.is_must("6146-3.8-udp") && !rows.is_must("W-plat"));
}
