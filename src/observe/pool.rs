//! Usage of pool4, as `gate64 pool` prints it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::table::Table;
use super::view::View;
use crate::addr::Proto;
use crate::translator::AddressUsage;
use crate::worker::PoolUsage;

/// Usage of pool4.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The addresses, sorted.
    pub addresses: Vec<AddressStatus>,
    /// The zones, in the order of the file.
    pub zones: Vec<ShareStatus>,
}

/// Usage of an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The address.
    pub address: Ipv4Addr,
    /// Ports and ICMP identifiers in pool4, in units of 16.
    pub ports: u32,
    /// Ports of assigned blocks.
    pub assigned: u32,
    /// Assigned blocks.
    pub blocks: u32,
    /// Those of them without a binding, which wait for the end of their quarantine.
    pub quarantined_blocks: u32,
    /// Hosts whose newest block is of this address.
    pub hosts: u32,
    /// Ports in use, by protocol.
    pub used: BTreeMap<String, u32>,
    /// Ports in quarantine, by protocol.
    pub quarantined: BTreeMap<String, u32>,
}

/// Share of a zone in its pool4.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShareStatus {
    /// Name of the zone.
    pub zone: String,
    /// Public IPv4 addresses with port ranges.
    pub pool4: Vec<String>,
    /// Ports of the pool.
    pub ports: u64,
    /// Ports of blocks assigned to the zone's hosts.
    pub assigned: u64,
    /// Percentage of the pool that the zone may use: `pool_share`.
    pub allowed_percent: u8,
    /// Assigned blocks.
    pub blocks: u64,
    /// Hosts with blocks.
    pub hosts: u64,
}

impl ShareStatus {
    /// Percentage of the pool that the zone uses.
    fn percent(&self) -> u64 {
        (self.assigned * 100).checked_div(self.ports).unwrap_or(0)
    }
}

impl PoolStatus {
    /// The present usage.
    pub(super) fn of(view: &View, usage: &PoolUsage) -> Self {
        let zones = view.shown().zones.into_iter().map(|zone| {
            let sum = |number: fn(&crate::counters::ZoneCounters) -> u64| view.sum(Some(zone.id), number);
            ShareStatus {
                ports: zone.pool4_ports,
                assigned: sum(|z| z.ports.read()),
                allowed_percent: zone.pool_share,
                blocks: sum(|z| z.blocks.read()),
                hosts: usage.hosts.get(usize::from(zone.id.0)).copied().unwrap_or(0),
                zone: zone.name,
                pool4: zone.pool4,
            }
        });
        Self { zones: zones.collect(), addresses: usage.addresses.iter().map(of_address).collect() }
    }
}

fn of_address(usage: &AddressUsage) -> AddressStatus {
    let by_protocol = |counts: [u32; 3]| {
        Proto::ALL.into_iter().map(|proto| (proto.name().to_owned(), counts[proto as usize])).collect()
    };
    AddressStatus {
        address: usage.addr,
        ports: usage.ports,
        assigned: usage.assigned,
        blocks: usage.blocks,
        quarantined_blocks: usage.empty_blocks,
        hosts: usage.hosts,
        used: by_protocol(usage.used),
        quarantined: by_protocol(usage.quarantined),
    }
}

impl fmt::Display for PoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols = |counts: &BTreeMap<String, u32>| {
            let each = Proto::ALL.map(|proto| counts.get(proto.name()).copied().unwrap_or(0).to_string());
            each.join("/")
        };
        let mut table = Table::new(&[
            "address",
            "ports",
            "assigned",
            "free",
            "blocks",
            "in quarantine",
            "hosts",
            "used tcp/udp/icmp",
            "in quarantine tcp/udp/icmp",
        ]);
        for row in &self.addresses {
            table.row(vec![
                row.address.to_string(),
                row.ports.to_string(),
                row.assigned.to_string(),
                row.ports.saturating_sub(row.assigned).to_string(),
                row.blocks.to_string(),
                row.quarantined_blocks.to_string(),
                row.hosts.to_string(),
                protocols(&row.used),
                protocols(&row.quarantined),
            ]);
        }
        write!(f, "{table}")?;
        let mut table = Table::new(&["zone", "assigned", "of pool4", "allowed", "blocks", "hosts", "pool4"]);
        for row in &self.zones {
            table.row(vec![
                row.zone.clone(),
                row.assigned.to_string(),
                format!("{} %", row.percent()),
                format!("{} %", row.allowed_percent),
                row.blocks.to_string(),
                row.hosts.to_string(),
                row.pool4.join(" "),
            ]);
        }
        write!(f, "\n{table}")
    }
}
