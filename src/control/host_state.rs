//! Changes to this host while the gateway runs, and their removal.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::firewall::{self, Refusal};
use super::journal::{self, Change, Extent, Journal, JournalError};
use super::neighbours::Announcer;
use super::netlink::{Destination, Netlink, NetlinkError};
use super::nft::{self, NftError};
use super::repairs::Repairs;
use super::requirements::Requirements;
use super::sysctl::{Setting, SysctlError, Tree};
use crate::addr::LocalAddresses;
use crate::config::{Config, Egress, OwnAddress, Sysctls};

/// Why the host could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// A sysctl has a wrong value.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// An interface, address, route or proxy neighbour.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// nftables.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The journal of changes.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The configuration does not fit this host.
    #[error("{0}")]
    Conflict(String),
    /// A firewall chain drops packets of gate64.
    #[error("{0} (or write firewall = \"ignore\" in [host])")]
    Firewall(Refusal),
}

/// The changes in effect. Routes and their next hop vanish with the device; the journal has everything else.
#[derive(Debug)]
pub(crate) struct HostState {
    tree: Tree,
    netlink: Netlink,
    journal: Journal,
    announcer: Announcer,
    device: String,
    index: u32,
    /// The device is that of the previous gateway, with its addresses and routes.
    is_adopted: bool,
    requirements: Requirements,
    /// What the last comparison with nftables found wrong there.
    firewall_problems: Vec<String>,
    /// Whether the nftables table is missing since then.
    is_table_missing: bool,
    pub(super) repairs: Repairs,
}

const EPHEMERAL: &str = "net/ipv4/ip_local_port_range";

impl HostState {
    /// Starts with the changes in the journal. `index` is the index of the device.
    pub(crate) fn new(
        netlink: Netlink,
        journal: Journal,
        announcer: Announcer,
        device: &str,
        index: u32,
    ) -> Self {
        let requirements = Requirements::default();
        let device = device.to_owned();
        Self {
            tree: Tree::kernel(),
            netlink,
            journal,
            announcer,
            device,
            index,
            is_adopted: false,
            requirements,
            firewall_problems: Vec::new(),
            is_table_missing: false,
            repairs: Repairs::default(),
        }
    }

    /// The device is that of the previous gateway: it keeps its addresses and routes.
    pub(crate) const fn adopt_device(&mut self) {
        self.is_adopted = true;
    }

