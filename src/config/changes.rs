//! What differs between two versions of a configuration file, key by key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// A key whose value differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyChange {
    /// Path of the key, such as `zone[floor-3].clients`.
    pub key: String,
    /// The value so far, in TOML; `None` if the key was missing.
    pub old: Option<String>,
    /// The new value, in TOML; `None` if the key is missing.
    pub new: Option<String>,
}

/// Keys that name a table in an array, the most specific one first.
const NAMES: [&str; 5] = ["name", "address", "outside", "ipv4", "domains"];

/// The keys that differ between two files, sorted. A file that is not valid TOML has none.
pub fn changes(old: &str, new: &str) -> Vec<KeyChange> {
    let (mut old, new) = (values(old), values(new));
    let mut all: Vec<_> = new
        .into_iter()
        .map(|(key, new)| KeyChange { old: old.remove(&key), new: Some(new), key })
        .filter(|change| change.old != change.new)
        .collect();
    all.extend(old.into_iter().map(|(key, old)| KeyChange { key, old: Some(old), new: None }));
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

/// Values by path.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Ok(table) = toml::from_str::<Table>(text) {
        add_table(&mut values, "", &table);
    }
    values
}

fn add_table(values: &mut BTreeMap<String, String>, path: &str, table: &Table) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => add_table(values, &path, inner),
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                for (number, item) in items.iter().filter_map(Value::as_table).enumerate() {
                    add_table(values, &format!("{path}[{}]", name_of(item, number)), item);
                }
            }
            other => _ = values.insert(path, other.to_string()),
        }
    }
}

/// Name of a table in an array, by which both files are compared.
fn name_of(table: &Table, number: usize) -> String {
    let named = NAMES.iter().find_map(|name| table.get(*name));
    match named {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => (number + 1).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_by_path() {
        let old = "[translator]\npref64 = \"64:ff9b::/96\"\nparity = true\n\
                   [[zone]]\nname = \"a\"\nclients = [\"2001:db8:1::/64\"]\n\
                   [[zone]]\nname = \"b\"\nclients = \"2001:db8:2::/64\"\n";
        // Zones in another order are the same.
        let new = "[translator]\npref64 = \"64:ff9b::/96\"\n[limits]\nsessions = 5\n\
                   [[zone]]\nname = \"b\"\nclients = \"2001:db8:3::/64\"\n\
                   [[zone]]\nname = \"a\"\nclients = [\"2001:db8:1::/64\"]\n";
        let change = |key: &str, old: Option<&str>, new: Option<&str>| KeyChange {
            key: key.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let want = [
            change("limits.sessions", None, Some("5")),
            change("translator.parity", Some("true"), None),
            change("zone[b].clients", Some("\"2001:db8:2::/64\""), Some("\"2001:db8:3::/64\"")),
        ];
        assert_eq!(changes(old, new), want);
        assert_eq!(changes(old, old), []);
    }
}
