//! The requirement matrix: a test declares every row of `requirements.txt`, or CONFORMANCE.md says what gate64
//! does instead, why, and which test checks it. Rows marked `later (FEATURE)` are not compared.
//!
//! A row counts as tested only where a test declares it, in one place:
//! - the first line of a scenario, `# ids: sentence`;
//! - the title of a DNS64 scenario, `== ids: sentence`;
//! - in the body of a test function, a comment `// ids 6146-3.8-udp, 6146-3.8-tcp`. A line that ends with a
//!   comma continues in the next. The same comment anywhere else is an error.
//!
//! `6146-3.5.2.2-*` names all rows with this prefix.

mod declared;
mod listed;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::tidy::files;
use declared::{Declaration, of_dns_scenarios, of_scenario, of_source};
use listed::{Listed, check, listed};
use rows::Rows;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(ROOT).join(path)).ok()
}

/// Path and text of all files below a folder.
fn texts(folder: &str, extension: &str) -> impl Iterator<Item = (String, String)> {
    files(folder, extension).into_iter().map(|file| {
        let text = std::fs::read_to_string(&file).expect("readable");
        (file.strip_prefix(ROOT).expect("below").to_string_lossy().into_owned(), text)
    })
}

/// All declarations of the repository, and errors about them.
fn declarations() -> (Vec<Declaration>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    found.extend(texts("integration/scenarios", "txt").flat_map(|(path, text)| of_scenario(&path, &text)));
    let dns = texts("integration/dns_scenarios", "txt");
    found.extend(dns.flat_map(|(path, text)| of_dns_scenarios(&path, &text)));
    for (path, text) in texts("src", "rs").chain(texts("integration", "rs")) {
        if !path.starts_with("integration/matrix") {
            let (declarations, errors) = of_source(&path, &text);
            found.extend(declarations);
            wrong.extend(errors);
        }
    }
    (found, wrong)
}

/// Whether a test runs only as root: the kernel lab.
fn needs_root(at: &str) -> bool {
    at.starts_with("integration/lab/") || at.starts_with("integration/systemd.rs")
}

/// Numbers of rows.
#[derive(Default, PartialEq, Eq, Debug)]
struct Counts {
    tested: usize,
    /// Tested, and CONFORMANCE.md lists a choice.
    choices: usize,
    /// CONFORMANCE.md alone names them: choices that name their test.
    listed: usize,
    /// Not built, outside the role of gate64, or held by documents.
    absent: usize,
    /// A MUST that gate64 does not hold, or not in full.
    must_deviations: usize,
    uncovered: Vec<String>,
    /// Rows that the kernel lab alone tests.
    lab_only: usize,
    /// Rows by the feature they wait for.
    later: BTreeMap<String, usize>,
}

impl Counts {
    fn new(rows: &Rows, tested: &BTreeMap<String, Vec<String>>, listed: &[Listed]) -> Self {
        let mut counts = Self::default();
        for (id, row) in &rows.all {
            let entries: Vec<_> = listed.iter().filter(|entry| entry.ids.contains(id)).collect();
            let mut tests: Vec<_> = tested.get(id).into_iter().flatten().collect();
            if let Some(feature) = &row.later {
                *counts.later.entry(feature.clone()).or_default() += 1;
            } else if entries.iter().any(|entry| entry.is_must_deviation) {
                counts.must_deviations += 1;
            } else if !tests.is_empty() && entries.is_empty() {
                counts.tested += 1;
            } else if !tests.is_empty() {
                counts.choices += 1;
            } else if entries.iter().any(|entry| !entry.is_without_behaviour()) {
                counts.listed += 1;
                tests.extend(entries.iter().flat_map(|entry| &entry.tests));
            } else if !entries.is_empty() {
                counts.absent += 1;
            } else {
                counts.uncovered.push(id.clone());
            }
            counts.lab_only += usize::from(!tests.is_empty() && tests.iter().all(|at| needs_root(at)));
        }
        counts
    }

