//! The choice of a new binding's port: methods of the model.

use std::net::Ipv4Addr;

use gate64::addr::Proto;
use gate64::addr::{PortRange, Transport4, WorkerId};
use gate64::nat64::Pairing;
use gate64::reason::Reason;

use super::Model;
use crate::model::address::Host;
use crate::model::ports::{Block, Choice, PortRequest, block_of, class_has};

impl Model {
    /// The pool of a zone: every range, with its addresses listed.
    fn pool(&self, host: Host) -> Vec<(Ipv4Addr, PortRange)> {
        let zone = self.settings.nat64.zones.iter().find(|zone| zone.id == host.zone).expect("a host's zone");
        let ranges = &self.settings.nat64.pools[zone.pool].ranges;
        let each = |net: gate64::addr::Ipv4Prefix| {
            let first = net.addr().to_bits();
            (0..net.size() as u32).map(move |n| Ipv4Addr::from_bits(first + n))
        };
        ranges.iter().flat_map(|(net, ports)| each(*net).map(|addr| (addr, *ports))).collect()
    }

    /// The free ports of a block for one protocol.
    fn free_in(&self, request: &PortRequest, addr: Ipv4Addr, block: PortRange) -> Vec<Transport4> {
        let pool = self.pool(request.host);
        let in_pool = |port: u16| pool.iter().any(|(a, ports)| *a == addr && ports.contains(port));
        (block.first()..=block.last())
            .filter(|port| *port != 0 && in_pool(*port))
            .map(|port| Transport4::new(addr, port))
            .filter(|mapped| self.bindings.iter().all(|b| b.proto != request.proto || b.mapped != *mapped))
            .collect()
    }

    /// Unassigned blocks of an address and a class that belong to the client's worker.
    fn unheld(&self, request: &PortRequest, addr: Ipv4Addr, low: bool) -> Vec<(Ipv4Addr, PortRange)> {
        let mut found = Vec::new();
        for (a, ports) in self.pool(request.host) {
            if addr != a {
                continue;
            }
            let mut port = u32::from(ports.first());
            while port <= u32::from(ports.last()) {
                let block = block_of(port as u16);
                let held = self.blocks.iter().any(|held| held.addr == a && held.ports == block);
                let anywhere = Transport4::new(a, block.last());
                let is_own = self.block_owner(anywhere) == Some(self.owners.source(request.client.addr));
                if class_has(low, block) && !held && is_own && !found.contains(&(a, block)) {
                    found.push((a, block));
                }
                port = u32::from(block.last()) + 1;
            }
        }
        found
    }

    /// The worker that owns a block, without the exceptions for static bindings.
    fn block_owner(&self, port: Transport4) -> Option<WorkerId> {
        self.owners.block(port.addr, gate64::ownership::block_of(port.port))
    }

    /// The allowed choices, in order: the client's own port in the host's blocks if free; one of its class
    /// and parity there; a port of a new block, which contains the client's own port if unassigned; the
    /// other parity; and, below 1024, the same above.
    pub(super) fn choice(&self, request: &PortRequest) -> Choice {
        let own: Vec<_> =
            self.blocks.iter().filter(|block| block.host == request.host && block.lost.is_none()).collect();
        let kept = |candidates: &[Transport4]| {
            candidates.iter().copied().find(|mapped| mapped.port == request.client.port)
        };
        let free: Vec<_> = own.iter().map(|block| self.free_in(request, block.addr, block.ports)).collect();
        if let Some(mapped) = free.iter().find_map(|candidates| kept(candidates)) {
            return Choice::Of(vec![mapped]);
        }
        let parity = request.proto == Proto::Udp && self.settings.nat64.parity;
        let even = |candidates: &[Transport4]| -> Vec<Transport4> {
            candidates
                .iter()
                .copied()
                .filter(|mapped| !parity || (mapped.port ^ request.client.port) & 1 == 0)
                .collect()
        };
        let low = request.client.port < 1024 && request.proto != Proto::Icmp;
        let mut refused = Reason::PoolExhausted;
        for low in if low { vec![true, false] } else { vec![false] } {
            let of_class: Vec<_> = (own.iter().zip(&free))
                .filter(|(block, _)| class_has(low, block.ports))
                .flat_map(|(_, candidates)| candidates.iter().copied())
                .collect();
            if !even(&of_class).is_empty() {
                return Choice::Of(even(&of_class));
            }
            match self.new_block(request, &own, low) {
                Ok(blocks) => {
                    let mut all = Vec::new();
                    for (addr, ports) in blocks {
                        let candidates = self.free_in(request, addr, ports);
                        all.extend(match (kept(&candidates), even(&candidates)) {
                            (Some(mapped), _) => vec![mapped],
                            (None, even) if !even.is_empty() => even,
                            (None, _) => candidates,
                        });
                    }
                    return Choice::Of(all);
                }
                Err(reason) => refused = reason,
            }
            if !of_class.is_empty() {
                return Choice::Of(of_class);
            }
        }
        Choice::Refused(refused)
    }

    /// The blocks of which one may be assigned to a host.
    fn new_block(
        &self,
        request: &PortRequest,
        own: &[&Block],
        low: bool,
    ) -> Result<Vec<(Ipv4Addr, PortRange)>, Reason> {
        let zone =
            self.settings.nat64.zones.iter().find(|z| z.id == request.host.zone).expect("a host's zone");
        let limits = &self.settings.nat64.limits;
        if own.len() >= usize::from(zone.blocks_per_host) {
            return Err(Reason::HostQuota);
        }
        // A host that lost all blocks to a reload keeps their table entry until the quarantine ends, and may
        // take another.
        let mut hosts: Vec<_> = self.blocks.iter().map(|block| (block.host, block.lost)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let full = own.is_empty() && hosts.len() >= limits.hosts as usize;
        if full || self.blocks.len() >= limits.blocks as usize {
            return Err(Reason::TableFull);
        }
        // A host has one address, the oldest that its pool contains. It may have others when that one is
        // exhausted and pairing is soft (RFC 7857 §4).
        let pool = self.pool(request.host);
        let first = own.iter().find(|block| {
            pool.iter().any(|(addr, ports)| *addr == block.addr && ports.overlaps(block.ports))
        });
        let addrs: Vec<_> = match (first, self.settings.nat64.pairing) {
            (Some(block), Pairing::Strict) => vec![block.addr],
            (Some(_), Pairing::Soft) | (None, _) => pool.iter().map(|(addr, _)| *addr).collect(),
        };
        let wanted = block_of(request.client.port);
        let mut all = Vec::new();
        let mut best = Vec::new();
        for addr in addrs {
            let of_addr = self.unheld(request, addr, low);
            match of_addr.iter().find(|(_, ports)| *ports == wanted) {
                Some(block) => best.push(*block),
                None => all.extend(of_addr),
            }
        }
        if first.is_none() && !best.is_empty() {
            return Ok(best);
        }
        all.extend(best);
        if all.is_empty() { Err(Reason::PoolExhausted) } else { Ok(all) }
    }
}
