//! The request for a port, and its refusal.

use super::class::Class;
use crate::addr::{HostKey, Proto};
use crate::reason::Reason;

/// A request for the port of a new binding.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct PortRequest {
    pub(in crate::nat64) host: HostKey,
    /// The host's slot, if it holds blocks.
    pub(in crate::nat64) slot: Option<u32>,
    /// Whether a packet from outside has answered the host, now or when it had blocks before.
    pub(in crate::nat64) answered: bool,
    pub(in crate::nat64) proto: Proto,
    /// The client's port or identifier.
    pub(in crate::nat64) port: u16,
    /// Index of the zone's pool.
    pub(in crate::nat64) pool: u16,
    /// Maximum ports of the host.
    pub(in crate::nat64) port_quota: u32,
    /// Maximum new bindings per second; 0 is unlimited.
    pub(in crate::nat64) rate: u32,
    /// Ports of a host's first block.
    pub(in crate::nat64) first_block: u16,
    /// Maximum new hosts per site and second; 0 is unlimited.
    pub(in crate::nat64) new_hosts: u32,
    /// Whether to preserve the parity of the port.
    pub(in crate::nat64) parity: bool,
}

impl PortRequest {
    /// ICMP identifiers have no classes: they use high blocks, so that low ones stay free for low ports.
    pub(super) const fn class(&self) -> Class {
        if self.port < 1024 && !matches!(self.proto, Proto::Icmp) { Class::Low } else { Class::High }
    }

    pub(super) const fn wanted_parity(&self) -> Option<u16> {
        if self.parity && matches!(self.proto, Proto::Udp) { Some(self.port & 1) } else { None }
    }
}

/// What to reclaim before another attempt. Its host has received no answer from outside.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) enum Reclaimable {
    /// This block.
    Block(u32),
    /// All blocks of this block's host, whose table entry is needed.
    HostOf(u32),
}

/// Why no port was allocated, and what to reclaim before another attempt.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Refused {
    pub(in crate::nat64) reason: Reason,
    pub(in crate::nat64) reclaimable: Option<Reclaimable>,
}

impl Refused {
    /// Reclaims the block's host instead of the block.
    pub(super) fn with_host(self) -> Self {
        let host = |of| match of {
            Reclaimable::Block(block) | Reclaimable::HostOf(block) => Reclaimable::HostOf(block),
        };
        Self { reclaimable: self.reclaimable.map(host), ..self }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, reclaimable: None }
    }
}
