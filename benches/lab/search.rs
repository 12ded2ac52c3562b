//! The highest rate that a gateway passes on.

use gate64::lab::LabError;

use crate::bed::Bed;
use crate::packets::tester::Side;
use crate::traffic::{Flows, Load};

/// The search ends when what passes and what does not are no further apart.
const CLOSE: f64 = 1.05;
/// Trials of one search.
const MOST: usize = 16;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wanted {
    pub(crate) from: Side,
    /// The part that may be lost, 0 to 1.
    pub(crate) loss: f64,
    /// Where to begin, in packets a second, and by what factor to go on.
    pub(crate) guess: f64,
    pub(crate) step: f64,
    /// Length of a trial.
    pub(crate) seconds: f64,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Found {
    /// Packets a second.
    pub(crate) rate: f64,
    /// The tester could do no more.
    pub(crate) limited: bool,
}

/// Looks for the highest rate at which no more is lost than allowed. A rate at which too much is lost
/// is tried again before it counts: on a small machine anybody loses packets now and then.
pub(crate) fn highest(bed: &mut Bed, flows: &Flows, wanted: Wanted) -> Result<Found, LabError> {
    let Wanted { from, loss, guess, step, seconds } = wanted;
    let (mut passes, mut fails) = (0.0, f64::INFINITY);
    let mut rate = guess;
    for _ in 0..MOST {
        let load = Load { from, rate, seconds, stamped: false };
        let mut count = bed.load(flows, load)?;
        if count.loss() > loss && !count.limited {
            count = bed.load(flows, load)?;
        }
        if count.limited {
            let sent = count.sent as f64 / seconds;
            let reached = if count.loss() <= loss { sent } else { passes };
            return Ok(Found { rate: reached.max(passes), limited: true });
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
            (false, _) => fails / step,
        };
    }
    Ok(Found { rate: passes, limited: false })
}
