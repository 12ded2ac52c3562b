//! The JSON Schema of the configuration file, with which editors complete and check keys.
//!
//! Keys and kinds of values come from the schema that reads files, explanations and defaults from
//! `configs/reference.toml`, keywords and bounds from the messages for values that are none.

mod shape;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::diagnostic::Diagnostic;
use super::schema;
use shape::Shape;

const REFERENCE: &str = include_str!("../../../configs/reference.toml");

/// A word that is no keyword, and a number below each bound.
const WRONG: [&str; 2] = ["\"nonsense\"", "-1"];

/// What the reference says about a key.
#[derive(Debug, Default)]
struct Entry {
    description: String,
    default: Option<Value>,
    /// Index of its line.
    line: usize,
}

/// Finds the errors of a configuration file.
type Check<'a> = &'a dyn Fn(&str) -> Vec<Diagnostic>;

/// The JSON Schema.
pub(super) fn generate(check: Check<'_>) -> Value {
    let mut entries = reference();
    let shape = Shape::of::<schema::File>();
    let mut root = table(&shape, "", &mut entries, check);
    root.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    root.insert("title".to_owned(), json!("Configuration of gate64"));
    Value::Object(root)
}

/// Explanations and defaults by path, such as `zone.limits.first_block`.
fn reference() -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let (mut table, mut text) = (String::new(), Vec::new());
    for (line, content) in REFERENCE.lines().enumerate() {
        if let Some(more) = content.strip_prefix("# ") {
            text.push(more);
            continue;
        }
        let description = std::mem::take(&mut text).join(" ");
        let entry = |default| Entry { description, default, line };
        if let Some(name) = header(content) {
            entries.insert(name.to_owned(), entry(None));
            name.clone_into(&mut table);
        } else if let Some((key, value)) = content.trim_start_matches('#').split_once(" = ") {
            let default = (!content.starts_with('#')).then(|| of_toml(value)).flatten();
            entries.insert(format!("{table}.{key}"), entry(default));
        }
    }
    entries
}

/// The name in a line such as `[a.b]`, `[[a]]` or `#[[a]]`.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start_matches('#').strip_prefix('[')?;
    name.trim_start_matches('[').split(']').next()
}

/// A TOML value as JSON.
fn of_toml(value: &str) -> Option<Value> {
    let document: Map<String, Value> = toml::from_str(&format!("value = {value}")).ok()?;
    document.get("value").cloned()
}

/// The schema of a table, whose path is empty or ends with a dot.
fn table(
    shape: &Shape,
    path: &str,
    entries: &mut BTreeMap<String, Entry>,
    check: Check<'_>,
) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (key, inner) in shape.table.iter().flatten() {
        let path = format!("{path}{key}");
        properties.insert((*key).to_owned(), property(inner, &path, entries, check));
        if !inner.is_optional {
            required.push(json!(key));
        }
    }
    let mut schema = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("additionalProperties".to_owned(), json!(false)),
        ("properties".to_owned(), Value::Object(properties)),
    ]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    schema
}

/// The schema of a key.
fn property(shape: &Shape, path: &str, entries: &mut BTreeMap<String, Entry>, check: Check<'_>) -> Value {
    let entry = entries.remove(path).unwrap_or_default();
    let allowed = if entry.line == 0 || shape.table.is_some() && !shape.text {
        Allowed::default()
    } else {
        Allowed::of(entry.line, check)
    };
    let mut alternatives = alternatives(shape, &allowed, path, entries, check);
    let mut schema = match alternatives.len() {
        1 => alternatives.remove(0),
        _ => Map::from_iter([(
            "anyOf".to_owned(),
            Value::Array(alternatives.into_iter().map(Value::Object).collect()),
        )]),
    };
    if !entry.description.is_empty() {
        schema.insert("description".to_owned(), json!(entry.description));
    }
    if let Some(default) = entry.default {
        schema.insert("default".to_owned(), default);
    }
    Value::Object(schema)
}

