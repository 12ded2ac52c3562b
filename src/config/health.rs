//! `[health]`: hooks, and probes of the IPv4 path.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::host::path;
use super::reader::Reader;
use super::schema::{self, Text};

/// Maximum number of probes.
const MAX_PROBES: usize = 16;

/// Settings of `[health]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSettings {
    /// A file that exists while the gateway is ready.
    pub file: Option<PathBuf>,
    /// Program with arguments to start when the gateway becomes ready.
    pub on_healthy: Vec<String>,
    /// Program with arguments to start when the gateway is no longer ready.
    pub on_unhealthy: Vec<String>,
    /// Servers that must answer this host.
    pub probes: Vec<Probe>,
    /// Interval between two probes of a server.
    pub probe_interval: Duration,
}

/// A server of the IPv4 Internet, and how to probe it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Probe {
    /// An ICMP echo request.
    Ping(Ipv4Addr),
    /// A TCP connection.
    Tcp(SocketAddrV4),
}

impl FromStr for Probe {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("tcp://") {
            Some(addr) => addr.parse().map(Self::Tcp),
            None => text.strip_prefix("ping://").unwrap_or(text).parse().map(Self::Ping),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping(addr) => write!(f, "ping://{addr}"),
            Self::Tcp(addr) => write!(f, "tcp://{addr}"),
        }
    }
}

pub(super) fn health(reader: &mut Reader<'_>, section: Option<&schema::Health>) -> HealthSettings {
    let absent = schema::Health::default();
    let section = section.unwrap_or(&absent);
    let mut command = |words: Option<&Spanned<Vec<Text>>>| {
        let Some(words) = words else { return Vec::new() };
        match words.get_ref().first() {
            Some(program) => _ = path(reader, Some(program), ""),
            None => reader.error(words.span(), "no program", "a program with its arguments"),
        }
        words.get_ref().iter().map(|word| word.get_ref().clone()).collect()
    };
    let (on_healthy, on_unhealthy) =
        (command(section.on_healthy.as_ref()), command(section.on_unhealthy.as_ref()));
    let file = section.file.as_ref().map(|file| path(reader, Some(file), ""));
    let mut probes = Vec::new();
    for text in section.probes.iter().flat_map(|list| &list.items) {
        probes.extend(
            reader.parse::<Probe>(text, "\"ping://ADDRESS\" or \"tcp://ADDRESS:PORT\", with an IPv4 address"),
        );
    }
    if let Some(excess) = section.probes.as_ref().and_then(|list| list.items.get(MAX_PROBES)) {
        reader.error(excess.span(), "too many probes", format!("at most {MAX_PROBES}"));
    }
    let (default, least) = (Duration::from_secs(10), Duration::from_secs(1));
    let probe_interval = reader.duration(section.probe_interval.as_ref(), default, least, "");
    HealthSettings { file, on_healthy, on_unhealthy, probes, probe_interval }
}
