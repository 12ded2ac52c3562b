//! Distribution of an upstream's response times.

use std::time::Duration;

/// Number of samples kept.
const SAMPLES: usize = 64;
/// Samples between two computations of the percentile.
const INTERVAL: usize = 16;

/// The last response times, and their 95th percentile.
#[derive(Clone, Debug)]
pub(super) struct ResponseTimes {
    /// In microseconds.
    samples: [u32; SAMPLES],
    /// Number of samples ever added.
    count: usize,
    p95: Option<Duration>,
}

impl Default for ResponseTimes {
    fn default() -> Self {
        Self { samples: [0; SAMPLES], count: 0, p95: None }
    }
}

impl ResponseTimes {
    pub(super) fn add(&mut self, time: Duration) {
        self.samples[self.count % SAMPLES] = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.count = self.count.wrapping_add(1);
        if self.count >= SAMPLES / 2 && self.count.is_multiple_of(INTERVAL) {
            let mut sorted = self.samples;
            let known = &mut sorted[..self.count.min(SAMPLES)];
            known.sort_unstable();
            self.p95 = Some(Duration::from_micros(known[known.len() * 95 / 100].into()));
        }
    }

    /// The 95th percentile; `None` until there are enough samples.
    pub(super) const fn p95(&self) -> Option<Duration> {
        self.p95
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_follows_the_last_samples() {
        let mut times = ResponseTimes::default();
        for sample in 0..31 {
            times.add(Duration::from_millis(sample));
            assert_eq!(times.p95(), None, "too few samples");
        }
        // One in eight is slow: the percentile is that of a slow one.
        for sample in 0..200 {
            times.add(Duration::from_millis(if sample % 8 == 0 { 500 } else { 10 }));
        }
        assert_eq!(times.p95(), Some(Duration::from_millis(500)));
        // One in 64 is slow.
        for sample in 0..200 {
            times.add(Duration::from_millis(if sample % 64 == 0 { 500 } else { 10 }));
        }
        assert_eq!(times.p95(), Some(Duration::from_millis(10)));
    }
}
