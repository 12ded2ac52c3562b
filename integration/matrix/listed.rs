//! The choices that CONFORMANCE.md lists.

use super::declared::{of_dns_scenarios, test_fns};
use super::rows::Rows;

/// The section that lists deviations from a MUST.
const DEVIATIONS: &str = "## Deviations from a MUST";

/// A row of a table of CONFORMANCE.md.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) ids: Vec<String>,
    what: String,
    pub(super) tests: Vec<String>,
    /// It is in the section of deviations from a MUST.
    pub(super) is_must_deviation: bool,
}

impl Listed {
    /// Whether it says that gate64 differs from the text, or lacks a part of it.
    fn differs(&self) -> bool {
        ["**Deviation", "**Not built"].iter().any(|word| self.what.contains(word))
    }

    /// Whether it needs no test: there is no behaviour, or it binds documents.
    pub(super) fn is_without_behaviour(&self) -> bool {
        ["**Not built", "**Does not apply", "**Documentation"].iter().any(|word| self.what.starts_with(word))
    }
}

/// The rows of CONFORMANCE.md, by the tables whose first column is `id`.
pub(super) fn listed(rows: &Rows, text: &str, wrong: &mut Vec<String>) -> Vec<Listed> {
    let (mut found, mut in_table, mut section) = (Vec::new(), false, "");
    for line in text.lines() {
        if line.starts_with("## ") {
            section = line;
        }
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
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let is_must_deviation = section == DEVIATIONS;
        found.push(Listed { ids, what: what.to_owned(), tests, is_must_deviation });
    }
    found
}

/// Whether a test that CONFORMANCE.md names exists: `path.rs::function`, a scenario as `folder/name`, or a
/// file of DNS64 scenarios of which one declares an id of the row. `read` returns a file's text.
///
/// # Errors
/// Says what is missing.
fn exists(
    test: &str,
    ids: &[String],
    rows: &Rows,
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    if let Some((path, name)) = test.split_once("::") {
        let text = read(path).ok_or_else(|| format!("there is no file `{path}`"))?;
        let found = test_fns(&text).iter().any(|function| function.name == name);
        return if found { Ok(()) } else { Err(format!("{path} has no test `{name}`")) };
    }
    if test.ends_with(".rs") {
        return Err(format!("`{test}` names a file, not a test: write `{test}::function`"));
    }
    if test.starts_with("integration/dns_scenarios/") {
        let text = read(test).ok_or_else(|| format!("there is no file `{test}`"))?;
        let declares =
            |name: &str| rows.named(name).is_ok_and(|named| named.iter().any(|id| ids.contains(id)));
        let found = of_dns_scenarios(test, &text).iter().any(|declared| declares(&declared.name));
        return if found {
            Ok(())
        } else {
            Err(format!("no scenario in `{test}` declares {}", ids.join(", ")))
        };
    }
    let scenario = read(&format!("integration/scenarios/{test}.txt"));
    scenario.map(drop).ok_or_else(|| format!("there is no test `{test}`"))
}

