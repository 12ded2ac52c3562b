//! The rows of `requirements.txt`.

use std::collections::{BTreeMap, BTreeSet};

/// A requirement.
pub(super) struct Row {
    /// `M` (must), `M/S`, `S-op-dr` and so on.
    level: String,
    /// The feature it waits for; such a row is not compared.
    pub(super) later: Option<String>,
}

pub(super) struct Rows {
    pub(super) all: BTreeMap<String, Row>,
    /// The parts of ids in front of their first `-`.
    families: BTreeSet<String>,
}

impl Rows {
    /// Reads lines of id, level and text. The text of a row that is not compared begins with `later (FEATURE): `.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (Some(id), Some(level)) = (words.next(), words.next()) else {
                return Err(format!("a row without level: {line}"));
            };
            let text = words.collect::<Vec<_>>().join(" ");
            let later = text.strip_prefix("later (").and_then(|rest| rest.split_once("): "));
            if text.starts_with("later") && later.is_none() {
                return Err(format!("{id}: write `later (FEATURE): text`"));
            }
            let row = Row { level: level.to_owned(), later: later.map(|(feature, _)| feature.to_owned()) };
            if all.insert(id.to_owned(), row).is_some() {
                return Err(format!("{id} is there twice"));
            }
        }
        let families = all.keys().filter_map(|id: &String| Some(id.split_once('-')?.0.to_owned())).collect();
        Ok(Self { all, families })
    }

    /// The ids that `name` matches: one, all with its prefix, or none for other words.
    ///
    /// # Errors
    /// `name` has the form of an id, and no row has it.
    pub(super) fn named(&self, name: &str) -> Result<Vec<String>, String> {
        let found: Vec<_> = match name.strip_suffix('*') {
            Some(start) => self.all.keys().filter(|id| id.starts_with(start)).cloned().collect(),
            None => self.all.get_key_value(name).map(|(id, _)| id.clone()).into_iter().collect(),
        };
        // Several ids separated by blanks are an error, too.
        let like_an_id = name.split(' ').all(|word| {
            let family = word.split_once('-').map(|(family, _)| family);
            family.is_some_and(|family| {
                self.families.contains(family)
                    || family.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
            })
        });
        if found.is_empty() && like_an_id { Err(format!("`{name}` is not a row")) } else { Ok(found) }
    }

    /// Whether gate64 must implement it or a part of it (`M/S`): not a draft's or an operator's duty.
    pub(super) fn is_must(&self, id: &str) -> bool {
        self.all.get(id).is_some_and(|row| row.level.split('/').any(|level| level == "M"))
    }
}

#[test]
fn a_must_is_seen_in_every_notation() {
    let text = "# comment\nA-1 M one\nA-2 M/S two\nA-3 S/M three\nA-4 M-op four\nA-5 M-dr five\nA-6 S six\n";
    let rows = Rows::parse(text).expect("rows");
    let musts: Vec<_> = rows.all.keys().filter(|id| rows.is_must(id)).collect();
    assert_eq!(musts, ["A-1", "A-2", "A-3"]);
}

#[test]
fn wrong_rows_and_ids_are_found() {
    assert_eq!(Rows::parse("A-1\n").err(), Some("a row without level: A-1".to_owned()));
    assert_eq!(Rows::parse("A-1 M a\nA-1 M b\n").err(), Some("A-1 is there twice".to_owned()));
    let error = Rows::parse("A-1 M later: PCP\n").err();
    assert_eq!(error, Some("A-1: write `later (FEATURE): text`".to_owned()));

    let rows = Rows::parse("A-1 M a\nA-2 M b\ndns-pad S c\nA-3 S later (PCP): d\n").expect("rows");
    assert_eq!(rows.all["A-3"].later.as_deref(), Some("PCP"));
    assert!(rows.all["A-1"].later.is_none());
    assert_eq!(rows.named("A-*").map(|ids| ids.len()), Ok(3));
    assert_eq!(rows.named("own thinking").map(|ids| ids.len()), Ok(0));
    for typo in ["A-9", "B-1", "A-1 A-2", "dns-pda", "C-*"] {
        assert_eq!(rows.named(typo), Err(format!("`{typo}` is not a row")));
    }
}
