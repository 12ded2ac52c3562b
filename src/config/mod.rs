//! The configuration: parses a TOML file into typed, resolved settings.
//!
//! All errors are found before anything starts, and are reported together with their lines.
//! `configs/reference.toml` explains every key.

mod binding_log;
mod changes;
mod diagnostic;
mod dns;
mod dns_rules;
mod document;
mod egress;
mod error_sources;
mod health;
mod host;
mod host_info;
mod json_schema;
mod ledger;
pub(crate) mod lenient;
mod network;
mod pool;
mod reader;
mod rules;
mod schema;
mod shape;
mod siit;
mod statics;
mod translator;
mod zones;

#[cfg(test)]
mod reference;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::{LocalAddresses, Pref64, WorkerId, ZoneId};
use crate::nat64;
use crate::translator::Settings;
use crate::xlat::RewriteRules;

pub use binding_log::{BindingLog, LogCollector, LogFiles, SessionRecords};
pub use changes::{KeyChange, changes};
pub use diagnostic::{ConfigError, Diagnostic, Severity};
pub use dns::Dns64;
pub use ledger::{HostIdentities, Ledger};
pub(crate) use reader::duration;

pub use egress::{Egress, INNER};
pub use health::{HealthSettings, Probe};
pub use host::{ADMIN_SOCKET, Announce, Checks, Host, Observe, RUNTIME_DIR, STATE_DIR, Sysctls};
pub use host_info::{HostInfo, OwnAddress};
pub use siit::Siit;
pub use zones::MAX_ZONES;

/// Default of `linger`: the longest time for which resolvers usually cache a record.
const LINGER: Duration = Duration::from_secs(86_400);

/// A valid configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Device, host settings and directories.
    pub host: Host,
    /// How packets reach the IPv4 Internet.
    pub egress: Egress,
    /// Rewriting rules, the same for all workers.
    pub rules: RewriteRules,
    /// Stateless translation, if configured.
    pub siit: Option<Siit>,
    /// Stateful translation, with the limits of the whole gateway.
    pub nat64: nat64::Settings,
    /// Addresses of this host, which no packet may reach.
    pub local: Arc<LocalAddresses>,
    /// How long gate64 still translates a pref64 that a reload removed.
    pub linger: Duration,
    /// Zone names, in the order of `nat64.zones`.
    pub zone_names: Vec<String>,
    /// DNS64, if configured.
    pub dns64: Option<Dns64>,
    /// Metrics and the admin socket.
    pub observe: Observe,
    /// Hooks and probes of `[health]`.
    pub health: HealthSettings,
    /// Which host had which port when.
    pub binding_log: BindingLog,
    /// Which names and hosts still need IPv4.
    pub ledger: Ledger,
    /// Probable mistakes. They do not prevent the start.
    pub warnings: Vec<Diagnostic>,
}

