//! Judges the firewall of this host by what it would do with the packets of gate64.
//!
//! Sample packets of each flow pass the base chains of the ruleset. What the ruleset decides by a property that the
//! samples leave open, for example the address of a server, may go either way. So only chains that drop all samples
//! are reported: a firewall that forbids some services, servers or hosts is the operator's policy.

mod packet;
mod ruleset;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use packet::{Hook, Packet, Range, samples};
use ruleset::Ruleset;

use super::netlink::Netlink;
use super::nft;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64};
use crate::config::{Config, Egress, INNER, OwnAddress};

/// The packets of one configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Name of the device.
    pub(crate) device: String,
    /// Client prefixes, each with its interface if that is known.
    pub(crate) clients: Vec<(Option<String>, Ipv6Prefix)>,
    /// Interface towards IPv4 servers, if it is known.
    pub(crate) uplink: Option<String>,
    /// The prefix of translated servers.
    pub(crate) pref64: Option<Pref64>,
    /// The addresses of clients on the IPv4 side.
    pub(crate) pool: Option<Ipv4Prefix>,
    /// Sources of ICMP errors, if they are addresses of this host.
    pub(crate) errors: Vec<IpAddr>,
    /// Address of DNS64.
    pub(crate) dns: Option<IpAddr>,
}

impl Traffic {
    /// The packets of `config` on a host with the addresses `own`. The caller adds the interfaces.
    pub(crate) fn of(config: &Config, own: &[IpAddr]) -> Self {
        let zones = &config.nat64.zones;
        let pools = config.nat64.pools.iter().flat_map(|pool| &pool.ranges).map(|(prefix, _)| *prefix);
        let mapped = config.siit.iter().flat_map(|siit| &siit.routes4).copied();
        let errors: [IpAddr; 2] = [config.nat64.address6.into(), config.nat64.address4.into()];
        Self {
            device: config.host.device.clone(),
            clients: zones.iter().filter_map(|zone| Some((None, *zone.clients.first()?))).collect(),
            uplink: None,
            pref64: config.pref64s().first().copied(),
            pool: match config.egress {
                Egress::Masquerade { .. } => Some(Ipv4Prefix::host(INNER)),
                Egress::Routed => pools.chain(mapped).next(),
            },
            errors: errors.into_iter().filter(|addr| own.contains(addr)).collect(),
            dns: config.dns64.as_ref().and_then(|dns| dns.settings.listen.first()).map(|listen| listen.ip()),
        }
    }
}

impl Traffic {
    /// The packets of `config` on this host.
    pub(crate) async fn on_host(config: &Config, netlink: &Netlink) -> Self {
        let own = netlink.addresses(Some(&config.host.device)).await.unwrap_or_default();
        let mut traffic = Self::of(config, &own.iter().map(|own| own.addr).collect::<Vec<_>>());
        for (interface, prefix) in &mut traffic.clients {
            let mut near: Vec<_> = own.iter().filter(|own| is_within(own, *prefix)).collect();
            near.dedup_by_key(|own| own.interface.as_str());
            *interface = match near[..] {
                // Clients behind another router.
                [] => netlink.interface_towards(prefix.last().into()).await.unwrap_or_default(),
                [own] => Some(own.interface.clone()),
                // Several interfaces: it stays open.
                _ => None,
            };
        }
        traffic.uplink = netlink.interface_towards(SERVER.into()).await.unwrap_or_default();
        traffic
    }
}

/// Whether an address of this host is in a subnet with clients of `prefix`.
fn is_within(own: &OwnAddress, prefix: Ipv6Prefix) -> bool {
    match own.addr {
        IpAddr::V6(addr) => own.len < 128 && Ipv6Prefix::containing(addr, own.len).overlaps(prefix),
        IpAddr::V4(_) => false,
    }
}

/// Packets that belong together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Flow {
    /// From clients to the device.
    ToDevice6,
    /// Translated, from the device to servers.
    FromDevice4,
    /// Replies of servers to the device.
    ToDevice4,
    /// Translated replies, from the device to clients.
    FromDevice6,
    /// Queries of clients to DNS64.
    Dns,
    /// ICMP errors with an address of this host as their source.
    Errors,
}

/// A base chain that drops packets of gate64.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// Family of the table.
    pub(crate) family: String,
    /// Name of the table.
    pub(crate) table: String,
    /// Name of the chain.
    pub(crate) chain: String,
    /// What it drops.
    pub(crate) flows: Vec<Flow>,
    /// Name of the device.
    device: String,
}

impl Refusal {
    /// Whether translation or DNS64 cannot work. Otherwise only ICMP errors are lost.
    pub(crate) fn is_fatal(&self) -> bool {
        self.flows.iter().any(|flow| *flow != Flow::Errors)
    }

    /// Which chain drops what.
    pub(crate) fn finding(&self) -> String {
        let names: Vec<_> = self.flows.iter().map(|flow| flow.name()).collect();
        let (family, table, chain) = (&self.family, &self.table, &self.chain);
        format!("the chain {family} {table} {chain} drops {}", names.join(", "))
    }

