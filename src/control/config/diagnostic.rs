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
    let found = found.replacen("unknown field", "unknown key", 1).replacen("missing field", "missing key", 1);
    Complaint { at: error.span().unwrap_or(0..0), found, allowed: allowed.to_owned() }
}