    /// Addresses of all interfaces except the device.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn addresses(&self) -> Result<Vec<OwnAddress>, NetlinkError> {
        self.netlink.addresses(Some(&self.device)).await
    }

    /// All addresses for which this host receives packets.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn local_addresses(&self) -> Result<LocalAddresses, NetlinkError> {
        self.netlink.local_addresses().await
    }

    /// The requirements in effect.
    pub(crate) const fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// Prepares the host: checks the firewall; configures device, sysctls and egress; adds `requirements`.
    ///
    /// # Errors
    /// The first step that fails; [`release`](Self::release) undoes the others.
    pub(crate) async fn apply(
        &mut self,
        config: &Config,
        requirements: &Requirements,
    ) -> Result<(), HostError> {
        if let Some(conflict) = requirements.conflicts.first() {
            return Err(HostError::Conflict(conflict.clone()));
        }
        if config.host.checks.firewall
            && let Some(refusal) = self.refusals(config).await.into_iter().find(Refusal::is_fatal)
        {
            return Err(HostError::Firewall(refusal));
        }
        self.configure_device().await?;
        for wanted in self.tree.router_advertisements(&self.device) {
            // Only a warning: it is unknown whether the host has learnt a route from this interface.
            if let Err(why) = self.ensure(&wanted, config.host.sysctls) {
                tracing::warn!("{why}, if {} learns routes from routers", wanted.key);
            }
        }
        for wanted in Tree::forwarding() {
            self.ensure(&wanted, config.host.sysctls)?;
        }
        self.egress(config).await?;
        self.add_missing(requirements, config.host.sysctls).await?;
        self.undo_inherited(config).await
    }

    /// The firewall chains that drop packets of gate64.
    async fn refusals(&self, config: &Config) -> Vec<Refusal> {
        firewall::refusals(config, &self.netlink).await
    }

    /// Undoes what the previous gateway changed and this one does not need.
    async fn undo_inherited(&mut self, config: &Config) -> Result<(), HostError> {
        if self.is_adopted {
            for to in self.netlink.routes_of(self.index).await? {
                if !self.requirements.routes.contains(&to) {
                    self.netlink.remove_route(to, self.index).await?;
                }
            }
        }
        let table = Change::Table { name: nft::table_of(&self.device) };
        let required = &self.requirements;
        let needed: Vec<_> = required.unreachable.iter().map(unreachable).collect();
        let needed = needed.into_iter().chain(required.addresses.iter().map(address));
        let needed = needed.chain(required.proxies.iter().map(proxy));
        let needed: Vec<_> = needed.chain((config.egress != Egress::Routed).then_some(table)).collect();
        let is_obsolete =
            |change: &&Change| !matches!(change, Change::Sysctl { .. }) && !needed.contains(*change);
        let obsolete: Vec<_> = self.journal.changes().iter().filter(is_obsolete).cloned().collect();
        for change in obsolete.iter().rev() {
            journal::undo(change, &self.tree, &self.netlink).await;
        }
        Ok(self.journal.forget(&obsolete)?)
    }

    /// Configures the device while it is down: the kernel assigns a link-local address when it comes up. Then adds
    /// the next hop of its IPv6 routes.
    async fn configure_device(&self) -> Result<(), HostError> {
        if !self.is_adopted {
            self.netlink.set_up(self.index, false).await?;
        }
        for (wanted, needed) in Tree::device_settings(&self.device) {
            match self.tree.set_of_device(&wanted) {
                Err(why) if needed => return Err(why.into()),
                Err(why) => tracing::warn!("{why}"),
                Ok(()) => {}
            }
        }
        self.netlink.set_up(self.index, true).await?;
        Ok(self.netlink.add_next_hop(self.index).await?)
    }

    /// With `egress = "masquerade"`: reserves ports, and creates or replaces the nftables table.
    ///
    /// # Errors
    /// The first step that fails.
    pub(crate) async fn egress(&mut self, config: &Config) -> Result<(), HostError> {
        let Egress::Masquerade { ports } = config.egress else { return Ok(()) };
        let range = self.tree.read(EPHEMERAL)?;
        let mut ends = range.split_whitespace().map(str::parse::<u16>);
        if let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next())
            && ports.contains(first)
            && ports.contains(last)
        {
            return Err(HostError::Conflict(format!(
                "egress_ports {ports} leaves no ephemeral port ({first}-{last}) to this host: use fewer ports"
            )));
        }
        self.ensure(&self.tree.reserved_ports(ports)?, config.host.sysctls)?;
        let table = nft::table_of(&self.device);
        self.journal.record(Change::Table { name: table.clone() })?;
        let nat64 = &config.nat64;
        nft::apply(&nft::masquerade(&table, &self.device, ports, &nat64.statics, &nat64.timers)).await?;
        match self.tree.icmp_timeout(nat64.timers.icmp.as_secs()) {
            Some(wanted) => self.ensure(&wanted, config.host.sysctls),
            None => Ok(()),
        }
    }

    /// Adds the missing part of `wanted`, all or nothing. `how` applies to optional sysctls.
    ///
    /// # Errors
    /// The first addition that fails; the earlier ones are removed again.
    pub(crate) async fn add_missing(&mut self, wanted: &Requirements, how: Sysctls) -> Result<(), HostError> {
        if let Some(conflict) = wanted.conflicts.first() {
            return Err(HostError::Conflict(conflict.clone()));
        }
        let before = self.requirements.clone();
        let grown = self.add(wanted, how).await;
        if grown.is_err() {
            self.remove_obsolete(&before).await;
        }
        grown
    }

    async fn add(&mut self, wanted: &Requirements, how: Sysctls) -> Result<(), HostError> {
        for to in &wanted.routes {
            if !self.requirements.routes.contains(to) {
                match self.netlink.add_route(*to, self.index).await {
                    // A route of another program is found by the next comparison.
                    Err(why) if self.is_adopted && why.errno == libc::EEXIST => {}
                    Err(why) if why.errno == libc::EEXIST => return Err(HostError::Conflict(taken(*to))),
                    added => added?,
                }
                self.requirements.routes.insert(*to);
            }
        }
        self.add_unreachable(wanted).await?;
        self.add_addresses(wanted).await?;
        self.add_proxies(wanted, how).await
    }

    async fn add_unreachable(&mut self, wanted: &Requirements) -> Result<(), HostError> {
        let new: Vec<_> = wanted.unreachable.difference(&self.requirements.unreachable).copied().collect();
        let mut existing = self.unrecorded(new.iter().map(unreachable));
        self.journal.record_all(existing.iter().cloned())?;
        let mut result = Ok(());
        for to in new {
            match self.netlink.add_unreachable(to).await {
                Ok(true) => existing.retain(|change| *change != unreachable(&to)),
                // It existed before, so it stays.
                Ok(false) => {}
                Err(why) => {
                    result = Err(why.into());
                    break;
                }
            }
            self.requirements.unreachable.insert(to);
        }
        self.journal.forget(&existing)?;
        result
    }

    async fn add_addresses(&mut self, wanted: &Requirements) -> Result<(), HostError> {
        let new: Vec<_> = wanted.addresses.difference(&self.requirements.addresses).cloned().collect();
        let mut existing = self.unrecorded(new.iter().map(address));
        self.journal.record_all(existing.iter().cloned())?;
        let mut added = Vec::new();
        let mut result = Ok(());
        for entry in new {
            match self.netlink.add_address(&entry.0, entry.1, host_len(entry.1)).await {
                Ok(true) => {
                    existing.retain(|change| *change != address(&entry));
                    added.push(entry.clone());
                }
                // It existed before, so it stays at exit.
                Ok(false) => {}
                // A comparison adds the address once the interface has appeared.
                Err(why) if why.errno == libc::ENODEV => {
                    tracing::warn!("waiting for the interface {}, which gets {}", entry.0, entry.1);
                }
                Err(why) => {
                    result = Err(why.into());
                    break;
                }
            }
            self.requirements.addresses.insert(entry);
        }
        self.announcer.announce(added);
        self.journal.forget(&existing)?;
        result
    }

    async fn add_proxies(&mut self, wanted: &Requirements, how: Sysctls) -> Result<(), HostError> {
        let new: Vec<_> = wanted.proxies.difference(&self.requirements.proxies).cloned().collect();
        let interfaces: BTreeSet<_> = new.iter().map(|(interface, _)| interface.clone()).collect();
        let mut present = BTreeSet::new();
        for interface in interfaces {
            let found = self.netlink.proxies(&interface).await?;
            present.extend(found.into_iter().map(|addr| (interface.clone(), addr)));
        }
        self.disable_proxy_delay(&new, how);
        let missing: Vec<_> = new.iter().filter(|entry| !present.contains(*entry)).cloned().collect();
        let added = self.unrecorded(missing.iter().map(proxy));
        self.journal.record_all(added)?;
        for entry in new {
            // After a failure the journal also has proxies that were not added; removing them is harmless.
            self.netlink.add_proxy(&entry.0, entry.1).await?;
            self.requirements.proxies.insert(entry);
        }
        self.announcer.announce(missing);
        Ok(())
    }

    /// Disables the delay of proxy neighbours, up to 0.8 s, which gives precedence to real hosts. No host has
    /// the proxied addresses, and the first packet to each would be delayed.
    fn disable_proxy_delay(&mut self, proxies: &[(String, IpAddr)], how: Sysctls) {
        for wanted in proxies.iter().map(Tree::proxy_delay).collect::<BTreeSet<_>>() {
            if let Err(why) = self.ensure(&wanted, how) {
                tracing::info!("{why}; the first packet to an address may be delayed by 0.8 s");
            }
        }
    }

    /// Ensures that a sysctl has the required value; the journal records the old one first.
    fn ensure(&mut self, wanted: &Setting, how: Sysctls) -> Result<(), HostError> {
        let found = self.tree.read(&wanted.key)?;
        if found == wanted.value {
            return Ok(());
        }
        if how == Sysctls::Check {
            return Err(wanted.wrong(&found, "sysctls = \"check\" leaves it to you".to_owned()).into());
        }
        let (key, after) = (wanted.key.clone(), wanted.value.clone());
        self.journal.record(Change::Sysctl { key, before: found.clone(), after })?;
        self.tree.write(&wanted.key, &wanted.value).map_err(|why| wanted.wrong(&found, why.to_string()))?;
        tracing::info!("{} was {found}, set to {}", wanted.name(), wanted.value);
        Ok(())
    }

    /// Those of `changes` that the journal does not have.
    fn unrecorded(&self, changes: impl Iterator<Item = Change>) -> Vec<Change> {
        changes.filter(|change| !self.journal.changes().contains(change)).collect()
    }

    /// Removes what `wanted` does not need. Logs what the kernel refuses.
    pub(crate) async fn remove_obsolete(&mut self, wanted: &Requirements) {
        let mut kept = std::mem::take(&mut self.requirements);
        for to in kept.routes.extract_if(.., |to| !wanted.routes.contains(to)) {
            if let Err(why) = self.netlink.remove_route(to, self.index).await {
                tracing::warn!("{why}");
            }
        }
        let routes = kept.unreachable.extract_if(.., |to| !wanted.unreachable.contains(to));
        let mut removed: Vec<Change> = routes.map(|to| unreachable(&to)).collect();
        let addresses = kept.addresses.extract_if(.., |a| !wanted.addresses.contains(a));
        removed.extend(addresses.map(|entry| address(&entry)));
        let proxies = kept.proxies.extract_if(.., |p| !wanted.proxies.contains(p));
        removed.extend(proxies.map(|entry| proxy(&entry)));
        self.announcer.retain(&kept.proxies);
        self.requirements = kept;
        // The journal does not have what existed before.
        removed.retain(|change| self.journal.changes().contains(change));
        for change in &removed {
            journal::undo(change, &self.tree, &self.netlink).await;
        }
        if let Err(why) = self.journal.forget(&removed) {
            tracing::warn!("{why}");
        }
    }

    /// Undoes the changes.
    pub(crate) async fn release(mut self, extent: Extent) {
        match self.journal.undo(extent, &self.tree, &self.netlink).await {
            Ok(0) => {}
            Ok(changes) => tracing::info!("undid {changes} changes to this host"),
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

/// The error that another program has a route to `to`, for example a blackhole.
fn taken(to: Destination) -> String {
    let family = if to.addr.is_ipv4() { "-4" } else { "-6" };
    format!(
        "this host has another route to {to}, so that its packets do not reach gate64: find it with `ip {family} route show \
         {to}`, and remove it from the program that adds it"
    )
}

/// Prefix length of a single address.
const fn host_len(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn unreachable(to: &Destination) -> Change {
    Change::Unreachable { addr: to.addr, len: to.len }
}

fn address((interface, addr): &(String, IpAddr)) -> Change {
    Change::Address { interface: interface.clone(), addr: *addr, len: host_len(*addr) }
}

fn proxy((interface, addr): &(String, IpAddr)) -> Change {
    Change::Proxy { interface: interface.clone(), addr: *addr }
}

mod reconcile;
#[cfg(test)]
mod tests;

pub(crate) use reconcile::DeviceGone;
