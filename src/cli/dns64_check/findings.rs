//! The results of the checks, and the table that shows them.

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CheckResult {
    /// Conforms.
    Good,
    /// The RFCs allow several behaviours.
    Open,
    /// Violates an RFC.
    Bad,
}

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    result: CheckResult,
    what: &'static str,
    /// What the server answered.
    seen: String,
    /// The RFC section that requires it.
    source: &'static str,
}

/// All results so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Records a check that the RFCs require, and what the server answered.
    pub(super) fn record_required(
        &mut self,
        what: &'static str,
        source: &'static str,
        good: bool,
        seen: impl Into<String>,
    ) {
        let result = if good { CheckResult::Good } else { CheckResult::Bad };
        self.0.push(Finding { result, what, seen: seen.into(), source });
    }

    /// Records behaviour that the RFCs leave open.
    pub(super) fn record_optional(
        &mut self,
        what: &'static str,
        source: &'static str,
        seen: impl Into<String>,
    ) {
        self.0.push(Finding { result: CheckResult::Open, what, seen: seen.into(), source });
    }

    pub(super) fn table(&self) -> String {
        let width = self.0.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
        let lines = self.0.iter().map(|Finding { result, what, seen, source }| {
            let word = match result {
                CheckResult::Good => "ok",
                CheckResult::Open => "--",
                CheckResult::Bad => "BAD",
            };
            format!("{word:<4} {what:<width$}  {seen}  [{source}]\n")
        });
        lines.collect()
    }

    /// Number of violated checks.
    pub(super) fn bad(&self) -> usize {
        self.0.iter().filter(|finding| finding.result == CheckResult::Bad).count()
    }

    /// Number of checks.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_failed_checks() {
        let mut findings = Findings::default();
        findings.record_required("one thing", "RFC 1", true, "fine");
        findings.record_required("another", "RFC 2", false, "broken");
        findings.record_optional("a third", "RFC 3", "so");
        assert_eq!(findings.bad(), 1);
        let table = findings.table();
        assert!(
            table.starts_with("ok   one thing  fine  [RFC 1]\nBAD  another    broken  [RFC 2]\n"),
            "{table}"
        );
    }
}
