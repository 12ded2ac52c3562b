//! Rates of new sessions of whole zones.

use crate::addr::ZoneId;
use crate::nat64::Rate;
use crate::time::Instant;
use crate::xlat::Bucket;

/// One worker's part of the limits on new sessions of zones. Each worker has an equal part.
#[derive(Debug, Default)]
pub(in crate::nat64) struct ZoneRates {
    buckets: Vec<(ZoneId, Bucket)>,
}

impl ZoneRates {
    /// Has a bucket for each of these zones. Zones that had one keep it.
    pub(in crate::nat64) fn set_zones(&mut self, zones: impl Iterator<Item = ZoneId>) {
        let old = core::mem::take(&mut self.buckets);
        let bucket = |id| old.iter().find(|(of, _)| *of == id).map_or(Bucket::new(), |(_, bucket)| *bucket);
        self.buckets = zones.map(|id| (id, bucket(id))).collect();
    }

    /// Counts one more session of a zone. Returns false if the rate is reached.
    pub(in crate::nat64) fn take(&mut self, now: Instant, zone: ZoneId, rate: Rate, workers: u8) -> bool {
        let bucket = self.buckets.iter_mut().find(|(of, _)| *of == zone);
        rate.per_second == 0
            || bucket.is_none_or(|(_, bucket)| bucket.take_part(now, rate.per_second, rate.burst, workers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_rate_of_a_zone_which_a_reload_does_not_refill() {
        let mut rates = ZoneRates::default();
        let rate = Rate { per_second: 8, burst: 20 };
        rates.set_zones([ZoneId(3), ZoneId(4)].into_iter());
        let taken = |rates: &mut ZoneRates, zone: u16, ms: u64| {
            (0..100).filter(|_| rates.take(Instant::from_millis(ms), ZoneId(zone), rate, 4)).count()
        };
        assert_eq!(taken(&mut rates, 3, 1_000), 5);
        rates.set_zones([ZoneId(4), ZoneId(3)].into_iter());
        assert_eq!(taken(&mut rates, 3, 1_000), 0);
        assert_eq!(taken(&mut rates, 3, 1_500), 1);
        assert_eq!(taken(&mut rates, 4, 1_500), 5);
        let none = Rate { per_second: 0, burst: 0 };
        assert!(rates.take(Instant::from_millis(1_500), ZoneId(4), none, 4));
    }
}