    /// The commands that let the packets pass.
    pub(crate) fn remedy(&self) -> String {
        let mut rules = Vec::new();
        for flow in &self.flows {
            let words = match flow {
                Flow::ToDevice6 | Flow::ToDevice4 => vec![format!("oifname {} accept", self.device)],
                Flow::FromDevice6 | Flow::FromDevice4 | Flow::Errors => {
                    vec![format!("iifname {} accept", self.device)]
                }
                Flow::Dns => vec!["udp dport 53 accept".to_owned(), "tcp dport 53 accept".to_owned()],
            };
            for rule in words {
                let command = format!("nft insert rule {} {} {} {rule}", self.family, self.table, self.chain);
                if !rules.contains(&command) {
                    rules.push(command);
                }
            }
        }
        rules.join(" && ")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; type: {}", self.finding(), self.remedy())
    }
}

impl Flow {
    const fn name(self) -> &'static str {
        match self {
            Self::ToDevice6 => "IPv6 packets of clients to gate64",
            Self::FromDevice4 => "IPv4 packets of gate64 to servers",
            Self::ToDevice4 => "IPv4 packets of servers to gate64",
            Self::FromDevice6 => "IPv6 packets of gate64 to clients",
            Self::Dns => "DNS queries of clients",
            Self::Errors => "ICMP errors of gate64, without which large packets get lost",
        }
    }
}

/// The chains of this host that drop packets of gate64; none if nft cannot be run.
pub(crate) async fn refusals(config: &Config, netlink: &Netlink) -> Vec<Refusal> {
    match nft::ruleset().await {
        Some(ruleset) => judge(&ruleset, &Traffic::on_host(config, netlink).await),
        None => Vec::new(),
    }
}

/// The chains of a ruleset, as `nft -j list ruleset` prints it, that drop all samples of a flow.
pub(crate) fn judge(ruleset: &str, traffic: &Traffic) -> Vec<Refusal> {
    let Some(ruleset) = Ruleset::parse(ruleset) else { return Vec::new() };
    let mut refusals: Vec<Refusal> = Vec::new();
    for (flow, hook, samples) in flows(traffic) {
        let dropped: Option<Vec<_>> = samples.iter().map(|packet| ruleset.dropping(hook, packet)).collect();
        let Some([chain, ..]) = dropped.as_deref() else { continue };
        let found = Refusal {
            family: chain.family.clone(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            flows: vec![flow],
            device: traffic.device.clone(),
        };
        let same = |other: &&mut Refusal| {
            (&other.family, &other.table, &other.chain) == (&found.family, &found.table, &found.chain)
        };
        match refusals.iter_mut().find(same) {
            Some(refusal) if refusal.flows.contains(&flow) => {}
            Some(refusal) => refusal.flows.push(flow),
            None => refusals.push(found),
        }
    }
    refusals
}

/// The flows with their hooks and samples.
fn flows(traffic: &Traffic) -> Vec<(Flow, Hook, Vec<Packet<'_>>)> {
    let device = Some(traffic.device.as_str());
    let uplink = traffic.uplink.as_deref();
    let servers = traffic.pref64.map_or_else(Range::any6, |p| Range::v6(p.prefix()));
    let pool = traffic.pool.map_or_else(Range::any4, Range::v4);
    let mut flows = vec![
        (Flow::FromDevice4, Hook::Forward, samples(device, uplink, pool, Range::any4(), false)),
        (Flow::ToDevice4, Hook::Forward, samples(uplink, device, Range::any4(), pool, true)),
    ];
    let clients =
        traffic.clients.iter().map(|(interface, prefix)| (interface.as_deref(), Range::v6(*prefix)));
    // Without zones, stateless mappings select the clients.
    let anyone = traffic.clients.is_empty().then_some((None, Range::any6()));
    for (interface, prefix) in clients.chain(anyone) {
        flows.push((Flow::ToDevice6, Hook::Forward, samples(interface, device, prefix, servers, false)));
        flows.push((Flow::FromDevice6, Hook::Forward, samples(device, interface, servers, prefix, true)));
        if let Some(listen) = traffic.dns.filter(|addr| !addr.is_loopback()) {
            let to = if listen.is_unspecified() { Range::any6() } else { Range::host(listen) };
            // IPv4 clients are in no zone.
            if listen.is_ipv6() {
                flows.push((Flow::Dns, Hook::Input, Packet::queries(interface, prefix, to)));
            }
        }
    }
    for source in &traffic.errors {
        let to = match source {
            IpAddr::V4(_) => Range::any4(),
            IpAddr::V6(_) => Range::any6(),
        };
        flows.push((Flow::Errors, Hook::Prerouting, vec![Packet::error(device, Range::host(*source), to)]));
    }
    flows
}

/// A destination outside this host and all client prefixes, to find the interface towards servers. Nothing is sent.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 1);

#[cfg(test)]
mod tests;
