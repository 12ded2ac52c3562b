//! Errors and warnings about a configuration file: the position, what was found there, and what is allowed.

use std::fmt;
use std::ops::Range;

/// Whether a problem makes the file invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The file is invalid.
    Error,
    /// A probable mistake in a valid file.
    Warning,
}

/// An error or warning, by its byte range in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// Byte range in the file.
    pub(crate) at: Range<usize>,
    /// What was found.
    pub(crate) found: String,
    /// What is allowed, or the advice of a warning; empty if `found` implies it.
    pub(crate) allowed: String,
    /// Whether it makes the file invalid.
    pub(crate) severity: Severity,
}

impl Problem {
    /// An error.
    pub(crate) fn error(at: Range<usize>, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { at, found: found.into(), allowed: allowed.into(), severity: Severity::Error }
    }

    /// A warning.
    pub(crate) fn warning(at: Range<usize>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { at, found: found.into(), allowed: advice.into(), severity: Severity::Warning }
    }
}

/// An error or warning with its line, as it is displayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Path of the file as the operator gave it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What is allowed, or the advice of a warning; may be empty.
    pub allowed: String,
    /// Whether it makes the file invalid.
    pub severity: Severity,
    /// Text of the line.
    text: String,
    /// Number of carets below the line, at least 1.
    width: usize,
}

impl Diagnostic {
    pub(crate) fn new(file: &str, source: &str, problem: Problem) -> Self {
        let start = floor(source, problem.at.start);
        let end = floor(source, problem.at.end.max(start));
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let text = source[line_start..].lines().next().unwrap_or("");
        let marked = source[start..end].lines().next().unwrap_or("");
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            found: problem.found,
            allowed: problem.allowed,
            severity: problem.severity,
            text: text.to_owned(),
            width: marked.chars().count().max(1),
        }
    }
}

/// The last character boundary at or before byte `at`.
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
        // Tabs stay tabs, so that the carets are below the marked text.
        let indent = self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' });
        write!(f, " {gutter} | {}{}", indent.collect::<String>(), "^".repeat(self.width))?;
        if !self.allowed.is_empty() {
            let label = match self.severity {
                Severity::Error => "allowed",
                Severity::Warning => "advice",
            };
            write!(f, "\n {gutter} = {label}: {}", self.allowed)?;
        }
        Ok(())
    }
}

/// All errors of a file; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The errors, in the order of the file.
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
