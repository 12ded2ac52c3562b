//! `configs/gate64.schema.json`, with which editors complete and check keys. `BLESS=1 cargo test json_schema` rewrites it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tidy::files;

fn schema() -> Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gate64")).arg("schema").output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/gate64.schema.json");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &output.stdout).expect("writable");
    }
    let file = std::fs::read(&path).unwrap_or_default();
    assert!(file == output.stdout, "configs/gate64.schema.json is outdated: BLESS=1 cargo test json_schema");
    serde_json::from_slice(&file).expect("valid JSON")
}

/// The first violation of the keywords that the schema uses, by its path.
fn violation(schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let all: Option<Vec<_>> = alternatives.iter().map(|one| violation(one, value, path)).collect();
        // Of several, the most specific one.
        return all.and_then(|all| all.into_iter().max_by_key(String::len));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if schema["type"] != kind {
        return Some(format!("{path}: not {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Some(format!("{path}: not in {}", schema["enum"]));
    }
    let number = value.as_i64();
    if number < schema["minimum"].as_i64() || schema["maximum"].as_i64().is_some_and(|max| number > Some(max))
    {
        return Some(format!("{path}: out of range"));
    }
    let elements = value.as_array().into_iter().flatten();
    if let Some(found) =
        elements.enumerate().find_map(|(n, e)| violation(&schema["items"], e, &format!("{path}[{n}]")))
    {
        return Some(found);
    }
    let table = value.as_object()?;
    let of_keys = table.iter().find_map(|(key, value)| {
        let path = format!("{path}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{path}: unknown key")),
            (Value::Null, other) => violation(other, value, &path),
            (property, _) => violation(property, value, &path),
        }
    });
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = || required.into_iter().find(|key| !table.contains_key(*key));
    of_keys.or_else(|| missing().map(|key| format!("{path}: lacks {key}")))
}

fn read(path: &Path) -> Option<Value> {
    toml::from_str(&std::fs::read_to_string(path).expect("readable")).ok()
}

#[test]
fn every_shipped_configuration_satisfies_the_schema() {
    let schema = schema();
    // Those in `programmes` are files of targets, not configurations.
    for path in
        files("configs", "toml").into_iter().filter(|path| !path.to_string_lossy().contains("/programmes/"))
    {
        let value = read(&path).expect("valid TOML");
        assert_eq!(violation(&schema, &value, ""), None, "{}", path.display());
    }
}

#[test]
fn unknown_keys_and_values_violate_the_schema() {
    let schema = schema();
    let kinds =
        [("unknown key", "unknown key"), ("unknown value", "not in"), ("is out of range", "out of range")];
    let mut found = [(0, 0); 3];
    for path in files("integration/configs_bad", "toml") {
        let Some(value) = read(&path) else { continue };
        let message = std::fs::read_to_string(path.with_extension("txt")).expect("its message");
        let violation = violation(&schema, &value, "").unwrap_or_default();
        let first = message.lines().next().unwrap_or_default();
        for (number, (says, want)) in
            kinds.into_iter().enumerate().filter(|(_, (says, _))| first.contains(says))
        {
            let is_violated = violation.contains(want);
            assert!(is_violated || says != "unknown key", "{}: {violation:?}", path.display());
            found[number].0 += usize::from(is_violated);
            found[number].1 += 1;
        }
    }
    // Bounds that depend on other keys, and keywords of single protocols, are not in the schema.
    assert!(found.iter().all(|(violated, all)| *violated >= 3 && violated * 2 > *all), "{found:?}");
}

#[test]
fn the_starter_file_names_the_schema() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/nat64.toml"));
    assert!(text.expect("readable").starts_with("#:schema /usr/share/gate64/gate64.schema.json\n"));
}
