//! New settings with live sessions: state that they no longer allow ends, all other state stays.

use gate64::addr::{Ipv4Prefix, PortRange};
use gate64::ownership::Owners;
use gate64::translator::Settings;

use super::nat64::{Binding, Model};

impl Model {
    pub(super) fn reload(&mut self, settings: Settings, owners: Owners) {
        let hosts: Vec<_> = self.bindings.iter().map(|b| self.host(b.client.addr)).collect();
        (self.settings, self.owners) = (settings, owners);
        let keeps: Vec<_> = (self.bindings.iter().zip(hosts))
            .map(|(b, host)| host == self.host(b.client.addr) && self.has_room_for(b))
            .collect();
        let removed: Vec<_> = (self.bindings.iter().zip(&keeps))
            .filter(|(_, keeps)| !**keeps)
            .map(|(b, _)| (b.proto, b.client))
            .collect();
        for at in (0..self.sessions.len()).rev() {
            let session = &self.sessions[at];
            let named = self.zone(session.client.addr).is_some_and(|z| z.pref64.contains(&session.pref64));
            if !named || self.is_forbidden(session) || removed.contains(&(session.proto, session.client)) {
                self.end_session(at, self.now);
            }
        }
        for at in (0..self.bindings.len()).rev() {
            let binding = &self.bindings[at];
            if removed.contains(&(binding.proto, binding.client)) {
                self.unbind(at, self.now);
            }
        }
        for at in 0..self.bindings.len() {
            let Some(zone) = self.zone(self.bindings[at].client.addr) else { continue };
            if let (false, Some(first)) =
                (zone.pref64.contains(&self.bindings[at].pref64), zone.pref64.first())
            {
                self.bindings[at].pref64 = *first;
            }
        }
        self.bind_statics();
        self.lose_blocks();
    }

    /// Whether the settings still allow a binding: as a static one, or in its zone's pool.
    fn has_room_for(&self, binding: &Binding) -> bool {
        let statics = &self.settings.nat64.statics;
        let same = |s: &&gate64::nat64::StaticBinding| {
            s.proto == binding.proto && (s.v4 == binding.mapped || s.v6 == binding.client)
        };
        let mut bound = statics.iter().filter(same);
        if binding.fixed {
            return bound.any(|s| s.v4 == binding.mapped && s.v6 == binding.client);
        }
        let inside = |(net, ports): &(Ipv4Prefix, PortRange)| {
            net.contains(binding.mapped.addr) && ports.contains(binding.mapped.port)
        };
        let zone = self.zone(binding.client.addr);
        bound.next().is_none()
            && zone.is_some_and(|z| self.settings.nat64.pools[z.pool].ranges.iter().any(inside))
    }

    pub(super) fn bind_statics(&mut self) {
        for entry in self.settings.nat64.statics.clone() {
            let there = |b: &Binding| b.fixed && b.proto == entry.proto && b.mapped == entry.v4;
            let Some(pref64) = self.zone(entry.v6.addr).and_then(|zone| zone.pref64.first().copied()) else {
                continue;
            };
            if !self.bindings.iter().any(there) {
                self.bindings.push(Binding {
                    proto: entry.proto,
                    client: entry.v6,
                    mapped: entry.v4,
                    pref64,
                    fixed: true,
                    active: self.now,
                    quarantined: None,
                });
            }
        }
    }

    /// A host without a block in its pool may be assigned an address like a new host.
    fn lose_blocks(&mut self) {
        let useful: Vec<_> = (self.blocks.iter())
            .filter(|block| block.lost.is_none())
            .filter(|block| {
                let zone = self.settings.nat64.zones.iter().find(|zone| zone.id == block.host.zone);
                let mut ranges = zone.into_iter().flat_map(|z| &self.settings.nat64.pools[z.pool].ranges);
                ranges.any(|(net, ports)| net.contains(block.addr) && ports.overlaps(block.ports))
            })
            .map(|block| block.host)
            .collect();
        self.reloads += 1;
        for block in self.blocks.iter_mut().filter(|block| !useful.contains(&block.host)) {
            if block.lost.is_none() && block.answered && !self.known.contains(&block.host) {
                self.known.push(block.host);
            }
            block.lost.get_or_insert(self.reloads);
        }
    }
}
