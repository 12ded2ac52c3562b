//! What all observers look at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::addr::ZoneId;
use crate::config::{Config, Egress};
use crate::counters::{Counters, ZoneCounters};
use crate::device::{Offloads, Tallies};
use crate::resolver::{self, Report, Reporter, Resolver};
use crate::translator::Event;
use crate::worker::{Notice, Workers};

/// A zone as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownZone {
    /// Its number, which tallies go by.
    pub id: ZoneId,
    /// Its name.
    pub name: String,
    /// Its clients.
    pub clients: Vec<String>,
    /// Its pref64s, the advertised one first.
    pub pref64: Vec<String>,
    /// What it is translated to.
    pub pool4: Vec<String>,
}

/// What the present configuration shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// The zones, in the order of the file.
    pub zones: Vec<ShownZone>,
    /// How many mappings there are without state, if any.
    pub mappings: Option<usize>,
    /// Settings in force, by key.
    pub settings: Vec<(&'static str, String)>,
    /// What the kernel does with super-packets.
    pub offloads: Offloads,
    /// Whether the kernel chooses the worker.
    pub steering: bool,
}

/// Everything that can be seen of a running gateway. Shared by all who serve it.
#[derive(Debug)]
pub struct View {
    started: Instant,
    counters: Vec<Arc<Counters>>,
    tallies: Vec<Arc<Tallies>>,
    resolver: RwLock<Option<(Arc<resolver::Counters>, Reporter)>>,
    shown: RwLock<Shown>,
    /// Seconds since the start, of the last complaint about an empty pool.
    complained: AtomicU64,
}

/// At most one line about empty pools in this time.
const QUIET: Duration = Duration::from_secs(10);

impl View {
    /// A view of what has just been started.
    pub fn new(config: &Config, workers: &Workers, resolver: Option<&Resolver>) -> Self {
        Self {
            started: Instant::now(),
            counters: workers.counters(),
            tallies: workers.tallies(),
            resolver: RwLock::new(resolver.map(|r| (r.counters(), r.reporter()))),
            shown: RwLock::new(shown(config)),
            complained: AtomicU64::new(u64::MAX),
        }
    }

    /// Shows another configuration from now on.
    pub fn show(&self, config: &Config, resolver: Option<&Resolver>) {
        let Shown { offloads, steering, .. } = self.shown();
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) =
            Shown { offloads, steering, ..shown(config) };
        let resolver = resolver.map(|r| (r.counters(), r.reporter()));
        *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = resolver;
    }

    /// Says what the device does itself, and whether the kernel chooses the worker.
    pub fn set_device(&self, offloads: Offloads, steering: bool) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.offloads = offloads;
        shown.steering = steering;
    }

    /// What the configuration shows.
    pub fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the gateway has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The tallies of the translators, by worker.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// The tallies of the device's queues, by worker.
    pub fn tallies(&self) -> &[Arc<Tallies>] {
        &self.tallies
    }

    /// What the resolver counts, if there is one.
    pub fn resolver(&self) -> Option<Arc<resolver::Counters>> {
        let resolver = self.resolver.read().unwrap_or_else(PoisonError::into_inner);
        resolver.as_ref().map(|(counters, _)| Arc::clone(counters))
    }

    /// What the engines of the resolver know, if there is one, with at most `names` names of each zone.
    pub async fn known(&self, names: usize) -> Option<Report> {
        let reporter = {
            let resolver = self.resolver.read().unwrap_or_else(PoisonError::into_inner);
            resolver.as_ref().map(|(_, reporter)| reporter.clone())
        };
        Some(reporter?.report(names).await)
    }

    /// A number of one zone, summed over the workers; `None` is what belongs to no zone.
    pub fn sum(&self, zone: Option<ZoneId>, number: impl Fn(&ZoneCounters) -> u64) -> u64 {
        self.counters.iter().map(|worker| number(worker.zone(zone))).sum()
    }

    /// Takes note of an event. Only an empty pool is worth a line in the log, now and then.
    pub fn note(&self, notice: &Notice) {
        match notice.event {
            Event::PoolExhausted { host } => {
                let now = self.uptime().as_secs();
                let last = self.complained.load(Ordering::Relaxed);
                if last == u64::MAX || now >= last + QUIET.as_secs() {
                    self.complained.store(now, Ordering::Relaxed);
                    tracing::warn!("pool4 has nothing left to give, last for {}", host.prefix);
                }
            }
            Event::QuotaReached { host, reason } => {
                tracing::debug!("{} has reached its bound: {reason}", host.prefix);
            }
            Event::WithoutChecksum { src, dst } => {
                tracing::debug!("UDP without checksum from {src} to {dst} was dropped");
            }
            Event::BlockAssigned { .. } | Event::BlockReleased { .. } | Event::SessionEnded { .. } => {}
        }
    }
}

fn shown(config: &Config) -> Shown {
    let texts = |list: &[_]| list.iter().map(|p: &crate::addr::Ipv6Prefix| p.to_string()).collect();
    let zones = config.nat64.zones.iter().zip(&config.zone_names).map(|(zone, name)| ShownZone {
        id: zone.id,
        name: name.clone(),
        clients: texts(&zone.clients),
        pref64: zone.pref64.iter().map(ToString::to_string).collect(),
        pool4: config.nat64.pools[zone.pool].ranges.iter().map(|(p, ports)| format!("{p}:{ports}")).collect(),
    });
    let mappings = config.siit.as_ref().map(|siit| siit.settings.eams.len() + siit.settings.hosts.len());
    Shown { zones: zones.collect(), mappings, settings: settings(config), ..Shown::default() }
}

/// The settings that people ask for when something does not work.
fn settings(config: &Config) -> Vec<(&'static str, String)> {
    let nat64 = &config.nat64;
    let list = |prefixes: &[crate::addr::Ipv4Prefix]| {
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let egress = match config.egress {
        Egress::Routed => "routed".to_owned(),
        Egress::Masquerade { ports } => format!("masquerade, ports {ports}"),
    };
    let mut settings = vec![
        ("device", config.host.device.clone()),
        ("egress", egress),
        ("wkp_private", nat64.private_under_well_known.to_string()),
        ("wkp_icmp_errors", nat64.errors_under_well_known.to_string()),
        ("deny", list(&nat64.deny)),
        ("mtu6", config.rules.mtu6.to_string()),
        ("mtu4", config.rules.mtu4.to_string()),
        ("lowest_ipv6_mtu", config.rules.lowest_ipv6_mtu.to_string()),
        ("mss_clamp", config.rules.mss_clamp.to_string()),
        ("tcp_resegment", config.rules.tcp_resegment.to_string()),
        ("address6", nat64.address6.to_string()),
        ("address4", nat64.address4.to_string()),
        ("sessions", nat64.limits.sessions.to_string()),
        ("udp", format!("{:?}", nat64.timers.udp)),
        ("tcp_established", format!("{:?}", nat64.timers.tcp_established)),
    ];
    if let Some(dns) = &config.dns64 {
        let all = |addrs: &[std::net::SocketAddr]| {
            addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        settings.push(("dns64.listen", all(&dns.settings.listen)));
        settings.push(("dns64.upstreams", all(&dns.settings.upstreams)));
    }
    settings
}
