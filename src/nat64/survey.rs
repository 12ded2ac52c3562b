//! Surveys: what the tables contain and what new settings would end, counted in steps between batches.

use super::policy::Policy;
use super::reload::{Ending, New};
use super::tables::statics::Statics;
use super::{Nat64, PoolSurvey, Settings};
use crate::time::Instant;
use crate::xlat::RewriteRules;

/// A survey of what new settings would end, in progress.
#[derive(Debug)]
pub struct ReloadSurvey {
    settings: Settings,
    rules: RewriteRules,
    /// The new policy and static bindings, since the first step.
    built: Option<Box<(Policy, Statics)>>,
    next_session: u32,
    next_binding: u32,
    /// Sessions that would end, by [`Ending`].
    pub sessions: [u64; Ending::COUNT],
    /// Bindings that would end, by [`Ending`], without those in quarantine.
    pub bindings: [u64; Ending::COUNT],
}

impl ReloadSurvey {
    /// A survey of what these settings would end.
    pub const fn new(rules: RewriteRules, settings: Settings) -> Self {
        Self {
            settings,
            rules,
            built: None,
            next_session: 0,
            next_binding: 0,
            sessions: [0; Ending::COUNT],
            bindings: [0; Ending::COUNT],
        }
    }
}

impl Nat64 {
    /// Counts the usage of at most `budget` more port blocks; returns whether the survey is complete.
    pub fn survey_pool(&self, survey: &mut PoolSurvey, budget: u32) -> bool {
        self.pool4.survey(survey, budget)
    }

    /// Visits at most `budget` more sessions and bindings; returns whether the survey is complete. Changes nothing.
    pub fn survey_reload(&self, now: Instant, survey: &mut ReloadSurvey, budget: u32) -> bool {
        let ReloadSurvey { settings, rules, built, next_session, next_binding, sessions, bindings } = survey;
        let (policy, statics) = &**built.get_or_insert_with(|| {
            let policy = Policy::new(*rules, settings, Some(&self.policy));
            Box::new((policy, Statics::new(&settings.statics)))
        });
        let new = New { zones: &policy.zones, pools: &settings.pools, statics };
        let last = next_session.saturating_add(budget).min(self.sessions.end());
        for slot in *next_session..last {
            if let Some(session) = self.sessions.get(slot).filter(|session| !session.is_expired(now))
                && let Some(ending) = self.ending(session, &new)
            {
                sessions[ending as usize] += 1;
            }
        }
        *next_session = last;
        let last = next_binding.saturating_add(budget).min(self.bib.end());
        for slot in *next_binding..last {
            if self.bib.get(slot).is_some_and(|binding| !binding.is_quarantined())
                && let Some(ending) = self.ending_of_binding(slot, &new)
            {
                bindings[ending as usize] += 1;
            }
        }
        *next_binding = last;
        *next_session >= self.sessions.end() && *next_binding >= self.bib.end()
    }
}
