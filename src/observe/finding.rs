//! Findings of `gate64 check` and `gate64 doctor`: what is right or wrong, and what mends it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How serious a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// As it should be.
    Ok,
    /// It works in part, or may fail later.
    Warning,
    /// The gateway does not work, or would not start.
    Error,
}

impl Rating {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// How serious it is.
    pub rating: Rating,
    /// What was examined: `memory`, `firewall` and so on.
    pub part: String,
    /// The finding, as text.
    pub finding: String,
    /// The command or key that mends it; empty if there is nothing to mend or the finding names it.
    pub remedy: String,
}

impl Finding {
    /// All is well.
    pub fn ok(part: &str, finding: impl Into<String>) -> Self {
        Self::new(Rating::Ok, part, finding, "")
    }

    /// A warning.
    pub fn warning(part: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Rating::Warning, part, finding, remedy)
    }

    /// An error.
    pub fn error(part: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Rating::Error, part, finding, remedy)
    }

    fn new(rating: Rating, part: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { rating, part: part.to_owned(), finding: finding.into(), remedy: remedy.into() }
    }
}

/// The worst rating; [`Rating::Ok`] without findings.
pub fn worst(findings: &[Finding]) -> Rating {
    findings.iter().map(|finding| finding.rating).max().unwrap_or(Rating::Ok)
}

/// Width of the first column: the longest rating.
const RATING: usize = "warning".len();

/// Findings as a table, remedies below their findings.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a>(pub &'a [Finding]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.part.len()).max().unwrap_or(0);
        for Finding { rating, part, finding, remedy } in self.0 {
            writeln!(f, "{:<RATING$}  {part:<width$}  {finding}", rating.name())?;
            if !remedy.is_empty() {
                writeln!(f, "{:RATING$}  {:width$}  to do: {remedy}", "", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_are_below_their_findings() {
        let findings = [
            Finding::ok("memory", "enough"),
            Finding::warning("upstreams", "198.51.100.53:53 does not answer", "check its address"),
        ];
        let want = "\
ok       memory     enough
warning  upstreams  198.51.100.53:53 does not answer
                    to do: check its address
";
        assert_eq!(Findings(&findings).to_string(), want);
        assert_eq!((worst(&findings), worst(&[])), (Rating::Warning, Rating::Ok));
    }
}
