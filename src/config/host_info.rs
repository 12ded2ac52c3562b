//! Facts about this host that the configuration depends on.

use std::net::IpAddr;

/// An address of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnAddress {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length of the subnet.
    pub len: u8,
}

/// Facts about the host with which a configuration is validated and completed.
pub trait HostInfo {
    /// Addresses of all interfaces except the translator's device.
    fn addresses(&self) -> &[OwnAddress];
    /// Destinations of local routes, with their lengths: this host receives packets to them.
    fn local_routes(&self) -> &[(IpAddr, u8)] {
        &[]
    }
    /// Source address that the kernel selects for destination `to`; `None` without a route.
    fn source_towards(&self, to: IpAddr) -> Option<IpAddr>;
    /// Number of usable CPUs, at least 1.
    fn cpus(&self) -> usize;
}
