//! Surveys of the workers' tables. A worker makes them in steps between two batches, so that packets do not wait.

use tokio::sync::oneshot;

use crate::time::Instant;
use crate::translator::{PoolSurvey, ReloadSurvey, Translator};

/// Table entries per step: about as long as a batch takes.
const STEP: u32 = 512;

/// Surveys that a worker makes at the same time. Further ones are refused.
const MAX: usize = 8;

/// A survey in progress, and who waits for it.
pub(super) enum Survey {
    /// Usage of pool4.
    Pool(PoolSurvey, oneshot::Sender<PoolSurvey>),
    /// What new settings would end.
    Reload(Box<ReloadSurvey>, oneshot::Sender<Box<ReloadSurvey>>),
}

/// The surveys that one worker makes.
#[derive(Default)]
pub(super) struct Surveys(Vec<Survey>);

impl Surveys {
    /// Begins a survey; drops it if there are too many.
    pub(super) fn begin(&mut self, survey: Survey) {
        if self.0.len() < MAX {
            self.0.push(survey);
        }
    }

    /// Ends all surveys: the tables have changed.
    pub(super) fn cancel(&mut self) {
        self.0.clear();
    }

    /// Makes one step of the newest survey. Returns whether there is more to do.
    pub(super) fn step(&mut self, now: Instant, translator: &Translator) -> bool {
        let Some(survey) = self.0.last_mut() else { return false };
        let is_complete = match survey {
            Survey::Pool(survey, _) => translator.survey_pool(survey, STEP),
            Survey::Reload(survey, _) => translator.survey_reload(now, survey, STEP),
        };
        if is_complete {
            // The receiver may no longer wait.
            match self.0.pop() {
                Some(Survey::Pool(survey, done)) => drop(done.send(survey)),
                Some(Survey::Reload(survey, done)) => drop(done.send(survey)),
                None => {}
            }
        }
        !self.0.is_empty()
    }
}
