//! Static bindings (RFC 6146 §3.1).

use core::net::Ipv4Addr;

use crate::addr::Proto;
use crate::addr::{Transport4, Transport6};
use crate::nat64::StaticBinding;

/// The static bindings, sorted by protocol and IPv4 transport address. The number of a binding is its
/// position.
#[derive(Debug, Default)]
pub(in crate::nat64) struct Statics {
    /// Entries, each with the slot of its binding if this worker owns it.
    entries: Vec<(StaticBinding, Option<u32>)>,
    /// Their addresses, sorted.
    addresses: Vec<Ipv4Addr>,
    /// Their IPv6 sides, sorted.
    clients: Vec<(Proto, Transport6)>,
}

const fn key(entry: &StaticBinding) -> (Proto, Transport4) {
    (entry.proto, entry.v4)
}

impl Statics {
    /// Builds the table from the settings, without slots.
    pub(in crate::nat64) fn new(entries: &[StaticBinding]) -> Self {
        let mut entries: Vec<_> = entries.iter().map(|entry| (*entry, None)).collect();
        entries.sort_by_key(|(entry, _)| key(entry));
        let mut addresses: Vec<_> = entries.iter().map(|(entry, _)| entry.v4.addr).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut clients: Vec<_> = entries.iter().map(|(entry, _)| (entry.proto, entry.v6)).collect();
        clients.sort_unstable();
        Self { entries, addresses, clients }
    }

    /// The slot of the binding at an IPv4 transport address.
    #[inline]
    pub(in crate::nat64) fn find(&self, proto: Proto, mapped: Transport4) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let at = self.entries.binary_search_by_key(&(proto, mapped), |(entry, _)| key(entry)).ok()?;
        self.entries[at].1
    }

    /// Whether any worker has a binding at an IPv4 transport address.
    #[inline]
    pub(in crate::nat64) fn contains(&self, proto: Proto, mapped: Transport4) -> bool {
        !self.entries.is_empty()
            && self.entries.binary_search_by_key(&(proto, mapped), |(entry, _)| key(entry)).is_ok()
    }

    /// Whether any binding has this address.
    pub(in crate::nat64) fn contains_addr(&self, addr: Ipv4Addr) -> bool {
        self.addresses.binary_search(&addr).is_ok()
    }

    /// Whether any binding has this IPv6 side.
    pub(in crate::nat64) fn has_client(&self, proto: Proto, client: Transport6) -> bool {
        self.clients.binary_search(&(proto, client)).is_ok()
    }

    /// The IPv4 transport address of the binding with this number.
    pub(in crate::nat64) fn mapped(&self, number: u32) -> Transport4 {
        self.entries[number as usize].0.v4
    }

    /// The binding with this number; `None` after the last.
    pub(in crate::nat64) fn entry(&self, number: u32) -> Option<&StaticBinding> {
        self.entries.get(number as usize).map(|(entry, _)| entry)
    }

    /// The number of an equal binding.
    pub(in crate::nat64) fn number_of(&self, sought: &StaticBinding) -> Option<u32> {
        let at = self.entries.binary_search_by_key(&key(sought), |(entry, _)| key(entry)).ok()?;
        (self.entries[at].0 == *sought).then_some(at as u32)
    }

    /// Sets the slot of a binding.
    pub(in crate::nat64) fn set_slot(&mut self, number: u32, slot: u32) {
        self.entries[number as usize].1 = Some(slot);
    }
}
