//! What the gateway has repaired on its host, and what is wrong with it.

use std::collections::VecDeque;

use tokio::time::Instant;

named_enum! {
    /// A part of the host that the gateway keeps as configured.
    pub enum Part {
        /// State of the device.
        Device = "device",
        /// Routes to the device.
        Route = "route",
        /// Unreachable routes, which stand in for a stopped gateway.
        UnreachableRoute = "unreachable_route",
        /// Addresses of DNS64.
        Address = "address",
        /// Addresses for which the kernel answers ARP.
        Proxy = "proxy",
        /// Kernel settings.
        Sysctl = "sysctl",
        /// The nftables table.
        Nftables = "nftables",
    }
}

/// A repair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// When it was made.
    pub at: Instant,
    /// What was missing, as text.
    pub what: String,
}

/// State of the host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostReport {
    /// Number of repairs, by part.
    pub repairs: [u64; Part::COUNT],
    /// The last repairs, the oldest first.
    pub last: VecDeque<Repair>,
    /// What is wrong and not repaired, as text.
    pub problems: Vec<String>,
}
