//! The rows that tests declare.

use std::collections::BTreeMap;

/// Where a test declares a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Declaration {
    /// Path and line.
    pub(super) at: String,
    /// An id, a prefix of ids with `*`, or other words.
    pub(super) name: String,
}

/// Comments `// ids A, B` in a source: the line and names of each. A line that ends with a comma continues
/// in the next.
fn comments(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found: Vec<(usize, Vec<String>)> = Vec::new();
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
        if !continues {
            found.push((number + 1, Vec::new()));
        }
        continues = list.trim_end().ends_with(',');
        let list = list.split(": ").next().unwrap_or_default();
        let names = list.split(", ").map(|name| name.trim().trim_end_matches([',', ':', '.']));
        let (_, all) = found.last_mut().expect("begun above");
        all.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    found
}

/// A function that is a test, with the numbers of its first and last line.
pub(super) struct TestFn {
    pub(super) name: String,
    first: usize,
    last: usize,
}

/// The test functions of a source.
pub(super) fn test_fns(text: &str) -> Vec<TestFn> {
    let mut found: Vec<TestFn> = Vec::new();
    let (mut is_marked, mut end): (bool, Option<String>) = (false, None);
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let head = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ");
        if end.is_none() && (code.starts_with("#[test]") || code.starts_with("#[tokio::test")) {
            is_marked = true;
        } else if let (None, true, Some(head)) = (&end, is_marked, head) {
            let name = head.split(['(', '<']).next().unwrap_or_default().to_owned();
            found.push(TestFn { name, first: number + 1, last: number + 1 });
            (is_marked, end) = (false, Some(format!("{indent}}}")));
        }
        if let Some(brace) = &end {
            found.last_mut().expect("begun above").last = number + 1;
            if line == brace {
                end = None;
            }
        }
    }
    found
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

/// The declarations of a source, and errors about them: outside a test, or two in one test.
pub(super) fn of_source(path: &str, text: &str) -> (Vec<Declaration>, Vec<String>) {
    let tests = tests_of(path, text);
    let functions = test_fns(&tests);
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, names) in comments(&tests) {
        let at = format!("{path}:{line}");
        let Some(function) = functions.iter().find(|f| (f.first..=f.last).contains(&line)) else {
            wrong.push(format!("{at}: ids outside a test function"));
            continue;
        };
        let count = counts.entry(&function.name).or_default();
        *count += 1;
        if *count > 1 {
            wrong.push(format!("{at}: {} declares its ids in two places", function.name));
        }
        found.extend(names.into_iter().map(|name| Declaration { at: at.clone(), name }));
    }
    (found, wrong)
}

/// The declarations of a scenario: its first line, `# ids: sentence`.
pub(super) fn of_scenario(path: &str, text: &str) -> Vec<Declaration> {
    let first = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let ids = first.split(": ").next().unwrap_or_default();
    ids.split(", ").map(|name| Declaration { at: path.to_owned(), name: name.to_owned() }).collect()
}

/// The declarations of DNS64 scenarios: their titles, `== ids: sentence`.
pub(super) fn of_dns_scenarios(path: &str, text: &str) -> Vec<Declaration> {
    let titles = text.lines().enumerate().filter_map(|(n, line)| Some((n + 1, line.strip_prefix("== ")?)));
    let ids = titles.flat_map(|(n, title)| {
        let ids = title.split_once(": ").map_or("", |(ids, _)| ids);
        ids.split(' ').map(move |name| (n, name.to_owned()))
    });
    ids.map(|(n, name)| Declaration { at: format!("{path}:{n}"), name }).collect()
}

#[test]
fn ids_count_only_where_a_test_declares_them() {
    let text = "// id A-1\n#[test]\n#[ignore]\nfn a() {\n    // ids A-2, A-3: both,\n    x();\n    // holds A-8\n    \
                // id A-4,\n    // A-5\n    // A-6\n}\nfn b() {\n    // id A-7\n}\n";
    let (found, wrong) = of_source("integration/x.rs", text);
    let names: Vec<_> = found.iter().map(|d| format!("{} {}", d.at, d.name)).collect();
    assert_eq!(
        names,
        [
            "integration/x.rs:5 A-2",
            "integration/x.rs:5 A-3",
            "integration/x.rs:8 A-4",
            "integration/x.rs:8 A-5"
        ]
    );
    assert_eq!(
        wrong,
        [
            "integration/x.rs:1: ids outside a test function",
            "integration/x.rs:8: a declares its ids in two places",
            "integration/x.rs:13: ids outside a test function"
        ]
    );
    // Code that is not a test declares nothing.
    assert_eq!(of_source("src/x.rs", text), (Vec::new(), Vec::new()));
    let unit = "fn a() {}\n#[cfg(test)]\nmod tests {\n    #[tokio::test]\n    async fn b() {\n        // id A-1\n    }\n}\n";
    let (found, wrong) = of_source("src/x.rs", unit);
    assert_eq!(found, [Declaration { at: "src/x.rs:6".to_owned(), name: "A-1".to_owned() }]);
    assert!(wrong.is_empty());
    assert_eq!(test_fns(unit)[0].name, "b");
}

#[test]
fn a_scenario_declares_ids_in_its_first_line() {
    let text = "# A-1, A-2: sentence\n# A-3: comment\nset x\n";
    let names: Vec<_> = of_scenario("x.txt", text).into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["A-1", "A-2"]);
    let text = "# A-1: comment\n== A-2 A-3: sentence\n== sentence\n";
    let names: Vec<_> = of_dns_scenarios("x.txt", text).into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["A-2", "A-3", ""]);
}