/// The JSON Schema of the configuration file. `host` is any host on which `configs/reference.toml` is valid.
pub fn json_schema(host: &dyn HostInfo) -> serde_json::Value {
    json_schema::generate(&|text| {
        Config::parse("", text, host).err().map(|error| error.diagnostics).unwrap_or_default()
    })
}

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Reading the file failed.
    #[error("{path}: {source}")]
    Read {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Config {
    /// Reads and resolves a file.
    ///
    /// # Errors
    /// [`LoadError::Read`] if reading the file fails, [`LoadError::Config`] with all errors of its content.
    pub fn load(path: &Path, host: &dyn HostInfo) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: name.clone(), source })?;
        Ok(Self::parse(&name, &text, host)?)
    }

    /// Resolves the text of a file; `name` is its name in error messages.
    ///
    /// # Errors
    /// All errors of the text.
    pub fn parse(name: &str, text: &str, host: &dyn HostInfo) -> Result<Self, ConfigError> {
        let shown = |problem| Diagnostic::new(name, text, problem);
        let (file, unknown): (schema::File, _) = document::read(text)
            .map_err(|problems| ConfigError { diagnostics: problems.into_iter().map(shown).collect() })?;
        let mut reader = reader::Reader::new(host);
        let config = resolve(&mut reader, &file);
        let mut errors = std::mem::take(&mut reader.errors);
        errors.extend(unknown);
        errors.sort_by_key(|c| c.at.start);
        match config {
            Some(mut config) if errors.is_empty() => {
                reader.warnings.sort_by_key(|c| c.at.start);
                config.warnings = reader.warnings.into_iter().map(shown).collect();
                Ok(config)
            }
            _ => Err(ConfigError { diagnostics: errors.into_iter().map(shown).collect() }),
        }
    }

    /// Settings of one of `workers` workers: an equal share of the limits, everything else unchanged.
    pub fn worker(&self, worker: WorkerId, workers: u8, seed: u64, owner_seed: u32) -> Settings {
        let mut nat64 = self.nat64.clone();
        nat64.limits = self.worker_limits(workers);
        Settings {
            worker,
            workers,
            seed,
            owner_seed,
            rules: self.rules,
            siit: self.siit.as_ref().map(|siit| siit.settings.clone()),
            nat64,
            local: Arc::clone(&self.local),
        }
    }

    /// The limits of one of `workers` workers.
    pub fn worker_limits(&self, workers: u8) -> nat64::Limits {
        share(self.nat64.limits, u32::from(workers.max(1)))
    }

    /// All prefixes of all zones, sorted, without duplicates.
    pub fn pref64s(&self) -> Vec<Pref64> {
        let mut all: Vec<_> = self.nat64.zones.iter().flat_map(|z| z.pref64.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Assigns to each zone the number that the zone of the same name has in `before`, and free numbers to new
    /// zones, so that zones keep their counters and sessions.
    pub fn keep_zone_numbers(&mut self, before: &Self) {
        let old = |name: &String| {
            before.zone_names.iter().position(|n| n == name).map(|i| before.nat64.zones[i].id)
        };
        let mut taken: Vec<ZoneId> = self.zone_names.iter().filter_map(old).collect();
        for (zone, name) in self.nat64.zones.iter_mut().zip(&self.zone_names) {
            zone.id = match old(name) {
                Some(id) => id,
                None => {
                    let free = (0..).map(ZoneId).find(|id| !taken.contains(id)).unwrap_or_default();
                    taken.push(free);
                    free
                }
            };
        }
        self.number_zones_in_dns();
    }
}

/// One of `workers` equal shares, rounded up. Limits per source or host are not divided.
fn share(whole: nat64::Limits, workers: u32) -> nat64::Limits {
    let part = |n: u32| n.div_ceil(workers);
    nat64::Limits {
        sessions: part(whole.sessions),
        bindings: part(whole.bindings),
        blocks: part(whole.blocks),
        hosts: part(whole.hosts),
        fragment_bytes: whole.fragment_bytes.div_ceil(workers as usize),
        unsolicited_syns: part(whole.unsolicited_syns),
        unsolicited_syns_per_source: whole.unsolicited_syns_per_source,
        events: whole.events,
    }
}

fn local_addresses(host: &dyn HostInfo) -> LocalAddresses {
    let own = host.addresses().iter().map(|own| (own.addr, own.len));
    LocalAddresses::new(own).with_routes(host.local_routes().iter().copied())
}

fn resolve(reader: &mut reader::Reader<'_>, file: &schema::File) -> Option<Config> {
    let default = schema::Translator::default();
    let section = file.translator.as_ref().map_or(&default, |t| t.get_ref());
    let host = host::host(reader, file.host.as_ref());
    let egress = egress::egress(reader, section);
    let observe = host::observe(reader, file.observe.as_ref());
    let health = health::health(reader, file.health.as_ref());
    let rules = translator::rules(reader, section, host.mtu);
    let zones = zones::zones(reader, file, section, egress);
    let binding_log = binding_log::binding_log(reader, file, &host.state_dir, &zones);
    let ledger = ledger::ledger(reader, file, &host.state_dir);
    let statics = statics::statics(reader, &file.statics, &zones, egress);
    let dns64 = dns::dns64(reader, file, &zones);
    let sources = error_sources::error_sources(reader, file, section, &zones);
    let deny = translator::deny(reader, section, &zones);
    let siit = siit::siit(reader, file, &zones, &statics, &deny);
    let timers = translator::timers(reader, file.timers.as_ref());
    let udp_ports = translator::udp_ports(reader, file.timers.as_ref());
    let limits = translator::limits(reader, file.limits.as_ref(), &zones);
    let linger = reader.duration(section.linger.as_ref(), LINGER, Duration::ZERO, "");
    let (filtering, pairing) = (translator::filtering(reader, section), translator::pairing(reader, section));
    let unsolicited_syn = translator::unsolicited_syn(reader, section);
    // Return only now: every section above has reported its errors.
    let (address6, address4) = sources?;
    siit::warn_about_addresses(reader, file, &zones, siit.as_ref(), address4);
    let nat64 = nat64::Settings {
        log_sessions: binding_log.has_sessions(),
        deny,
        filtering,
        unsolicited_syn,
        private_under_well_known: section.allows_private_destinations(),
        errors_under_well_known: section.wkp_icmp_errors.unwrap_or(false),
        inbound_refresh: section.inbound_refresh.unwrap_or(true),
        parity: section.parity.unwrap_or(true),
        pairing,
        zones: zones.zones,
        pools: zones.pools.pools,
        statics,
        timers,
        udp_ports,
        masquerade: egress::masquerade(reader, egress, address4),
        limits,
        address6,
        address4,
    };
    Some(Config {
        host,
        egress,
        rules,
        siit,
        nat64,
        local: Arc::new(local_addresses(reader.host)),
        linger,
        zone_names: zones.names,
        dns64,
        observe,
        health,
        binding_log,
        ledger,
        warnings: Vec::new(),
    })
}
