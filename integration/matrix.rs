//! The matrix of requirements: every row of `requirements.txt` is named by a test, or CONFORMANCE.md says
//! what gate64 does instead, why, and which test pins it.
//!
//! A test names rows in the first line of a scenario, `# ids: sentence`, in the title of a conversation
//! with the DNS64, `== ids: sentence`, or in a comment of test code,
//! `// ids 6146-3.8-udp, 6146-3.8-tcp`; a line that ends with a comma goes on in the next.
//! `6146-3.5.2.2-*` names all rows that begin so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use crate::tidy::files;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows: ids with their levels, those that are compared and those that are only known.
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

    /// What a name stands for: one id, or all that begin alike. Words that are no ids stand for none.
    ///
    /// # Errors
    /// It looks like an id but is none.
    fn named(&self, name: &str) -> Result<Vec<String>, String> {
        let found: Vec<_> = match name.strip_suffix('*') {
            Some(start) => self.known.iter().filter(|id| id.starts_with(start)).cloned().collect(),
            None => self.known.get(name).into_iter().cloned().collect(),
        };
        // Several with blanks between them are none either.
        let mut words = name.split(' ');
        let like_an_id = words.all(|word| {
            word.contains('-') && word.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
        });
        if found.is_empty() && like_an_id { Err(format!("`{name}` is no row")) } else { Ok(found) }
    }

    /// Whether nothing but doing it will do: not a draft's, an operator's, or half of a row's.
    fn is_must(&self, id: &str) -> bool {
        self.compared.get(id).is_some_and(|level| level == "M")
    }
}

/// Names in `text` behind `// id ` or `// ids `, each with the line that begins so.
fn names_in_comments(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let comment = line.trim_start().strip_prefix("// ");
        let list = comment.and_then(|c| {
            if goes_on { Some(c) } else { c.strip_prefix("ids ").or_else(|| c.strip_prefix("id ")) }
        });
        let Some(list) = list else {
            goes_on = false;
            continue;
        };
        goes_on = list.trim_end().ends_with(',');
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
    // Blank lines keep the numbers right.
    let Some(at) = text.find("#[cfg(test)]\nmod ") else { return String::new() };
    "\n".repeat(text[..at].lines().count()) + &text[at..]
}

/// Rows that tests name; and complaints about names that are none.
fn named_by_tests(rows: &Rows) -> (BTreeSet<String>, Vec<String>) {
    let (mut held, mut wrong) = (BTreeSet::new(), Vec::new());
    let mut note = |place: String, name: &str| match rows.named(name) {
        Ok(ids) => held.extend(ids),
        Err(error) => wrong.push(format!("{place}: {error}")),
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
        for (line, name) in names_in_comments(&tests_of(&path, &text)) {
            note(format!("{path}:{line}"), &name);
        }
    }
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
                Ok(_) => wrong.push(format!("CONFORMANCE.md: `{name}` is no row")),
                Err(error) => wrong.push(format!("CONFORMANCE.md: {error}")),
            }
        }
        found.push(Listed { ids, what: what.to_owned(), tests: tests.to_owned() });
    }
    found
}

/// Complaints about a row of CONFORMANCE.md: its tests exist, and what must be done is not left undone.
fn check_listed(rows: &Rows, row: &Listed) -> Vec<String> {
    let mut wrong = Vec::new();
    let undone = ["**Deviation:**", "**Not built:**"].iter().any(|word| row.what.starts_with(word));
    for id in row.ids.iter().filter(|id| undone && rows.is_must(id)) {
        wrong.push(format!("CONFORMANCE.md: {id} is a MUST and not to be left undone"));
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
fn every_row_is_held_or_explained() {
    let rows = Rows::read();
    let (held, mut wrong) = named_by_tests(&rows);
    let listed = listed(&rows, &mut wrong);
    wrong.extend(listed.iter().flat_map(|row| check_listed(&rows, row)));
    let explained: BTreeSet<_> = listed.into_iter().flat_map(|row| row.ids).collect();
    let (mut tested, mut told, mut left) = (0, 0, 0);
    for id in rows.compared.keys() {
        match (held.contains(id), explained.contains(id)) {
            (true, _) => tested += 1,
            (false, true) => told += 1,
            (false, false) => {
                left += 1;
                wrong.push(format!("{id}: no test names it, and CONFORMANCE.md neither"));
            }
        }
    }
    let all = rows.compared.len();
    // Past the capture of test output: whoever runs the tests is to see it.
    let line = format!(
        "\n{all} rows in the matrix, {tested} held by tests, {told} listed as choices or deviations, {left} uncovered\n"
    );
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn names_are_found_and_typos_too() {
    let text = "// ids 6146-3.8-udp, 6146-3.8-tcp: both,\nfn a() {}\n  // id C-01,\n  // C-02\n  // C-03\n";
    let names: Vec<_> =
        names_in_comments(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(names, ["1 6146-3.8-udp", "1 6146-3.8-tcp", "3 C-01", "4 C-02"]);
    let rows = Rows::read();
    assert_eq!(rows.named("6146-3.5.2.2-*").map(|ids| ids.len()), Ok(81));
    assert_eq!(rows.named("own thinking").map(|ids| ids.len()), Ok(0));
    assert!(rows.named("6146-3.8-ucp").is_err());
    assert!(rows.named("6146-3.8-udp 6146-3.8-tcp").is_err());
    assert!(rows.is_must("6146-3.8-udp") && !rows.is_must("W-plat"));
}
