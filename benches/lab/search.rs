//! Searches the highest rate that a gateway can forward.

use gate64::lab::LabError;

use crate::packets::tester::Count;

/// The search ends when the ratio of failing to passing rate is below this.
const CLOSE: f64 = 1.05;
/// Lowest rate in packets per second. A gateway that fails here fails at any rate.
const MIN_RATE: f64 = 1_000.0;
/// Maximum number of trials per search.
const MAX_TRIALS: usize = 16;

/// Parameters of a search.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wanted {
    /// Acceptable loss ratio, 0 to 1.
    pub(crate) loss: f64,
    /// First rate in packets per second, and the factor between rates.
    pub(crate) guess: f64,
    pub(crate) step: f64,
}

/// Result of a search.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Found {
    /// Packets per second.
    pub(crate) rate: f64,
    /// The tester was the limit.
    pub(crate) limited: bool,
}

impl Wanted {
    /// A search that starts at the rate of an earlier round, if known.
    pub(crate) fn new(loss: f64, known: Option<f64>) -> Self {
        match known {
            Some(rate) => Self { loss, guess: rate, step: 1.15 },
            None => Self { loss, guess: 60_000.0, step: 1.6 },
        }
    }

    /// Searches the highest rate with acceptable loss; `trial` runs one trial. Repeats a failed trial
    /// once, since any gateway loses packets now and then on a small machine.
    pub(crate) fn highest(
        self,
        mut trial: impl FnMut(f64) -> Result<Count, LabError>,
    ) -> Result<Found, LabError> {
        let Self { loss, guess, step } = self;
        let (mut passes, mut fails) = (0.0f64, f64::INFINITY);
        let mut rate = guess;
        for _ in 0..MAX_TRIALS {
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
                (false, _) if fails <= MIN_RATE => break,
                (false, _) => fails / step,
            };
        }
        Ok(Found { rate: passes, limited: false })
    }
}
