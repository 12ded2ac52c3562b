//! The configuration: one TOML file, read once into a typed and resolved form.
//!
//! Whatever is wrong is found before anything is started, and all of it is shown at once, each
//! with its line. `configs/reference.toml` explains every key.

mod diagnostic;
mod dns;
mod dns_rules;
mod document;
mod host;
mod network;
mod pool;
mod reader;
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

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::addr::WorkerId;
use crate::addr::{Pref64, ZoneId};
use crate::nat64;
use crate::translator::Settings;
use crate::xlat::Rules;

pub use diagnostic::{ConfigError, Diagnostic};
pub use dns::Dns64;
pub(crate) use reader::duration;

pub use host::{Announce, Egress, Host, INNER, Observe, Sysctls};
pub use siit::Siit;

/// Most zones a gateway can have; counters are laid out for as many at start.
pub const MAX_ZONES: usize = 256;
/// Most workers a gateway can have.
pub const MAX_WORKERS: u8 = 64;

/// No resolver keeps an answer longer than a day, so that nobody uses a prefix longer.
const LINGER: Duration = Duration::from_secs(86_400);

/// An address of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnAddress {
    /// The interface it belongs to.
    pub interface: String,
    /// The address.
    pub addr: IpAddr,
    /// The length of the subnet's prefix.
    pub len: u8,
}

/// What a configuration must know about the host to be checked and completed.
pub trait Surroundings {
    /// The host's addresses, those of its own translator device left out.
    fn addresses(&self) -> &[OwnAddress];
    /// The source the kernel would use towards `to`; `None` if no route leads there.
    fn source_towards(&self, to: IpAddr) -> Option<IpAddr>;
    /// How many CPUs may be used, at least 1.
    fn cpus(&self) -> usize;
}

/// A configuration that can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The device, the host's settings, and what is kept where.
    pub host: Host,
    /// How packets reach the IPv4 Internet.
    pub egress: Egress,
    /// Rewriting; the same for all workers.
    pub rules: Rules,
    /// Mappings without state, if there are any.
    pub siit: Option<Siit>,
    /// State, with the bounds of the whole gateway.
    pub nat64: nat64::Settings,
    /// How long a pref64 that was taken out of the file is still translated.
    pub linger: Duration,
    /// Names of the zones, in the order of `nat64.zones`.
    pub zone_names: Vec<String>,
    /// DNS64, if there is to be one.
    pub dns64: Option<Dns64>,
    /// Metrics and the admin socket.
    pub observe: Observe,
    /// What is probably not meant. Never keeps the gateway from starting.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Config {
    /// Reads and resolves a file.
    ///
    /// # Errors
    /// [`LoadError::Read`] if the file can't be read, [`LoadError::Config`] with everything that is
    /// wrong in it.
    pub fn load(path: &Path, around: &dyn Surroundings) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: name.clone(), source })?;
        Ok(Self::parse(&name, &text, around)?)
    }

    /// Resolves the text of a file; `name` is what complaints call it.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(name: &str, text: &str, around: &dyn Surroundings) -> Result<Self, ConfigError> {
        let shown = |problem| Diagnostic::new(name, text, problem);
        let file: schema::File =
            document::read(text).map_err(|problem| ConfigError { diagnostics: vec![shown(problem)] })?;
        let mut reader = reader::Reader::new(around);
        let config = resolve(&mut reader, &file);
        let mut errors = std::mem::take(&mut reader.errors);
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

    /// What one of `workers` workers is told: its share of the bounds, everything else whole.
    pub fn worker(&self, worker: WorkerId, workers: u8, seed: u64, owner_seed: u32) -> Settings {
        let mut nat64 = self.nat64.clone();
        nat64.limits = share(nat64.limits, u32::from(workers.max(1)));
        Settings {
            worker,
            workers,
            seed,
            owner_seed,
            rules: self.rules,
            siit: self.siit.as_ref().map(|siit| siit.settings.clone()),
            nat64,
        }
    }

    /// Every pref64 of every zone, each once, sorted.
    pub fn pref64s(&self) -> Vec<Pref64> {
        let mut all: Vec<_> = self.nat64.zones.iter().flat_map(|z| z.pref64.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Gives zones that `before` had by name the number they had there, and new zones free ones, so
    /// that their counters and sessions stay theirs.
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

/// One of `workers` equal shares, rounded up. What is counted per source or host is not shared out.
fn share(whole: nat64::Limits, workers: u32) -> nat64::Limits {
    let part = |n: u32| n.div_ceil(workers);
    nat64::Limits {
        sessions: part(whole.sessions),
        bindings: part(whole.bindings),
        blocks: part(whole.blocks),
        hosts: part(whole.hosts),
        hold_bytes: whole.hold_bytes.div_ceil(workers as usize),
        unsolicited_syns: part(whole.unsolicited_syns),
        unsolicited_syns_per_source: whole.unsolicited_syns_per_source,
        events: whole.events,
    }
}

fn resolve(reader: &mut reader::Reader<'_>, file: &schema::File) -> Option<Config> {
    let nothing = schema::Translator::default();
    let told = file.translator.as_ref().map_or(&nothing, |t| t.get_ref());
    let host = host::host(reader, file.host.as_ref());
    let egress = host::egress(reader, told);
    let observe = host::observe(reader, file.observe.as_ref());
    let rules = translator::rules(reader, told, host.mtu);
    let zones = zones::zones(reader, file, told, egress);
    let statics = statics::statics(reader, &file.statics, &zones, egress);
    let dns64 = dns::dns64(reader, file, &zones);
    let sources = host::error_sources(reader, file, told, &zones);
    let siit = siit::siit(reader, file, &zones, &statics);
    let timers = translator::timers(reader, file.timers.as_ref());
    let udp_ports = translator::udp_ports(reader, file.timers.as_ref());
    let limits = translator::limits(reader, file.limits.as_ref(), &zones);
    let linger = reader.duration(told.linger.as_ref(), LINGER, Duration::ZERO, "");
    let deny = translator::deny(reader, told, &zones);
    let filtering = translator::filtering(reader, told);
    let unsolicited_syn = translator::unsolicited_syn(reader, told);
    let pairing = translator::pairing(reader, told);
    // Everything has been read, so that all errors are shown together.
    let (address6, address4) = sources?;
    let errors_under_well_known = told.wkp_icmp_errors.unwrap_or(false);
    let siit = siit.map(|siit| Siit {
        settings: crate::siit::Settings { deny: deny.clone(), errors_under_well_known, ..siit.settings },
        ..siit
    });
    let nat64 = nat64::Settings {
        deny,
        filtering,
        unsolicited_syn,
        private_under_well_known: told.opens_private(),
        errors_under_well_known,
        inbound_refresh: told.inbound_refresh.unwrap_or(true),
        parity: told.parity.unwrap_or(true),
        pairing,
        zones: zones.zones,
        pools: zones.pools.pools,
        statics,
        timers,
        udp_ports,
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
        linger,
        zone_names: zones.names,
        dns64,
        observe,
        warnings: Vec::new(),
    })
}
