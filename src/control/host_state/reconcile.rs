//! Keeps the host as configured: compares it with the kernel, never with memory, and restores what is missing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::time::Instant;

use super::{Change, HostError, HostState, host_len};
use crate::config::{Config, Egress, OwnAddress, Sysctls};
use crate::control::host_watch::Changed;
use crate::control::netlink::NetlinkError;
use crate::control::nft;
use crate::control::repairs::Repairs;
use crate::control::requirements::Requirements;
use crate::control::sysctl::{Setting, Tree};
use crate::observe::host::Part;

/// The device was deleted: its queues are dead, and a restart creates it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceGone;

/// One comparison.
struct Comparison<'a> {
    repairs: &'a mut Repairs,
    now: Instant,
}

impl Comparison<'_> {
    /// Records the result of a repair: done, unnecessary (`Ok(false)`), or failed.
    fn record<E: ToString>(&mut self, part: Part, what: &str, result: Result<bool, E>) {
        match result {
            Ok(true) => self.repairs.done(part, what, self.now),
            Ok(false) => {}
            Err(why) => self.repairs.problem(format!("{what}; the repair failed: {}", why.to_string())),
        }
    }

    /// Unwraps what was read; a failure is a problem.
    fn read<T>(&mut self, result: Result<T, NetlinkError>) -> Option<T> {
        result.map_err(|why| self.repairs.problem(why.to_string())).ok()
    }
}

impl HostState {
    /// Compares the host with `config` and repairs it. `wanted` are the requirements on a host with the addresses
    /// `own`. Where another program undoes repairs, the difference stays and is a problem.
    ///
    /// # Errors
    /// The device is gone.
    pub(crate) async fn reconcile(
        &mut self,
        config: &Config,
        (wanted, own): (&Requirements, &[OwnAddress]),
        changed: Changed,
        now: Instant,
    ) -> Result<(), DeviceGone> {
        // Apart while the comparison changes the rest.
        let mut repairs = std::mem::take(&mut self.repairs);
        repairs.begin(now);
        let result =
            self.compare(config, (wanted, own), changed, Comparison { repairs: &mut repairs, now }).await;
        if result.is_ok() {
            repairs.end();
        }
        self.repairs = repairs;
        result
    }

    async fn compare(
        &mut self,
        config: &Config,
        (wanted, own): (&Requirements, &[OwnAddress]),
        changed: Changed,
        mut comparison: Comparison<'_>,
    ) -> Result<(), DeviceGone> {
        self.repair_device(&mut comparison).await?;
        self.repair_sysctls(config.host.sysctls, &mut comparison);
        self.adapt(wanted, config.host.sysctls, &mut comparison).await;
        self.repair_routes(&mut comparison).await;
        self.repair_unreachable(&mut comparison).await;
        self.repair_addresses(own, &mut comparison).await;
        self.repair_proxies(&mut comparison).await;
        self.repair_reserved_ports(config, &mut comparison).await;
        self.check_return_path(config, own, &mut comparison);
        Self::await_addresses(config, own, &mut comparison);
        self.announcer.problems(comparison.now).into_iter().for_each(|what| comparison.repairs.problem(what));
        // A repair that failed or is paused is tried again.
        if changed == Changed::All || self.is_table_missing {
            let found = comparison.repairs.found();
            self.repair_nftables(config, &mut comparison).await;
            self.check_firewall(config, &mut comparison).await;
            self.firewall_problems = comparison.repairs.found_after(found);
        } else {
            // They are as they were.
            self.firewall_problems.iter().cloned().for_each(|what| comparison.repairs.problem(what));
        }
        Ok(())
    }

    async fn repair_device(&self, comparison: &mut Comparison<'_>) -> Result<(), DeviceGone> {
        match comparison.read(self.netlink.is_up(self.index).await) {
            Some(None) => return Err(DeviceGone),
            Some(Some(false)) => {
                let what = format!("{} was down", self.device);
                if comparison.repairs.may(&what) {
                    let done = self.configure_device().await;
                    comparison.record(Part::Device, &what, done.map(|()| true));
                }
            }
            Some(Some(true)) => {
                let next_hop = self.netlink.add_next_hop(self.index).await;
                comparison.read(next_hop);
            }
            None => {}
        }
        Ok(())
    }

