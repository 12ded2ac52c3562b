//! Targets of national programmes, as data: `configs/programmes/*.toml`.

use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::phrases::Language;
use crate::observe::ledger::read::{ZoneEvidence, percent};

/// Directory of programmes besides the built-in ones.
const DIRECTORY: &str = "/etc/gate64/programmes";
/// The built-in programmes.
const BUILT_IN: [(&str, &str); 3] = [
    ("vn-3369", include_str!("../../../configs/programmes/vn-3369.toml")),
    ("us-omb-m-21-07", include_str!("../../../configs/programmes/us-omb-m-21-07.toml")),
    ("cz-2032", include_str!("../../../configs/programmes/cz-2032.toml")),
];

/// A text in both languages.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    en: String,
    vi: String,
}

impl Texts {
    pub(super) fn text(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Vi => &self.vi,
        }
    }
}

/// What a target measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Metric {
    /// Share of queried names with AAAA records.
    Names,
    /// Share of queries that are for such names.
    Queries,
    /// Share of hosts that use addresses from DNS64 only.
    Hosts,
}

/// A phase of a programme.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phase {
    from: Date,
    pub(super) due: Date,
    pub(super) text: Texts,
    /// What the target measures; without one the phase has no target that the ledger knows.
    pub(super) metric: Option<Metric>,
    /// The target.
    pub(super) percent: Option<f64>,
}

/// A programme.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Programme {
    pub(super) title: Texts,
    pub(super) source: String,
    phase: Vec<Phase>,
}

/// A zone compared with the phase that is due.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Progress {
    pub(super) title: Texts,
    pub(super) source: String,
    pub(super) phase: Phase,
    /// The metric of the zone; `None` without a metric or without data.
    pub(super) reached_percent: Option<f64>,
}

impl Programme {
    /// Loads the file of a programme, or a built-in one.
    ///
    /// # Errors
    /// There is no such programme, or its file is invalid.
    pub(super) fn load(name: &str) -> Result<Self, String> {
        let path = Path::new(DIRECTORY).join(format!("{name}.toml"));
        let text = match (std::fs::read_to_string(&path), BUILT_IN.iter().find(|(id, _)| *id == name)) {
            (Ok(text), _) => text,
            (Err(_), Some((_, text))) => (*text).to_owned(),
            (Err(why), None) => return Err(format!("programme {name}: {}: {why}", path.display())),
        };
        let programme: Self = toml::from_str(&text).map_err(|why| format!("programme {name}: {why}"))?;
        match programme.phase.is_empty() {
            true => Err(format!("programme {name}: it has no phase")),
            false => Ok(programme),
        }
    }

    /// Compares a zone with the phase of a day: the first one that is not over, otherwise the last one.
    pub(super) fn progress(self, today: Date, zone: &ZoneEvidence) -> Option<Progress> {
        let current =
            self.phase.iter().find(|phase| today <= phase.due).or_else(|| self.phase.last())?.clone();
        let reached_percent = current.metric.and_then(|metric| match metric {
            Metric::Names => zone.names.native_percent(),
            Metric::Queries => zone.queries.native_percent(),
            Metric::Hosts => percent(zone.hosts.dns64_only, zone.hosts.total()),
        });
        Some(Progress { title: self.title, source: self.source, phase: current, reached_percent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures::evidence;

    #[test]
    fn built_in_programmes_are_valid_and_in_order() {
        for (name, text) in BUILT_IN {
            let programme: Programme = toml::from_str(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!programme.phase.is_empty(), "{name}");
            assert!(programme.phase.iter().all(|phase| phase.from < phase.due), "{name}");
            assert!(programme.phase.windows(2).all(|pair| pair[0].due < pair[1].due), "{name}");
            assert!(
                programme.phase.iter().all(|phase| phase.metric.is_some() == phase.percent.is_some()),
                "{name}"
            );
        }
        assert!(Programme::load("nowhere").expect_err("unknown").starts_with("programme nowhere: /etc/"));
    }

    #[test]
    fn the_phase_that_is_due_applies() {
        let zone = evidence();
        let on = |day: &str| {
            let programme = Programme::load("vn-3369").expect("built in");
            let progress = programme.progress(day.parse().expect("a day"), &zone).expect("a phase");
            (progress.phase.percent, progress.reached_percent)
        };
        assert_eq!(on("2026-11-29"), (None, None));
        assert_eq!(on("2028-12-31"), (Some(80.0), Some(75.0)));
        assert_eq!(on("2029-01-01"), (Some(90.0), Some(75.0)));
        assert_eq!(on("2040-01-01"), (Some(90.0), Some(75.0)));
    }
}
