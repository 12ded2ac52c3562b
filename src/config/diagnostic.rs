//! What is wrong in a configuration file, and where: file, line, column, the text that was found
//! and what is allowed instead.

use std::fmt;
use std::ops::Range;

/// A complaint about one place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Complaint {
    /// Byte range in the file.
    pub(crate) at: Range<usize>,
    /// What was found.
    pub(crate) found: String,
    /// What is allowed; empty if `found` says it all.
    pub(crate) allowed: String,
}

/// A complaint that knows its line: what a person is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The file as the operator named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What is allowed; may be empty.
    pub allowed: String,
    /// The line itself.
    text: String,
    /// How many characters the caret line marks, at least 1.
    width: usize,
}

impl Diagnostic {
    pub(crate) fn new(file: &str, source: &str, complaint: Complaint) -> Self {
        let start = floor(source, complaint.at.start);
        let end = floor(source, complaint.at.end.max(start));
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let text = source[line_start..].lines().next().unwrap_or("");
        let marked = source[start..end].lines().next().unwrap_or("");
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            found: complaint.found,
            allowed: complaint.allowed,
            text: text.to_owned(),
            width: marked.chars().count().max(1),
        }
    }
}

/// The last character boundary at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.found)?;
        writeln!(f, " {number} | {}", self.text)?;
        // Tabs are kept so that the caret stands below what it points at.
        let indent = self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' });
        write!(f, " {gutter} | {}{}", indent.collect::<String>(), "^".repeat(self.width))?;
        if !self.allowed.is_empty() {
            write!(f, "\n {gutter} = allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a file. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The complaints, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.diagnostics.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Turns what the TOML reader says into "found" and "allowed".
pub(crate) fn from_toml(error: &toml::de::Error) -> Complaint {
    let message = error.message();
    let (found, allowed) = match message.split_once(", expected ") {
        Some((found, allowed)) => (found, allowed.trim_start_matches("one of ")),
        None => (message, ""),
    };
    let at = error.span().unwrap_or(0..0);
    let complaint = |found: String, allowed: String| Complaint { at: at.clone(), found, allowed };
    if let Some(key) = quoted(found, "unknown field ") {
        let near = allowed.split('`').skip(1).step_by(2).find(|known| is_near(key, known));
        return match near {
            Some(near) => complaint(
                format!("unknown key `{key}`; did you mean `{near}`?"),
                format!("`{near}`, or another key that reference.toml has here"),
            ),
            None => complaint(format!("unknown key `{key}`"), allowed.to_owned()),
        };
    }
    if let Some(key) = quoted(found, "missing field ") {
        return complaint(format!("the key `{key}` is missing"), format!("a table with `{key} = …`"));
    }
    if let Some(found) = found.strip_prefix("invalid type: ") {
        return complaint(kind_found(found), kind_allowed(allowed).to_owned());
    }
    let (found, allowed) = syntax(found, allowed);
    complaint(found.to_owned(), allowed.to_owned())
}

/// What the reader says of the commonest slips, as an operator would.
fn syntax<'a>(found: &'a str, allowed: &'a str) -> (&'a str, &'a str) {
    match found {
        "duplicate key" => ("this is said a second time", "each key and each table once"),
        "string values must be quoted" => {
            ("this is no value", "a text in quotes, a number, true or false, a list or a table")
        }
        "missing comma between array elements" => ("the list goes on without a comma", "`,` or `]`"),
        "invalid basic string" => ("a text without its end", "a quote at its end, on the same line"),
        _ if allowed.is_empty() => (found, "a file in TOML (toml.io)"),
        _ => (found, allowed),
    }
}

/// The word in backticks behind `prefix`, with which the text begins.
fn quoted<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// Whether one key is the other with a letter or two put wrong.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same_start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let left = a.len().max(b.len()) - same_end;
    left <= 2 && same_start + same_end > left
}

/// What serde calls a kind of value, as an operator would.
fn kind_found(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    let value = value.trim_matches('`');
    match kind {
        "string" => format!("{value} is a text"),
        "integer" => format!("{value} is a number"),
        "floating" => format!("{} is not a whole number", value.trim_start_matches("point `")),
        "boolean" => format!("{value} is neither text nor number"),
        "sequence" => "this is a list".to_owned(),
        "map" => "this is a table".to_owned(),
        _ => format!("this is a {found}"),
    }
}

/// The same of what is allowed.
fn kind_allowed(allowed: &str) -> &str {
    match allowed {
        "i64" => "a whole number, without quotes",
        "a boolean" => "true or false, without quotes",
        "a string" => "a text in quotes",
        "a sequence" => "a list of tables: [[…]] instead of […]",
        _ if allowed.starts_with("struct ") => "a table",
        other => other,
    }
}
