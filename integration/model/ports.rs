//! The ports that a new binding may get (RFC 6146 §3.5.1.1, RFC 4787 REQ-2 to REQ-4, RFC 6888, RFC 7857 §9),
//! in port blocks of 16 below 1024 and 256 above, as explicit sets.

use std::net::Ipv4Addr;

use gate64::addr::Proto;
use gate64::addr::{PortRange, Transport4, Transport6};
use gate64::reason::Reason;
use gate64::time::Instant;

use super::address::Host;

/// A port block assigned to a host.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) host: Host,
    pub(super) addr: Ipv4Addr,
    pub(super) ports: PortRange,
    /// Since when the last released port is out of use.
    pub(super) since: Instant,
    /// The reload that withdrew its ports, if any: the block no longer identifies its host.
    pub(super) lost: Option<u32>,
}

/// The host, protocol and client of a new binding.
pub(super) struct PortRequest {
    pub(super) host: Host,
    pub(super) proto: Proto,
    pub(super) client: Transport6,
}

/// The ports that the translator may choose from.
pub(super) enum Choice {
    /// One of these.
    Of(Vec<Transport4>),
    /// None: the packet is refused for this reason.
    Refused(Reason),
}

/// The block that contains a port.
pub(super) fn block_of(port: u16) -> PortRange {
    let size = if port < 1024 { 16 } else { 256 };
    let first = port - port % size;
    PortRange::new(first, first + (size - 1)).expect("ascending")
}

/// Whether a block belongs to the low or the high class.
pub(super) fn class_has(low: bool, ports: PortRange) -> bool {
    low == (ports.first() < 1024)
}
