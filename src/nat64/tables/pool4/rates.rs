//! Rates of new sessions, and of the reports about refusals.

use super::Pool4;
use crate::addr::{HostKey, ZoneId};
use crate::nat64::Rate;
use crate::reason::Reason;
use crate::time::Instant;

/// When reports that concern no host with blocks were last pushed: the second, plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastReports {
    /// Of [`PoolExhausted`](crate::nat64::Event::PoolExhausted).
    exhaustion: u32,
    /// Of [`QuotaReached`](crate::nat64::Event::QuotaReached).
    refusal: u32,
}

impl Pool4 {
    /// Counts one more session that a host opens: against its own rate, if `slot` says that it holds blocks, and
    /// against the rate of its zone.
    ///
    /// # Errors
    /// [`Reason::SessionRate`], [`Reason::ZoneSessionRate`]
    pub(in crate::nat64) fn charge_session(
        &mut self,
        now: Instant,
        zone: ZoneId,
        slot: Option<u32>,
        (of_host, of_zone): (Rate, Rate),
    ) -> Result<(), Reason> {
        if let Some(slot) = slot
            && of_host.per_second > 0
            && !self.hosts.host_mut(slot).new_sessions.take(now, of_host.per_second, of_host.burst)
        {
            return Err(Reason::SessionRate);
        }
        if self.zone_rates.take(now, zone, of_zone, self.config.owners.workers()) {
            return Ok(());
        }
        Err(Reason::ZoneSessionRate)
    }

    /// Second, plus one, of the last report that a new one follows at the earliest one second later. `None` if
    /// refusals of this host for this reason are not reported.
    pub(in crate::nat64) fn last_report(&mut self, host: HostKey, reason: Reason) -> Option<&mut u32> {
        if reason == Reason::PoolExhausted {
            return Some(&mut self.last_reports.exhaustion);
        }
        match self.hosts.find(host) {
            Some(slot) => Some(&mut self.hosts.host_mut(slot).last_report),
            None if matches!(reason, Reason::PoolShare | Reason::NewHostRate | Reason::ZoneSessionRate) => {
                Some(&mut self.last_reports.refusal)
            }
            None => None,
        }
    }
}