    /// One line for people.
    fn line(&self, is_root: bool) -> String {
        let later: usize = self.later.values().sum();
        let features: Vec<_> =
            self.later.iter().map(|(feature, count)| format!("{feature} {count}")).collect();
        let all = self.tested + self.choices + self.listed + self.absent + self.must_deviations;
        let mut line = format!(
            "{} rows compared: {} tested as the text says, {} tested with a choice that CONFORMANCE.md lists, \
             {} listed alone, {} not built, not applicable or held by documents, {} deviate from a MUST, {} uncovered; \
             {later} rows later ({})",
            all + self.uncovered.len(),
            self.tested,
            self.choices,
            self.listed,
            self.absent,
            self.must_deviations,
            self.uncovered.len(),
            features.join(", ")
        );
        if !is_root {
            let _ = write!(line, "; NOT RUN without root: the tests of {} rows", self.lab_only);
        }
        line
    }
}

#[test]
fn every_row_is_tested_or_explained() {
    let rows = Rows::parse(&read("integration/requirements.txt").expect("readable")).expect("rows");
    let (declarations, mut wrong) = declarations();
    let mut tested: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Declaration { at, name } in declarations {
        match rows.named(&name) {
            Ok(ids) => ids.into_iter().for_each(|id| tested.entry(id).or_default().push(at.clone())),
            Err(error) => wrong.push(format!("{at}: {error}")),
        }
    }
    let listed = listed(&rows, &read("CONFORMANCE.md").expect("readable"), &mut wrong);
    wrong.extend(listed.iter().flat_map(|row| check(&rows, row, &read)));
    let counts = Counts::new(&rows, &tested, &listed);
    wrong.extend(
        counts.uncovered.iter().map(|id| format!("{id}: neither a test nor CONFORMANCE.md names it")),
    );
    let named: BTreeSet<_> = tested.keys().chain(listed.iter().flat_map(|row| &row.ids)).collect();
    let later = rows.all.iter().filter(|(id, row)| row.later.is_some() && named.contains(id));
    wrong.extend(later.map(|(id, _)| format!("{id}: marked `later`, but a test or CONFORMANCE.md names it")));
    crate::uncaptured::show(&counts.line(gate64::lab::is_root()));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_kind_of_row_is_counted() {
    let rows = "A-1 M a\nA-2 M b\nA-3 S c\nA-4 S d\nA-5 M/S e\nA-6 S later (PCP): f\nA-7 S later (PCP): g\nA-8 M h\n";
    let rows = Rows::parse(rows).expect("rows");
    let text = "| id | what | test |\n|---|---|---|\n| A-2 | x | `udp/x` |\n| A-3 | x | `integration/lab/x.rs::a` |\n\
                | A-4 | **Not built:** x | – |\n## Deviations from a MUST\n| id | what | test |\n|---|---|---|\n\
                | A-5 | **Deviation:** x | `udp/x` |\n";
    let mut wrong = Vec::new();
    let listed = listed(&rows, text, &mut wrong);
    assert_eq!(wrong, [""; 0]);
    let tested: BTreeMap<String, Vec<String>> = [
        ("A-1", vec!["integration/lab/x.rs:3"]),
        ("A-2", vec!["integration/systemd.rs:7", "src/x.rs:9"]),
        ("A-5", vec!["src/x.rs:9"]),
    ]
    .map(|(id, at)| (id.to_owned(), at.into_iter().map(str::to_owned).collect()))
    .into();
    let counts = Counts::new(&rows, &tested, &listed);
    let expected = Counts {
        tested: 1,
        choices: 1,
        listed: 1,
        absent: 1,
        must_deviations: 1,
        uncovered: vec!["A-8".to_owned()],
        lab_only: 2,
        later: BTreeMap::from([("PCP".to_owned(), 2)]),
    };
    assert_eq!(counts, expected);
    assert!(counts.line(false).ends_with("2 rows later (PCP 2); NOT RUN without root: the tests of 2 rows"));
    assert!(counts.line(true).ends_with("2 rows later (PCP 2)"));
}
