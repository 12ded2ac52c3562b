//! The state of a running gateway that metrics and `gate64 status` show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::binding_log::BindingLogView;
use super::host::HostReport;
use super::ledger::LedgerView;
use crate::addr::ZoneId;
use crate::config::{Config, Egress, Probe};
use crate::counters::{Counters, ZoneCounters};
use crate::device::{Offloads, OverloadMonitor, Tallies};
use crate::resolver::{self, Report, Reporter, Resolver};
use crate::translator::Event;
use crate::worker::{Inspector, Notice, Workers};

/// Settings of a zone, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownZone {
    /// Number of the zone in the counters.
    pub id: ZoneId,
    /// Name.
    pub name: String,
    /// Client prefixes.
    pub clients: Vec<String>,
    /// Prefixes, the advertised one first.
    pub pref64: Vec<String>,
    /// Public IPv4 addresses with port ranges.
    pub pool4: Vec<String>,
    /// Ports and ICMP identifiers of all its public addresses.
    pub pool4_ports: u64,
    /// Percentage of pool4 that the zone may use.
    pub pool_share: u8,
    /// Rules for new sessions, in their order.
    pub rules: Vec<String>,
}

/// Settings of the gateway, as text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// The zones, in the order of the file.
    pub zones: Vec<ShownZone>,
    /// Number of stateless mappings; `None` without `[siit]`.
    pub mappings: Option<usize>,
    /// Settings in effect, by key.
    pub settings: Vec<(&'static str, String)>,
    /// Maximum numbers of entries by table, over all workers.
    pub limits: Vec<(&'static str, u64)>,
    /// Offloads of the device.
    pub offloads: Offloads,
    /// Whether the kernel steers packets to workers.
    pub steering: bool,
    /// Whether the overload filter is wanted.
    pub overload_filter: bool,
}

/// The end of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastReload {
    /// Whether the new settings are in effect.
    pub succeeded: bool,
    /// When it ended.
    pub at: Instant,
    /// When it ended, in Unix time.
    pub unix_seconds: u64,
    /// The result, as `gate64 reload` prints it.
    pub message: String,
}

/// What the control of a running gateway reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// Whether no worker can use its device.
    pub is_down: bool,
    /// Which threads do not respond, as text.
    pub stuck: Option<String>,
    /// What the gateway has repaired on its host, and what is wrong with it.
    pub host: HostReport,
    /// Why the configuration file was refused, while the last good one is in effect.
    pub refused: Option<String>,
    /// Consecutive failures of each probe of the IPv4 path.
    pub path: BTreeMap<Probe, u32>,
    /// The end of the last reload, if there was one.
    pub last_reload: Option<LastReload>,
}

/// Settings and counters of a running gateway. The metrics and admin servers share it.
#[derive(Debug)]
pub struct View {
    clock: fn() -> Instant,
    started: Instant,
    counters: Vec<Arc<Counters>>,
    tallies: Vec<Arc<Tallies>>,
    inspector: Inspector,
    resolver: RwLock<Option<(Arc<resolver::Counters>, Reporter)>>,
    shown: RwLock<Shown>,
    condition: RwLock<Condition>,
    overload: OnceLock<OverloadMonitor>,
    binding_log: OnceLock<BindingLogView>,
    ledger: OnceLock<LedgerView>,
    pool4: Pool4Alarm,
}

/// When pool4 was exhausted.
#[derive(Debug)]
struct Pool4Alarm {
    /// Uptime in seconds at the last warning; `u64::MAX` before the first.
    last_warning: AtomicU64,
    /// Uptime in seconds when it was last exhausted; `u64::MAX` if it never was.
    last_exhaustion: AtomicU64,
}

/// Minimum interval between warnings about an exhausted pool4.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

