//! What the gateway holds of the host while it runs, and gives back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::footprint::Footprint;
use super::journal::{self, Change, Journal, JournalError};
use super::netlink::{Netlink, NetlinkError};
use super::nft::{self, NftError};
use super::sysctl::{SysctlError, Tree, Wanted};
use crate::config::{Config, Egress, Sysctls};

/// Why the host can't be made ready.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// A kernel setting is wrong and stays so.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// An interface, address, route or neighbour.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// nftables.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The record of changes.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The configuration does not fit this host.
    #[error("{0}")]
    Obstacle(String),
    /// The firewall drops what is forwarded.
    #[error(
        "the chain {family} {table} {chain} drops forwarded packets and names {device} in no rule; \
         type: nft insert rule {family} {table} {chain} iifname {device} accept && \
         nft insert rule {family} {table} {chain} oifname {device} accept \
         (or write firewall = \"ignore\" in [host])"
    )]
    Forward {
        /// The family of its table.
        family: String,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
        /// Our device.
        device: String,
    },
}

/// What is held. Routes go with the device; all else is in the record.
#[derive(Debug)]
pub struct Hold {
    tree: Tree,
    netlink: Netlink,
    journal: Journal,
    device: String,
    index: u32,
    footprint: Footprint,
}

const RESERVED: &str = "net/ipv4/ip_local_reserved_ports";
const EPHEMERAL: &str = "net/ipv4/ip_local_port_range";
const ICMP_TIMEOUT: &str = "net/netfilter/nf_conntrack_icmp_timeout";

impl Hold {
    /// Begins with nothing but the device `index`.
    pub fn new(netlink: Netlink, journal: Journal, device: &str, index: u32) -> Self {
        let footprint = Footprint::default();
        Self { tree: Tree::kernel(), netlink, journal, device: device.to_owned(), index, footprint }
    }

    /// What is held.
    pub const fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    /// Makes the host ready: firewall looked at, device and kernel settings set, egress, then
    /// everything in `footprint`.
    ///
    /// # Errors
    /// The first thing that could not be done; [`release`](Self::release) undoes the rest.
    pub async fn take(&mut self, config: &Config, footprint: &Footprint) -> Result<(), HoldError> {
        if let Some(obstacle) = footprint.obstacles.first() {
            return Err(HoldError::Obstacle(obstacle.clone()));
        }
        if config.host.check_firewall
            && let Some((family, table, chain)) = nft::dropping_forward(&self.device).await
        {
            return Err(HoldError::Forward { family, table, chain, device: self.device.clone() });
        }
        self.settle_device().await?;
        for wanted in self.tree.router_advertisements(&self.device) {
            // Matters only where a route was learnt, which can't be told from here.
            if let Err(why) = self.tree.ensure(&wanted, config.host.sysctls, &mut self.journal) {
                tracing::warn!("{why}, if {} learns routes from routers", wanted.key);
            }
        }
        for wanted in Tree::forwarding() {
            self.tree.ensure(&wanted, config.host.sysctls, &mut self.journal)?;
        }
        self.egress(config).await?;
        self.grow(footprint, config.host.sysctls).await
    }

    /// Settings of our own device. They are made while it is down, since it would be given a
    /// link-local address when it comes up.
    async fn settle_device(&self) -> Result<(), HoldError> {
        self.netlink.set_up(self.index, false).await?;
        for (wanted, needed) in Tree::of_device(&self.device) {
            match self.tree.own(&wanted) {
                Err(why) if needed => return Err(why.into()),
                Err(why) => tracing::warn!("{why}"),
                Ok(()) => {}
            }
        }
        Ok(self.netlink.set_up(self.index, true).await?)
    }

