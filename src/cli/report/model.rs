//! What a report contains.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::phrases::Language;
use super::programme::{Programme, Progress};
use super::verdict::Verdict;
use crate::observe::ledger::read::ZoneEvidence;

/// Seconds a day.
pub(super) const DAY: i64 = 86_400;

/// A report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) from: Date,
    pub(super) to: Date,
    pub(super) zones: Vec<ZoneReport>,
    #[serde(skip)]
    pub(super) language: Language,
    #[serde(skip)]
    pub(super) own: Vec<String>,
}

/// A zone in a report.
#[derive(Debug, Serialize)]
pub(super) struct ZoneReport {
    pub(super) verdict: Verdict,
    pub(super) progress: Option<Progress>,
    #[serde(flatten)]
    pub(super) evidence: ZoneEvidence,
}

impl ZoneReport {
    /// Judges the evidence of a zone, on a day.
    ///
    /// # Errors
    /// The zone's programme is missing or invalid.
    pub(super) fn new(day: Date, evidence: ZoneEvidence) -> Result<Self, String> {
        let programme = evidence.programme.as_deref().map(Programme::load).transpose()?;
        let progress = programme.and_then(|programme| programme.progress(day, &evidence));
        Ok(Self { verdict: Verdict::of(&evidence), progress, evidence })
    }
}

/// The date of a number of days since 1970.
pub(super) fn date(day: u64) -> Date {
    let seconds = i64::try_from(day).unwrap_or(0).saturating_mul(DAY);
    Timestamp::from_second(seconds).unwrap_or_default().to_zoned_datetime(TimeZone::UTC).date()
}
