//! `gate64 sessions` and `gate64 hosts`, from the files in which workers save their sessions every two seconds: reading
//! them stops no worker, however many sessions there are, and works after the gateway has ended.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::constants::CONFIG;
use super::exit;
use super::protocol::protocol;
use crate::addr::{Ipv6Prefix, Proto, Transport4};
use crate::config::{Config, LoadError, RUNTIME_DIR};
use crate::control::cleanup::state_dir_of;
use crate::control::host_info::UnknownHost;
use crate::control::saved_sessions::{now_of, present};
use crate::nat64::StaticBinding;
use crate::observe::format::{size, span};
use crate::output::outln;
use crate::translator::SessionRecord;
use crate::worker::state::{Reader, StateError};

#[derive(clap::Args, Debug)]
pub(super) struct Filter {
    /// Configuration file of the gateway; gate64 reads the state directory from it.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Directory of the files; by default the runtime directory of the service and the state directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Only clients of this zone of the configuration file.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Only clients with this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    host: Option<Ipv6Prefix>,
    /// Only this protocol.
    #[arg(long, value_parser = protocol())]
    protocol: Option<Proto>,
    /// Only this public address.
    #[arg(long, value_name = "ADDR")]
    address: Option<Ipv4Addr>,
    /// Only this public port, or ICMP identifier.
    #[arg(long)]
    port: Option<u16>,
    /// Only this server.
    #[arg(long, value_name = "ADDR")]
    server: Option<Ipv4Addr>,
    /// Only sessions whose client has been silent for at least so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    silent: u64,
    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

impl Filter {
    fn passes(&self, record: &SessionRecord) -> bool {
        self.passes_binding(record.proto, record.v6.addr, record.v4)
            && self.server.is_none_or(|addr| addr == record.remote.addr)
            && record.silent.as_secs() >= self.silent
    }

    fn passes_binding(&self, proto: Proto, client: Ipv6Addr, mapped: Transport4) -> bool {
        self.host.is_none_or(|host| host.contains(client))
            && self.protocol.is_none_or(|only| only == proto)
            && self.address.is_none_or(|addr| addr == mapped.addr)
            && self.port.is_none_or(|port| port == mapped.port)
    }

    /// Whether to print JSON.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// The configuration; addresses of this host do not matter.
    fn load(&self) -> Result<Config, LoadError> {
        Config::load(&self.config, &UnknownHost::new())
    }

    /// The static bindings of the file that pass, if it is valid.
    pub(super) fn statics(&self) -> Vec<StaticBinding> {
        // They have no server and no age.
        if self.server.is_some() || self.silent > 0 {
            return Vec::new();
        }
        let Ok(config) = self.load() else { return Vec::new() };
        let zone = self.zone_in(&config).ok();
        let passes = |entry: &StaticBinding| {
            self.passes_binding(entry.proto, entry.v6.addr, entry.v4)
                && zone.as_ref().is_none_or(|zone| zone.contains(entry.v6.addr))
        };
        config.nat64.statics.into_iter().filter(passes).collect()
    }

    /// The clients that `--zone` selects.
    ///
    /// # Errors
    /// The file is invalid, or has no such zone.
    fn zone_clients(&self) -> Result<Clients, String> {
        match &self.zone {
            Some(_) => self.zone_in(&self.load().map_err(|why| why.to_string())?),
            None => Ok(Clients::Any),
        }
    }

    /// The same for a configuration that is read already.
    fn zone_in(&self, config: &Config) -> Result<Clients, String> {
        let Some(name) = &self.zone else { return Ok(Clients::Any) };
        let zone = config.zone_names.iter().position(|other| other == name);
        let zone = zone.ok_or_else(|| format!("{} has no zone `{name}`", self.config.display()))?;
        Ok(Clients::Of(config.nat64.zones[zone].clients.clone()))
    }