/// A schema for each kind of value that a key accepts.
fn alternatives(
    shape: &Shape,
    allowed: &Allowed,
    path: &str,
    entries: &mut BTreeMap<String, Entry>,
    check: Check<'_>,
) -> Vec<Map<String, Value>> {
    let of_type = |name: &str| Map::from_iter([("type".to_owned(), json!(name))]);
    let mut all = Vec::new();
    if shape.boolean {
        all.push(of_type("boolean"));
    }
    if shape.text {
        let mut text = of_type("string");
        if !allowed.words.is_empty() {
            text.insert("enum".to_owned(), json!(allowed.words));
        }
        all.push(text);
    }
    if shape.integer {
        let mut integer = of_type("integer");
        if let Some([first, last]) = allowed.bounds {
            integer.insert("minimum".to_owned(), json!(first));
            integer.insert("maximum".to_owned(), json!(last));
        }
        all.push(integer);
    }
    if shape.table.is_some() {
        all.push(table(shape, &format!("{path}."), entries, check));
    }
    if let Some(values) = &shape.map {
        let mut map = of_type("object");
        map.insert("additionalProperties".to_owned(), property(values, "", entries, check));
        all.push(map);
    }
    if let Some(values) = &shape.array {
        let mut array = of_type("array");
        array.insert("items".to_owned(), property(values, path, entries, check));
        all.push(array);
    }
    all
}

/// The keywords and the bounds of a key.
#[derive(Debug, Default)]
struct Allowed {
    words: Vec<String>,
    bounds: Option<[i64; 2]>,
}

impl Allowed {
    /// What the messages for wrong values in a line of the reference allow.
    fn of(line: usize, check: Check<'_>) -> Self {
        let mut allowed = Self::default();
        for wrong in WRONG {
            for diagnostic in
                check(&with_value(line, wrong)).iter().filter(|diagnostic| diagnostic.line == line + 1)
            {
                if diagnostic.found.starts_with("unknown value") {
                    let words = diagnostic.allowed.split(", ").map(|word| word.trim_matches('"').to_owned());
                    allowed.words = words.collect();
                } else if diagnostic.found.ends_with("is out of range") {
                    allowed.bounds = bounds(&diagnostic.allowed);
                }
            }
        }
        allowed
    }
}

fn bounds(text: &str) -> Option<[i64; 2]> {
    let (first, last) = text.split_once(" to ")?;
    Some([first.parse().ok()?, last.parse().ok()?])
}

/// The reference with another value in a line. Of the commented-out keys, those of the same table are set.
fn with_value(line: usize, value: &str) -> String {
    let is_key = |text: &str| text.starts_with('#') && !text.starts_with("# ");
    let lines = REFERENCE.lines().enumerate().map(|(number, text)| {
        let text = if is_key(text) { text.trim_start_matches('#') } else { text };
        match text.split_once(" = ") {
            Some((key, _)) if number == line => format!("{key} = {value}\n"),
            _ => format!("{text}\n"),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::json_schema;
    use super::super::tests::{FakeHost, load_on};
    use super::*;

    #[test]
    fn keys_have_kinds_words_bounds_defaults_and_explanations() {
        let schema = json_schema(&FakeHost::new());
        let translator = &schema["properties"]["translator"]["properties"];
        let pairing = &translator["pairing"];
        assert_eq!(pairing["enum"], json!(["strict", "soft"]));
        assert_eq!(pairing["default"], "strict");
        let text = pairing["description"].as_str().expect("an explanation");
        assert!(text.starts_with("Address pooling when the ports"), "{text}");
        let workers = &schema["properties"]["host"]["properties"]["workers"];
        assert_eq!((&workers["minimum"], &workers["maximum"]), (&json!(1), &json!(64)));
        let kinds = |key: &Value| -> Vec<String> {
            let all = key["anyOf"].as_array().expect("several kinds").iter();
            all.map(|kind| kind["type"].as_str().expect("a type").to_owned()).collect()
        };
        assert_eq!(kinds(&translator["pool4"]), ["string", "object", "array"]);
        assert_eq!(kinds(&translator["tos"]), ["string", "integer"]);
        let zone = &schema["properties"]["zone"]["items"];
        assert_eq!(zone["required"], json!(["clients", "name"]));
        assert_eq!(zone["properties"]["dns64"]["properties"]["synthesize"]["enum"][0], "missing");
        assert_eq!(schema["required"], Value::Null);
        let port = &schema["properties"]["timers"]["properties"]["udp_ports"];
        assert_eq!(port["additionalProperties"]["type"], "string");
    }

    #[test]
    fn every_key_is_explained() {
        let mut entries = reference();
        let host = FakeHost::new();
        let check =
            |text: &str| load_on(text, &host).err().map(|error| error.diagnostics).unwrap_or_default();
        table(&Shape::of::<schema::File>(), "", &mut entries, &check);
        assert!(entries.is_empty(), "only in the reference: {:?}", entries.keys());
    }
}
