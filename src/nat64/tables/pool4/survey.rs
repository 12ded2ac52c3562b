//! Usage of pool4 by address and zone, counted in steps.

use core::net::Ipv4Addr;

use super::Pool4;
use crate::addr::ZoneId;

/// Usage of an address of pool4, as far as one worker owns its port ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressUsage {
    /// The address.
    pub addr: Ipv4Addr,
    /// Ports in pool4, in units of 16.
    pub ports: u32,
    /// Ports of assigned blocks.
    pub assigned: u32,
    /// Assigned blocks.
    pub blocks: u32,
    /// Those of them without a binding, which wait for the end of their quarantine.
    pub empty_blocks: u32,
    /// Hosts whose newest block is of this address.
    pub hosts: u32,
    /// Ports in use by protocol, without those in quarantine.
    pub used: [u32; 3],
    /// Ports in quarantine by protocol.
    pub quarantined: [u32; 3],
}

/// A survey of pool4 in progress. Start with the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolSurvey {
    next: u32,
    /// Usage by address.
    pub addresses: Vec<AddressUsage>,
    /// Hosts by number of their zone.
    pub hosts: Vec<u32>,
}

impl Pool4 {
    /// Counts at most `budget` more blocks; returns whether the survey is complete. Allocates at the first call.
    pub(in crate::nat64) fn survey(&self, survey: &mut PoolSurvey, budget: u32) -> bool {
        if survey.next == 0 {
            survey.addresses = (0..self.cells.rows.len()).map(|row| self.unused(row)).collect();
            let zones = self.config.zones.iter().map(|zone| usize::from(zone.id.0) + 1);
            survey.hosts = vec![0; zones.max().unwrap_or(0)];
        }
        let end = self.blocks.end();
        let last = survey.next.saturating_add(budget).min(end);
        for slot in survey.next..last {
            self.count_usage(survey, slot);
        }
        survey.next = last;
        last == end
    }

    fn unused(&self, row: usize) -> AddressUsage {
        AddressUsage {
            addr: self.addr_of(row),
            ports: self.cells.rows[row].ports(),
            assigned: 0,
            blocks: 0,
            empty_blocks: 0,
            hosts: 0,
            used: [0; 3],
            quarantined: [0; 3],
        }
    }

    fn count_usage(&self, survey: &mut PoolSurvey, slot: u32) {
        let Some(block) = self.blocks.get(slot) else { return };
        let is_newest = self.hosts.host(block.host).first_block == slot;
        let ZoneId(zone) = self.blocks.summary(slot).zone;
        if is_newest && let Some(hosts) = survey.hosts.get_mut(usize::from(zone)) {
            *hosts += 1;
        }
        // A withdrawn address has no row.
        let Some(usage) = survey.addresses.get_mut(self.row_of_block(slot) as usize) else { return };
        let (used, quarantined) = block.ports_in_use();
        usage.assigned += block.ports().count();
        usage.blocks += 1;
        usage.empty_blocks += u32::from(block.is_empty());
        usage.hosts += u32::from(is_newest);
        for proto in 0..3 {
            usage.used[proto] += used[proto];
            usage.quarantined[proto] += quarantined[proto];
        }
    }
}