    /// Follows a change of the requirements, for example because the uplink has another address.
    async fn adapt(&mut self, wanted: &Requirements, how: Sysctls, comparison: &mut Comparison<'_>) {
        if let Some(conflict) = wanted.conflicts.first() {
            comparison.repairs.problem(conflict.clone());
        } else if *wanted != self.requirements {
            match self.add_missing(wanted, how).await {
                Ok(()) => {
                    self.remove_obsolete(wanted).await;
                    self.requirements.upstream_routes.clone_from(&wanted.upstream_routes);
                }
                Err(why) => comparison.repairs.problem(why.to_string()),
            }
        }
    }

    async fn repair_routes(&mut self, comparison: &mut Comparison<'_>) {
        for to in &self.requirements.routes {
            // A default route yields to all others, so that the selected one says nothing.
            let is_there = to.len > 0
                && comparison.read(self.netlink.interface_of_route(*to).await) == Some(Some(self.index));
            let what = format!("the route to {to} was missing");
            if is_there || !comparison.repairs.may(&what) {
                continue;
            }
            let done = match self.netlink.add_route(*to, self.index).await {
                Err(why) if why.errno == libc::EEXIST && to.len == 0 => Ok(false),
                Err(why) if why.errno == libc::EEXIST => {
                    Err(format!("another route to {to} takes precedence"))
                }
                done => done.map(|()| true).map_err(|why| why.to_string()),
            };
            comparison.record(Part::Route, &what, done);
        }
    }

    async fn repair_unreachable(&mut self, comparison: &mut Comparison<'_>) {
        for to in &self.requirements.unreachable {
            let what = format!("the unreachable route to {to} was missing");
            if comparison.repairs.may(&what) {
                let done = self.netlink.add_unreachable(*to).await;
                comparison.record(Part::UnreachableRoute, &what, done);
            }
        }
    }

    async fn repair_addresses(&mut self, own: &[OwnAddress], comparison: &mut Comparison<'_>) {
        for entry in self.requirements.addresses.clone() {
            let (interface, addr) = &entry;
            if own.iter().any(|own| own.interface == *interface && own.addr == *addr) {
                continue;
            }
            let what = format!("{addr} was missing on {interface}");
            if comparison.repairs.may(&what) {
                // If its interface has just appeared, the journal does not have it.
                if let Err(why) = self.journal.record(super::address(&entry)) {
                    comparison.repairs.problem(why.to_string());
                }
                match self.netlink.add_address(interface, *addr, host_len(*addr)).await {
                    Err(why) if why.errno == libc::ENODEV => {
                        comparison.repairs.problem(format!("waiting for {addr} on {interface}"));
                    }
                    done => {
                        self.announcer.announce(vec![entry.clone()]);
                        comparison.record(Part::Address, &what, done);
                    }
                }
            }
        }
    }

    /// Listen addresses of DNS64 that no interface has yet.
    fn await_addresses(config: &Config, own: &[OwnAddress], comparison: &mut Comparison<'_>) {
        for dns in config.dns64.iter().filter(|dns| dns.assign.is_none()) {
            for addr in dns.settings.listen.iter().map(std::net::SocketAddr::ip) {
                let is_there = addr.is_unspecified() || addr.is_loopback();
                if !is_there && !own.iter().any(|own| own.addr == addr) {
                    let problem =
                        format!("waiting for {addr}: no interface has this listen address of DNS64");
                    comparison.repairs.problem(problem);
                }
            }
        }
    }