    /// With `egress = "masquerade"`: ports reserved, our table made or replaced.
    ///
    /// # Errors
    /// The first thing that could not be done.
    pub async fn egress(&mut self, config: &Config) -> Result<(), HoldError> {
        let Egress::Masquerade { ports } = config.egress else { return Ok(()) };
        let range = self.tree.read(EPHEMERAL)?;
        let mut ends = range.split_whitespace().map(str::parse::<u16>);
        if let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next())
            && ports.contains(first)
            && ports.contains(last)
        {
            return Err(HoldError::Obstacle(format!(
                "egress_ports {ports} leaves this host no port of its own ({first}-{last} are those it \
                 chooses from): take fewer"
            )));
        }
        let reserved = nft::reserve(&self.tree.read(RESERVED)?, ports);
        self.tree.ensure(&Wanted::new(RESERVED, reserved), config.host.sysctls, &mut self.journal)?;
        let table = nft::table_of(&self.device);
        self.journal.record(Change::Table { name: table.clone() })?;
        let nat64 = &config.nat64;
        nft::apply(&nft::masquerade(&table, &self.device, ports, &nat64.statics, &nat64.timers)).await?;
        self.icmp_timeout(config.host.sysctls, nat64.timers.icmp.as_secs())
    }

    /// nft has no timeout objects for ICMP. The setting is there once conntrack is in use.
    fn icmp_timeout(&mut self, how: Sysctls, least: u64) -> Result<(), HoldError> {
        let Ok(found) = self.tree.read(ICMP_TIMEOUT) else { return Ok(()) };
        if found.parse::<u64>().is_ok_and(|now| now < least) {
            self.tree.ensure(&Wanted::new(ICMP_TIMEOUT, least.to_string()), how, &mut self.journal)?;
        }
        Ok(())
    }

    /// Adds what `wanted` has beyond what is held; all or nothing. Kernel settings that help, but are
    /// not needed, are treated as `how` says.
    ///
    /// # Errors
    /// What could not be added; then what is held is what was held before.
    pub async fn grow(&mut self, wanted: &Footprint, how: Sysctls) -> Result<(), HoldError> {
        if let Some(obstacle) = wanted.obstacles.first() {
            return Err(HoldError::Obstacle(obstacle.clone()));
        }
        let before = self.footprint.clone();
        let grown = self.add(wanted, how).await;
        if grown.is_err() {
            self.shrink(&before).await;
        }
        grown
    }

    async fn add(&mut self, wanted: &Footprint, how: Sysctls) -> Result<(), HoldError> {
        for to in &wanted.routes {
            if !self.footprint.routes.contains(to) {
                self.netlink.add_route(*to, self.index).await?;
                self.footprint.routes.insert(*to);
            }
        }
        self.add_addresses(wanted).await?;
        self.add_proxies(wanted, how).await
    }

    async fn add_addresses(&mut self, wanted: &Footprint) -> Result<(), HoldError> {
        let new: Vec<_> = wanted.addresses.difference(&self.footprint.addresses).cloned().collect();
        let mut not_ours = self.unrecorded(new.iter().map(address));
        self.journal.record_all(not_ours.iter().cloned())?;
        let mut result = Ok(());
        for entry in new {
            match self.netlink.add_address(&entry.0, entry.1, host_len(entry.1)).await {
                Ok(true) => not_ours.retain(|change| *change != address(&entry)),
                // It was there before us, so it stays after us.
                Ok(false) => {}
                Err(why) => {
                    result = Err(why.into());
                    break;
                }
            }
            self.footprint.addresses.insert(entry);
        }
        self.journal.forget(&not_ours)?;
        result
    }

    async fn add_proxies(&mut self, wanted: &Footprint, how: Sysctls) -> Result<(), HoldError> {
        let new: Vec<_> = wanted.proxies.difference(&self.footprint.proxies).cloned().collect();
        let interfaces: BTreeSet<_> = new.iter().map(|(interface, _)| interface.clone()).collect();
        let mut theirs = BTreeSet::new();
        for interface in interfaces {
            let there = self.netlink.proxies(&interface).await?;
            theirs.extend(there.into_iter().map(|addr| (interface.clone(), addr)));
        }
        self.answer_at_once(&new, how);
        let ours = self.unrecorded(new.iter().filter(|entry| !theirs.contains(*entry)).map(proxy));
        self.journal.record_all(ours)?;
        for entry in new {
            // On failure those that were not made are in the record too; to remove them does no harm.
            self.netlink.add_proxy(&entry.0, entry.1).await?;
            self.footprint.proxies.insert(entry);
        }
        Ok(())
    }

    /// A proxy waits up to 0.8 s before it answers, so that hosts may be first that are there. For our
    /// addresses there are none, and the first packet to each would wait.
    fn answer_at_once(&mut self, proxies: &[(String, IpAddr)], how: Sysctls) {
        for wanted in proxies.iter().map(Tree::proxy_delay).collect::<BTreeSet<_>>() {
            if let Err(why) = self.tree.ensure(&wanted, how, &mut self.journal) {
                tracing::info!("{why}; until then the first packet to an address may wait 0.8 s");
            }
        }
    }

    /// Those of `changes` that are not recorded yet.
    fn unrecorded(&self, changes: impl Iterator<Item = Change>) -> Vec<Change> {
        changes.filter(|change| !self.journal.changes().contains(change)).collect()
    }

    /// Gives back what `wanted` no longer has. What the kernel refuses is logged.
    pub async fn shrink(&mut self, wanted: &Footprint) {
        let mut kept = std::mem::take(&mut self.footprint);
        for to in kept.routes.extract_if(.., |to| !wanted.routes.contains(to)) {
            if let Err(why) = self.netlink.remove_route(to, self.index).await {
                tracing::warn!("{why}");
            }
        }
        let addresses = kept.addresses.extract_if(.., |a| !wanted.addresses.contains(a));
        let mut gone: Vec<Change> = addresses.map(|entry| address(&entry)).collect();
        let proxies = kept.proxies.extract_if(.., |p| !wanted.proxies.contains(p));
        gone.extend(proxies.map(|entry| proxy(&entry)));
        self.footprint = kept;
        // What was there before us is not in the record.
        gone.retain(|change| self.journal.changes().contains(change));
        for change in &gone {
            journal::undo(change, &self.tree, &self.netlink).await;
        }
        if let Err(why) = self.journal.forget(&gone) {
            tracing::warn!("{why}");
        }
    }

    /// Gives everything back, for good.
    pub async fn release(mut self) {
        match self.journal.undo(&self.tree, &self.netlink).await {
            Ok(0) => {}
            Ok(changes) => tracing::info!("{changes} changes to the host undone"),
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

/// A service address stands alone.
const fn host_len(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn address((interface, addr): &(String, IpAddr)) -> Change {
    Change::Address { interface: interface.clone(), addr: *addr, len: host_len(*addr) }
}

fn proxy((interface, addr): &(String, IpAddr)) -> Change {
    Change::Proxy { interface: interface.clone(), addr: *addr }
}

#[cfg(test)]
mod tests;
