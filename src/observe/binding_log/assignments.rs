//! The present assignments: which host has which ports now, and since when.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::{Mapping, Protocol};

/// Address, first port, and the protocol of a static binding.
type Key = (Ipv4Addr, u16, Option<Protocol>);

/// Maximum size of a port block.
const BLOCK: u16 = 256;

/// The present assignments. The log writes them; the file sink and the admin socket read them.
#[derive(Clone, Debug, Default)]
pub(super) struct Assignments(Arc<Mutex<BTreeMap<Key, Mapping>>>);

impl Assignments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Mapping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an assignment. Returns those that it contradicts, whose end was not reported.
    pub(super) fn add(&self, mapping: &Mapping) -> Vec<Mapping> {
        let mut all = self.lock();
        let (address, (first, last)) = (mapping.address, mapping.ports);
        let near = (address, first.saturating_sub(BLOCK), None)..=(address, last, Some(Protocol::Icmp));
        let is_static = |key: &Key| key.2.is_some();
        let obsolete: Vec<_> = all
            .range(near)
            .filter(|(key, other)| {
                // Ports of static bindings may lie within a block.
                is_static(key) == mapping.host_port.is_some() && other.overlaps(mapping)
            })
            .map(|(key, _)| *key)
            .collect();
        let obsolete = obsolete.iter().filter_map(|key| all.remove(key)).collect();
        all.insert(key(mapping), mapping.clone());
        obsolete
    }

    /// Removes the block that begins at a port.
    pub(super) fn remove_block(&self, address: Ipv4Addr, first: u16) -> Option<Mapping> {
        self.lock().remove(&(address, first, None))
    }

    /// Removes an assignment.
    pub(super) fn remove(&self, mapping: &Mapping) -> Option<Mapping> {
        self.lock().remove(&key(mapping))
    }

    /// The assignments that contain a port.
    pub(super) fn find(&self, address: Ipv4Addr, port: u16) -> Vec<Mapping> {
        let near = (address, port.saturating_sub(BLOCK), None)..=(address, port, Some(Protocol::Icmp));
        let all = self.lock();
        let found = all.range(near).filter(|(_, mapping)| mapping.has(port, None));
        found.map(|(_, mapping)| mapping.clone()).collect()
    }

    /// Passes all assignments to `each`. Takes the lock for short times only, so it may miss changes made meanwhile.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Mapping)) {
        const AT_ONCE: usize = 256;
        let mut after: Option<Key> = None;
        loop {
            let part: Vec<_> = {
                let all = self.lock();
                let rest = match after {
                    Some(key) => all.range((std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded)),
                    None => all.range(..),
                };
                rest.take(AT_ONCE).map(|(key, mapping)| (*key, mapping.clone())).collect()
            };
            let Some((last, _)) = part.last() else { return };
            after = Some(*last);
            part.iter().for_each(|(_, mapping)| each(mapping));
        }
    }
}

fn key(mapping: &Mapping) -> Key {
    let protocol = mapping.host_port.and_then(|_| mapping.protocols.first().copied());
    (mapping.address, mapping.ports.0, protocol)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::mapping;
    use super::*;

    fn binding(protocol: Protocol, port: u16) -> Mapping {
        let block = mapping("2001:db8:1::80", port, 0);
        Mapping { ports: (port, port), protocols: vec![protocol], host_port: Some(443), ..block }
    }

    #[test]
    fn a_port_belongs_to_the_block_around_it() {
        let all = Assignments::default();
        for first in [1024, 1040, 1072] {
            assert_eq!(all.add(&mapping("2001:db8:1::5", first, 0)), []);
        }
        assert_eq!(all.add(&binding(Protocol::Tcp, 1050)), [], "beside the block around it");
        let address = mapping("", 0, 0).address;
        let found = |port| all.find(address, port).iter().map(|m| m.ports.0).collect::<Vec<_>>();
        assert_eq!(found(1039), [1024]);
        assert_eq!(found(1050), [1040, 1050]);
        assert_eq!(found(1056), [0; 0]);
        assert_eq!(all.find(Ipv4Addr::new(192, 0, 2, 65), 1024), []);
        let (mut count, mut last) = (0, 0);
        all.for_each(|mapping| (count, last) = (count + 1, mapping.ports.0));
        assert_eq!((count, last), (4, 1072));
        assert!(all.remove_block(address, 1040).is_some());
        assert!(all.remove(&binding(Protocol::Tcp, 1050)).is_some());
        assert_eq!(found(1050), [0; 0]);
    }

    #[test]
    fn an_assignment_replaces_those_it_contradicts() {
        let all = Assignments::default();
        let (old, other) = (mapping("2001:db8:1::5", 1024, 0), mapping("2001:db8:1::5", 1056, 0));
        all.add(&old);
        all.add(&other);
        let new = Mapping { ports: (1016, 1047), ..mapping("2001:db8:1::6", 0, 9) };
        assert_eq!(all.add(&new), [old]);
        assert_eq!(all.find(new.address, 1030), [new]);
        assert_eq!(all.find(other.address, 1056), [other]);
    }
}
