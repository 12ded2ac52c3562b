//! The verdict on a zone: whether it could do without NAT64.

use serde::Serialize;

use crate::observe::ledger::read::ZoneEvidence;

/// Share of native queries from which on a zone is nearly ready, in percent.
const NEARLY: f64 = 95.0;

/// Whether a zone could do without NAT64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// There are no entries.
    NoData,
    /// No session was translated.
    Ready,
    /// At least 95 % of the queries are for names with native IPv6.
    Nearly,
    /// Less.
    NotYet,
}

impl Verdict {
    pub(super) fn of(zone: &ZoneEvidence) -> Self {
        match zone.queries.native_percent() {
            None if zone.translated.sessions == 0 => Self::NoData,
            Some(_) if zone.translated.sessions == 0 => Self::Ready,
            Some(native) if native >= NEARLY => Self::Nearly,
            Some(_) | None => Self::NotYet,
        }
    }

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::NoData => "none",
            Self::Ready => "ready",
            Self::Nearly => "nearly",
            Self::NotYet => "notyet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures::evidence;
    use crate::observe::ledger::read::{Support, Translated};

    #[test]
    fn verdicts_follow_sessions_and_queries() {
        let of = |sessions, native, ipv4_only| {
            let queries = Support { native, ipv4_only, broken_aaaa: 0 };
            Verdict::of(&ZoneEvidence {
                queries,
                translated: Translated { sessions, ..Translated::default() },
                ..evidence()
            })
        };
        assert_eq!(of(0, 0, 0), Verdict::NoData);
        assert_eq!(of(0, 1, 9), Verdict::Ready);
        assert_eq!(of(1, 95, 5), Verdict::Nearly);
        assert_eq!(of(1, 94, 6), Verdict::NotYet);
        assert_eq!(of(1, 0, 0), Verdict::NotYet);
    }
}