/// Errors in a row of CONFORMANCE.md: a test that does not exist, or a MUST that is not implemented and not
/// in its section.
pub(super) fn check(rows: &Rows, row: &Listed, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in &row.ids {
        match (row.is_must_deviation, row.differs(), rows.is_must(id)) {
            (false, true, true) => wrong.push(format!("{id} is a MUST: list it under `{DEVIATIONS}`")),
            (true, _, false) => wrong.push(format!("{id} is not a MUST: list it under its RFC")),
            _ => {}
        }
    }
    if row.is_must_deviation && !row.differs() {
        wrong.push(format!("{} names no **Deviation** or **Not built**", row.ids.join(", ")));
    }
    wrong.extend(row.tests.iter().filter_map(|test| exists(test, &row.ids, rows, read).err()));
    if row.tests.is_empty() && !row.is_without_behaviour() {
        wrong.push(format!("{} names no test", row.ids.join(", ")));
    }
    wrong.iter().map(|error| format!("CONFORMANCE.md: {error}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 3] = [
        ("src/x.rs", "#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {\n    }\n}\nfn b() {}\n"),
        ("integration/dns_scenarios/x.txt", "== A-2: sentence\n"),
        ("integration/scenarios/udp/x.txt", "# A-1: sentence\n"),
    ];

    /// The errors of a table with one row, in a section.
    fn errors(section: &str, row: &str) -> Vec<String> {
        let rows = Rows::parse("A-1 M a\nA-2 M/S b\nA-3 S c\n").expect("rows");
        let text = format!("{section}\n| id | what | test |\n|---|---|---|\n{row}\n");
        let mut wrong = Vec::new();
        let listed = listed(&rows, &text, &mut wrong);
        let read =
            |path: &str| FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        wrong.extend(listed.iter().flat_map(|row| check(&rows, row, &read)));
        wrong.iter().map(|error| error.trim_start_matches("CONFORMANCE.md: ").to_owned()).collect()
    }

    #[test]
    fn a_must_that_is_not_implemented_is_found_in_every_wording() {
        let must = ["A-2 is a MUST: list it under `## Deviations from a MUST`"];
        for what in [
            "**Deviation:** x.",
            "**Deviation** from y: x.",
            "**Not built:** x.",
            "x. **Not built:** y.",
            "x. **Deviation:** y.",
        ] {
            assert_eq!(errors("## RFC", &format!("| A-2 | {what} | `udp/x` |")), must, "{what}");
            assert_eq!(errors("## Deviations from a MUST", &format!("| A-2 | {what} | `udp/x` |")), [""; 0]);
            assert_eq!(errors("## RFC", &format!("| A-3 | {what} | `udp/x` |")), [""; 0]);
        }
        assert_eq!(
            errors("## Deviations from a MUST", "| A-3 | **Deviation:** x. | `udp/x` |"),
            ["A-3 is not a MUST: list it under its RFC"]
        );
        assert_eq!(
            errors("## Deviations from a MUST", "| A-1 | x | `udp/x` |"),
            ["A-1 names no **Deviation** or **Not built**"]
        );
    }

    #[test]
    fn a_named_test_is_a_function_or_a_scenario() {
        let of = |tests: &str| errors("## RFC", &format!("| A-1 | x | {tests} |"));
        assert_eq!(of("`src/x.rs::a`, `udp/x`"), [""; 0]);
        assert_eq!(of("`src/x.rs`"), ["`src/x.rs` names a file, not a test: write `src/x.rs::function`"]);
        assert_eq!(of("`src/x.rs::b`"), ["src/x.rs has no test `b`"]);
        assert_eq!(of("`src/y.rs::a`"), ["there is no file `src/y.rs`"]);
        assert_eq!(of("`udp/y`"), ["there is no test `udp/y`"]);
        assert_eq!(
            of("`integration/dns_scenarios/y.txt`"),
            ["there is no file `integration/dns_scenarios/y.txt`"]
        );
        assert_eq!(
            of("`integration/dns_scenarios/x.txt`"),
            ["no scenario in `integration/dns_scenarios/x.txt` declares A-1"]
        );
        assert_eq!(errors("## RFC", "| A-2 | x | `integration/dns_scenarios/x.txt` |"), [""; 0]);
        assert_eq!(of("–"), ["A-1 names no test"]);
        assert_eq!(errors("## RFC", "| A-3 | **Does not apply:** x | – |"), [""; 0]);
        assert_eq!(errors("## RFC", "| A-3 | **Documentation:** x | – |"), [""; 0]);
    }

    #[test]
    fn wrong_lines_of_the_tables_are_found() {
        assert_eq!(errors("", "| A-1 | x |"), ["three columns: | A-1 | x |"]);
        assert_eq!(errors("", "| A-9 | x | `udp/x` |"), ["`A-9` is not a row"]);
        assert_eq!(errors("", "| words | x | `udp/x` |"), ["`words` is not a row"]);
    }
}
