//! The ports that a new binding may get (RFC 6146 §3.5.1.1, RFC 4787 REQ-2 to REQ-4, RFC 6888, RFC 7857 §9),
//! in port blocks of 16 to 256, as explicit sets.

use std::net::Ipv4Addr;

use gate64::addr::Proto;
use gate64::addr::{PortRange, Transport4, WorkerId};
use gate64::reason::Reason;
use gate64::time::Instant;

use super::address::Host;

/// Ports of the smallest block.
pub(super) const CELL: u16 = 16;

/// A port block assigned to a host.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) host: Host,
    pub(super) worker: WorkerId,
    pub(super) addr: Ipv4Addr,
    pub(super) ports: PortRange,
    /// Whether a packet from outside has answered the host.
    pub(super) answered: bool,
    /// Since when the last released port is out of use.
    pub(super) since: Instant,
    /// The reload that withdrew its ports, if any: the block no longer identifies its host.
    pub(super) lost: Option<u32>,
}

impl Block {
    /// The number of its smallest blocks.
    pub(super) fn cells(&self) -> usize {
        usize::from(len_of(self.ports) / CELL)
    }
}

/// A block that may be assigned: address and ports.
pub(super) type Place = (Ipv4Addr, PortRange);

/// The host, protocol and port of a new binding, and the worker of the host.
pub(super) struct PortRequest {
    pub(super) host: Host,
    pub(super) proto: Proto,
    pub(super) port: u16,
    pub(super) worker: WorkerId,
}

/// What is reclaimed for a new block: one of these blocks, or all blocks of its host.
#[derive(Default)]
pub(super) struct Reclaimable {
    pub(super) places: Vec<Place>,
    pub(super) whole_host: bool,
}

/// The ports that the translator may choose from.
pub(super) enum Choice {
    /// One of these, in a block of the host or in one of these new blocks.
    Of(Vec<Transport4>, Vec<Place>),
    /// None: the packet is refused for this reason, unless something is reclaimed first.
    Refused(Reason, Reclaimable),
}

/// Number of ports.
pub(super) fn len_of(ports: PortRange) -> u16 {
    ports.last() - ports.first() + 1
}

/// Ports of a range, the unit of ownership: a block never exceeds it.
pub(super) fn range_len(port: u16) -> u16 {
    if port < 1024 { 16 } else { 256 }
}

/// The block of `len` ports that contains a port.
pub(super) fn block_around(port: u16, len: u16) -> PortRange {
    let first = port - port % len;
    PortRange::new(first, first + (len - 1)).expect("ascending")
}

/// Whether a block belongs to the low or the high class.
pub(super) fn class_has(low: bool, ports: PortRange) -> bool {
    low == (ports.first() < 1024)
}