impl View {
    /// A view of a gateway that starts now, by `clock`.
    pub fn new(
        config: &Config,
        workers: &Workers,
        resolver: Option<&Resolver>,
        clock: fn() -> Instant,
    ) -> Self {
        Self {
            clock,
            started: clock(),
            counters: workers.counters(),
            tallies: workers.tallies(),
            inspector: workers.inspector(),
            resolver: RwLock::new(resolver.map(|r| (r.counters(), r.reporter()))),
            shown: RwLock::new(shown(config)),
            condition: RwLock::default(),
            overload: OnceLock::new(),
            binding_log: OnceLock::new(),
            ledger: OnceLock::new(),
            pool4: Pool4Alarm {
                last_warning: AtomicU64::new(u64::MAX),
                last_exhaustion: AtomicU64::new(u64::MAX),
            },
        }
    }

    /// Replaces the configuration after a reload.
    pub fn show(&self, config: &Config, resolver: Option<&Resolver>) {
        let Shown { offloads, steering, .. } = self.shown();
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) =
            Shown { offloads, steering, ..shown(config) };
        let resolver = resolver.map(|r| (r.counters(), r.reporter()));
        *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = resolver;
        if let Some(log) = self.binding_log.get() {
            log.reconfigure(config);
        }
        if let Some(ledger) = self.ledger.get() {
            ledger.reconfigure(config);
        }
    }

    /// Sets the binding log, once.
    pub fn set_binding_log(&self, log: BindingLogView) {
        let _ = self.binding_log.set(log);
    }

    /// Sets the ledger, once.
    pub fn set_ledger(&self, ledger: LedgerView) {
        let _ = self.ledger.set(ledger);
    }

    /// The ledger, if it is enabled.
    pub fn ledger(&self) -> Option<&LedgerView> {
        self.ledger.get()
    }

    /// The binding log, if it is enabled.
    pub fn binding_log(&self) -> Option<&BindingLogView> {
        self.binding_log.get()
    }

    /// Changes what control reports.
    pub fn report(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What control reports.
    pub fn condition(&self) -> Condition {
        self.condition.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time since pool4 was last exhausted; `None` if it never was.
    pub fn since_exhaustion(&self) -> Option<Duration> {
        let last = self.pool4.last_exhaustion.load(Ordering::Relaxed);
        (last != u64::MAX).then(|| self.uptime().saturating_sub(Duration::from_secs(last)))
    }

    /// Returns once all threads of the resolver have responded.
    pub async fn resolver_responds(&self) {
        if let Some(reporter) = self.reporter() {
            reporter.ping().await;
        }
    }

    /// Sets the offloads of the device, whether the kernel steers packets to workers, and the loaded overload filter.
    pub fn set_device(&self, offloads: Offloads, steering: bool, overload: Option<OverloadMonitor>) {
        if let Some(overload) = overload {
            // The device is set once.
            let _ = self.overload.set(overload);
        }
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.offloads = offloads;
        shown.steering = steering;
    }

    /// State of the overload filter: `off`, `unavailable`, `idle` or `active`.
    pub fn overload_filter(&self) -> &'static str {
        match self.overload.get() {
            Some(filter) if filter.is_active() => "active",
            Some(_) => "idle",
            None if self.shown().overload_filter => "unavailable",
            None => "off",
        }
    }

    /// Settings of the gateway, as text.
    pub fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time, by the clock of the view.
    pub fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.now().duration_since(self.started)
    }

    /// Counters of the translators, by worker.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Counters of the device queues, by worker.
    pub fn tallies(&self) -> &[Arc<Tallies>] {
        &self.tallies
    }

    /// Inspects the workers.
    pub const fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// Counters of the resolver, if there is one.
    pub fn resolver(&self) -> Option<Arc<resolver::Counters>> {
        let resolver = self.resolver.read().unwrap_or_else(PoisonError::into_inner);
        resolver.as_ref().map(|(counters, _)| Arc::clone(counters))
    }

    /// The reporter of the resolver, if there is one.
    pub(super) fn reporter(&self) -> Option<Reporter> {
        let resolver = self.resolver.read().unwrap_or_else(PoisonError::into_inner);
        resolver.as_ref().map(|(_, reporter)| reporter.clone())
    }

    /// The failures of a name that the resolver remembers, as text.
    pub async fn resolver_failures(&self, name: &str) -> Vec<String> {
        match self.reporter() {
            Some(reporter) => reporter.failures(name).await,
            None => Vec::new(),
        }
    }

    /// Ledger and cache of the resolver, if there is one, with at most `names` names per zone.
    pub async fn resolver_report(&self, names: usize) -> Option<Report> {
        Some(self.reporter()?.report(names).await)
    }

    /// A counter of one zone, summed over the workers. `None` counts packets outside every zone.
    pub fn sum(&self, zone: Option<ZoneId>, number: impl Fn(&ZoneCounters) -> u64) -> u64 {
        self.counters.iter().map(|worker| number(worker.zone(zone))).sum()
    }

    /// Logs an event. Warns about an exhausted pool4 at most once per `WARNING_INTERVAL`.
    pub fn note(&self, notice: &Notice) {
        match notice.event {
            Event::PoolExhausted { host } => {
                let now = self.uptime().as_secs();
                self.pool4.last_exhaustion.store(now, Ordering::Relaxed);
                let last = self.pool4.last_warning.load(Ordering::Relaxed);
                if last == u64::MAX || now >= last + WARNING_INTERVAL.as_secs() {
                    self.pool4.last_warning.store(now, Ordering::Relaxed);
                    tracing::warn!("pool4 is exhausted, most recently for {}", host.prefix);
                }
            }
            Event::QuotaReached { host, reason } => {
                tracing::debug!("{} has reached its limit: {reason}", host.prefix);
            }
            Event::WithoutChecksum { src, dst } => {
                tracing::debug!("dropped UDP without checksum from {src} to {dst}");
            }
            Event::BlockAssigned { .. }
            | Event::BlockReleased { .. }
            | Event::BlockReclaimed { .. }
            | Event::SessionStarted { .. }
            | Event::SessionEnded { .. } => {}
        }
    }
}