    async fn repair_proxies(&mut self, comparison: &mut Comparison<'_>) {
        let interfaces: BTreeSet<_> =
            self.requirements.proxies.iter().map(|(name, _)| name.clone()).collect();
        for interface in interfaces {
            let Some(present) = comparison.read(self.netlink.proxies(&interface).await) else { continue };
            let missing: Vec<IpAddr> = self
                .requirements
                .proxies
                .iter()
                .filter(|(name, addr)| *name == interface && !present.contains(addr))
                .map(|(_, addr)| *addr)
                .collect();
            let what = format!("proxy neighbours were missing on {interface}");
            if missing.is_empty() || !comparison.repairs.may(&what) {
                continue;
            }
            let again = missing.iter().map(|addr| (interface.clone(), *addr)).collect();
            let mut done = Ok(true);
            for addr in missing {
                if let Err(why) = self.netlink.add_proxy(&interface, addr).await {
                    done = Err(why);
                    break;
                }
            }
            self.announcer.announce(again);
            comparison.record(Part::Proxy, &what, done);
        }
    }

    /// Kernel settings, also those of interfaces that have appeared.
    fn repair_sysctls(&mut self, how: Sysctls, comparison: &mut Comparison<'_>) {
        let mut wanted = self.tree.router_advertisements(&self.device);
        wanted.extend(self.recorded_router_advertisements());
        wanted.extend(Tree::forwarding());
        wanted.extend(self.requirements.proxies.iter().map(Tree::proxy_delay).collect::<BTreeSet<_>>());
        for setting in wanted {
            self.repair_sysctl(&setting, how, comparison);
        }
    }

    /// `accept_ra` = 2, if gate64 enabled forwarding: for interfaces that have it in the journal, and for those that
    /// have 1, because they are new or another program set it.
    fn recorded_router_advertisements(&self) -> BTreeSet<Setting> {
        let recorded = self.journal.changes().iter().filter_map(|change| match change {
            Change::Sysctl { key, after, .. } => Some((key, after)),
            _ => None,
        });
        if !recorded.clone().any(|(key, _)| Tree::is_forwarding6(key)) {
            return BTreeSet::new();
        }
        let accepting = self.tree.accepting_interfaces(&self.device).into_iter();
        let recorded = recorded.filter(|(key, _)| key.ends_with("/accept_ra"));
        accepting.chain(recorded.map(|(key, after)| Setting::new(key, after))).collect()
    }

    fn repair_sysctl(&mut self, setting: &Setting, how: Sysctls, comparison: &mut Comparison<'_>) {
        // It vanishes with its interface.
        let Ok(found) = self.tree.read(&setting.key) else { return };
        let what = format!("{} was not {}", setting.name(), setting.value);
        if found != setting.value && comparison.repairs.may(&what) {
            let done = self.ensure(setting, how);
            comparison.record(Part::Sysctl, &what, done.map(|()| true));
        }
    }

    async fn repair_reserved_ports(&mut self, config: &Config, comparison: &mut Comparison<'_>) {
        let Egress::Masquerade { ports } = config.egress else { return };
        let Ok(setting) = self.tree.reserved_ports(ports) else { return };
        self.repair_sysctl(&setting, config.host.sysctls, comparison);
    }

    /// Whether the kernel drops ICMPv4 errors of gate64.
    fn check_return_path(&self, config: &Config, own: &[OwnAddress], comparison: &mut Comparison<'_>) {
        if let Some(problem) = self.tree.return_path_problem(config.nat64.address4, own) {
            comparison.repairs.problem(problem);
        }
    }

    async fn repair_nftables(&mut self, config: &Config, comparison: &mut Comparison<'_>) {
        self.is_table_missing = false;
        if config.egress == Egress::Routed {
            return;
        }
        let table = nft::table_of(&self.device);
        let what = format!("the nftables table ip {table} was missing");
        match nft::exists(&table).await {
            Ok(true) => {}
            Ok(false) if comparison.repairs.may(&what) => {
                let done = self.egress(config).await;
                self.is_table_missing = done.is_err();
                comparison.record(Part::Nftables, &what, done.map(|()| true));
            }
            Ok(false) => self.is_table_missing = true,
            Err(why) => {
                self.is_table_missing = true;
                comparison.repairs.problem(why.to_string());
            }
        }
    }

    /// Whether the firewall drops packets of gate64.
    async fn check_firewall(&self, config: &Config, comparison: &mut Comparison<'_>) {
        if config.host.checks.firewall {
            for refusal in self.refusals(config).await {
                comparison.repairs.problem(HostError::Firewall(refusal).to_string());
            }
        }
    }
}
