//! The highest rate that a gateway bears.

use gate64::lab::LabError;

use crate::packets::tester::Count;

/// The search ends when what passes and what does not are no further apart.
const CLOSE: f64 = 1.05;
/// Packets a second; who loses too much here too loses whatever is sent, and trials of so many flows
/// would take for ever.
const LEAST: f64 = 1_000.0;
/// Trials of one search.
const MOST: usize = 16;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wanted {
    /// The part that may be lost, 0 to 1.
    pub(crate) loss: f64,
    /// Where to begin, in packets a second, and by what factor to go on.
    pub(crate) guess: f64,
    pub(crate) step: f64,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Found {
    /// Packets a second.
    pub(crate) rate: f64,
    /// The tester could do no more.
    pub(crate) limited: bool,
}

impl Wanted {
    /// With a rate known from before, if there is one.
    pub(crate) fn new(loss: f64, known: Option<f64>) -> Self {
        match known {
            Some(rate) => Self { loss, guess: rate, step: 1.15 },
            None => Self { loss, guess: 60_000.0, step: 1.6 },
        }
    }

    /// Looks for the highest rate at which no more is lost than allowed; `trial` tries one. A rate at
    /// which too much is lost is tried again before it counts: on a small machine anybody loses
    /// packets now and then.
    pub(crate) fn highest(
        self,
        mut trial: impl FnMut(f64) -> Result<Count, LabError>,
    ) -> Result<Found, LabError> {
        let Self { loss, guess, step } = self;
        let (mut passes, mut fails) = (0.0f64, f64::INFINITY);
        let mut rate = guess;
        for _ in 0..MOST {
            let mut count = trial(rate)?;
            if count.loss() > loss && !count.limited {
                count = trial(rate)?;
            }
            if count.limited && count.loss() <= loss {
                return Ok(Found { rate: passes.max(rate * count.kept), limited: true });
            }
            if count.loss() <= loss {
                passes = rate;
            } else {
                fails = rate;
            }
            rate = match (passes > 0.0, fails.is_finite()) {
                (true, true) if fails / passes < CLOSE => break,
                (true, true) => (passes * fails).sqrt(),
                (true, false) => passes * step,
                (false, _) if fails <= LEAST => break,
                (false, _) => fails / step,
            };
        }
        Ok(Found { rate: passes, limited: false })
    }
}