fn shown(config: &Config) -> Shown {
    let texts = |list: &[_]| list.iter().map(|p: &crate::addr::Ipv6Prefix| p.to_string()).collect();
    let zones = config.nat64.zones.iter().zip(&config.zone_names).map(|(zone, name)| {
        let pool4 = &config.nat64.pools[zone.pool].ranges;
        ShownZone {
            id: zone.id,
            name: name.clone(),
            clients: texts(&zone.clients),
            pref64: zone.pref64.iter().map(ToString::to_string).collect(),
            pool4: pool4.iter().map(|(prefix, ports)| format!("{prefix}:{ports}")).collect(),
            pool4_ports: pool4.iter().map(|(prefix, ports)| prefix.size() * u64::from(ports.count())).sum(),
            pool_share: zone.sharing.pool_share,
            rules: zone.new_sessions.rules.iter().map(ToString::to_string).collect(),
        }
    });
    let limits = &config.nat64.limits;
    let mappings = config.siit.as_ref().map(|siit| siit.settings.eams.len() + siit.settings.hosts.len());
    Shown {
        zones: zones.collect(),
        mappings,
        settings: settings(config),
        limits: vec![
            ("sessions", limits.sessions.into()),
            ("bindings", limits.bindings.into()),
            ("blocks", limits.blocks.into()),
            ("hosts", limits.hosts.into()),
        ],
        overload_filter: config.host.overload_filter,
        ..Shown::default()
    }
}

/// The settings that matter for troubleshooting.
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
        ("refusals", if config.rules.silent_refusals { "silent" } else { "icmp" }.to_owned()),
        ("unknown_tcp", if config.rules.reset_unknown_tcp { "reset" } else { "drop" }.to_owned()),
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