    /// Calls `each` for every session that passes.
    ///
    /// # Errors
    /// No files, or one that cannot be read.
    pub(super) fn visit(&self, mut each: impl FnMut(&SessionRecord)) -> Result<(), String> {
        let clients = self.zone_clients()?;
        let dirs = match &self.directory {
            Some(dir) => vec![dir.clone()],
            None => vec![PathBuf::from(RUNTIME_DIR), state_dir_of(&self.config)],
        };
        visit(&dirs, &mut |record| {
            if clients.contains(record.v6.addr) && self.passes(record) {
                each(record);
            }
        })
    }
}

/// Calls `each` for every session that workers saved last, in the runtime directory of the service or in `state_dir`.
///
/// # Errors
/// No files, or one that cannot be read.
pub(super) fn visit_saved(state_dir: &Path, mut each: impl FnMut(&SessionRecord)) -> Result<(), String> {
    visit(&[PathBuf::from(RUNTIME_DIR), state_dir.to_owned()], &mut each)
}

fn visit(dirs: &[PathBuf], each: &mut impl FnMut(&SessionRecord)) -> Result<(), String> {
    let files = present(dirs);
    if files.is_empty() {
        let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        return Err(format!("no saved sessions in {}; is gate64 running?", dirs.join(" and ")));
    }
    for path in files {
        visit_file(&path, each).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}

fn visit_file(path: &Path, each: &mut impl FnMut(&SessionRecord)) -> Result<(), StateError> {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, File::open(path)?))?;
    let now = now_of(reader.header());
    while let Some(saved) = reader.next_session()? {
        if let Some(record) = saved.at(now) {
            each(&record);
        }
    }
    Ok(())
}

/// Clients that a filter selects.
enum Clients {
    Any,
    Of(Vec<Ipv6Prefix>),
}

impl Clients {
    fn contains(&self, addr: Ipv6Addr) -> bool {
        match self {
            Self::Any => true,
            Self::Of(prefixes) => prefixes.iter().any(|prefix| prefix.contains(addr)),
        }
    }
}

/// Prints the sessions that pass.
pub(super) fn sessions(filter: &Filter) -> ExitCode {
    let mut count = 0_u64;
    let visited = filter.visit(|record| {
        count += 1;
        if filter.json {
            outln!("{}", of_session(record));
            return;
        }
        if count == 1 {
            outln!("{:<4}  {:<45}  {:<21}  {:<21}  packets, bytes out/in", "", "client", "public", "server");
        }
        let SessionRecord { proto, v6, v4, remote, packets, bytes, .. } = record;
        outln!(
            "{:<4}  {:<45}  {:<21}  {:<21}  {}/{}, {}/{}; silent {}, ends in {}",
            proto.name(),
            v6.to_string(),
            v4.to_string(),
            remote.to_string(),
            packets[0],
            packets[1],
            size(bytes[0]),
            size(bytes[1]),
            span(record.silent.as_secs()),
            span(record.remaining.as_secs()),
        );
    });
    if visited.is_ok() && !filter.json {
        outln!("{count} sessions");
    }
    exit::end(visited)
}

fn of_session(record: &SessionRecord) -> serde_json::Value {
    json!({
        "protocol": record.proto.name(),
        "client": { "address": record.v6.addr.to_string(), "port": record.v6.port },
        "public": of_transport(record.v4),
        "server": of_transport(record.remote),
        "pref64": record.pref64.to_string(),
        "inbound": record.inbound,
        "packets": record.packets,
        "bytes": record.bytes,
        "silent_seconds": record.silent.as_secs(),
        "remaining_seconds": record.remaining.as_secs(),
    })
}

pub(super) fn of_transport(at: Transport4) -> serde_json::Value {
    json!({ "address": at.addr.to_string(), "port": at.port })
}

/// What the sessions of a host sum up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sum {
    sessions: u64,
    packets: u64,
    bytes: u64,
}

/// Prints the hosts with the most bytes in live sessions, at most `top`.
pub(super) fn hosts(filter: &Filter, top: usize) -> ExitCode {
    let mut sums: HashMap<Ipv6Addr, Sum> = HashMap::new();
    let visited = filter.visit(|record| {
        let sum = sums.entry(record.v6.addr).or_default();
        sum.sessions += 1;
        sum.packets += record.packets.iter().map(|count| u64::from(*count)).sum::<u64>();
        sum.bytes += record.bytes.iter().sum::<u64>();
    });
    let count = sums.len();
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by_key(|(addr, sum)| (std::cmp::Reverse((sum.bytes, sum.sessions)), *addr));
    for (addr, Sum { sessions, packets, bytes }) in sums.into_iter().take(top) {
        if filter.json {
            let addr = addr.to_string();
            outln!("{}", json!({ "host": addr, "sessions": sessions, "packets": packets, "bytes": bytes }));
        } else {
            outln!("{:<39}  {sessions} sessions, {packets} packets, {}", addr.to_string(), size(bytes));
        }
    }
    if visited.is_ok() && !filter.json {
        outln!("{count} hosts");
    }
    exit::end(visited)
}
