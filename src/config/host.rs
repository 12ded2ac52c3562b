//! `[host]` and `[observe]`, and how packets leave the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::MAX_WORKERS;
use super::pool;
use super::reader::Reader;
use super::schema::{self, Text};
use super::zones::Zones;
use crate::addr::{PortRange, special};

/// The one pool4 address behind `egress = "masquerade"`: the first of RFC 7335's range for
/// addresses that only mean something inside a host.
pub const INNER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// Source of ICMPv4 errors of a host that has no IPv4 address (RFC 7600 §4.8).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Leaves 32768 to 40959 of the usual ephemeral ports to the host itself.
const EGRESS_PORTS: PortRange = match PortRange::new(40_960, 65_535) {
    Some(ports) => ports,
    None => PortRange::ALL,
};

/// How packets reach the IPv4 Internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Egress {
    /// pool4 is routed to this host, or on-link.
    Routed,
    /// pool4 is [`INNER`], and the kernel puts the host's own address in its place.
    Masquerade {
        /// The host's ports that belong to clients.
        ports: PortRange,
    },
}

/// How the neighbours of pool4 addresses learn where to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Announce {
    /// As a proxy where pool4 lies in a connected subnet, by the operator's routes elsewhere.
    #[default]
    Auto,
    /// By routes of the operator.
    Routed,
    /// As a proxy on the interface whose subnet holds the address.
    Proxy,
}

/// What becomes of kernel settings that are not as they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sysctls {
    /// They are set, and put back at the end.
    #[default]
    Set,
    /// They are looked at; if one is wrong, the gateway does not start.
    Check,
}

/// The host's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Name of the translator's device.
    pub device: String,
    /// MTU of the device in bytes.
    pub mtu: u16,
    /// Worker threads, each with a queue of the device.
    pub workers: u8,
    /// Whether super-packets and unfinished checksums are taken from the kernel.
    pub offloads: bool,
    /// Whether a BPF program chooses the worker; otherwise workers hand packets over.
    pub steering: bool,
    /// How pool4 is made known.
    pub announce: Announce,
    /// What becomes of kernel settings.
    pub sysctls: Sysctls,
    /// Whether a firewall that drops forwarded packets keeps the gateway from starting.
    pub check_firewall: bool,
    /// Where the record of changes to the host is kept.
    pub state_dir: PathBuf,
    /// How long what was already read may take to leave at SIGTERM.
    pub drain: Duration,
}

/// Where the gateway can be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observe {
    /// Where Prometheus metrics are served; `None` if nowhere.
    pub metrics: Option<SocketAddr>,
    /// The admin socket.
    pub admin: PathBuf,
}

pub(super) fn host(reader: &mut Reader<'_>, told: Option<&schema::Host>) -> Host {
    let nothing = schema::Host::default();
    let told = told.unwrap_or(&nothing);
    let announce = [("auto", Announce::Auto), ("routed", Announce::Routed), ("proxy", Announce::Proxy)];
    let sysctls = [("set", Sysctls::Set), ("check", Sysctls::Check)];
    let workers = u8::try_from(reader.around.cpus().clamp(1, 8)).unwrap_or(8);
    let device = told.device.as_ref().and_then(|text| interface(reader, text));
    Host {
        device: device.unwrap_or_else(|| "gate64".to_owned()),
        mtu: reader.number(told.mtu.as_ref(), 1500, 1280..=65_535),
        workers: reader.number(told.workers.as_ref(), workers, 1..=MAX_WORKERS),
        offloads: told.offloads.unwrap_or(true),
        steering: told.steering.unwrap_or(true),
        announce: reader.word(told.announce.as_ref(), Announce::default(), &announce),
        sysctls: reader.word(told.sysctls.as_ref(), Sysctls::default(), &sysctls),
        check_firewall: reader.word(told.firewall.as_ref(), true, &[("check", true), ("ignore", false)]),
        state_dir: path(reader, told.state_dir.as_ref(), "/var/lib/gate64"),
        drain: reader.duration(told.drain.as_ref(), Duration::from_secs(2), Duration::ZERO, ""),
    }
}

pub(super) fn observe(reader: &mut Reader<'_>, told: Option<&schema::Observe>) -> Observe {
    let default = SocketAddr::from((Ipv6Addr::LOCALHOST, 6464));
    let metrics = match told.and_then(|o| o.metrics.as_ref()) {
        Some(text) if text.get_ref() == "off" => None,
        Some(text) => reader.parse(text, "\"[::1]:6464\", another address with a port, or \"off\""),
        None => Some(default),
    };
    let admin = path(reader, told.and_then(|o| o.admin.as_ref()), "/run/gate64/admin.sock");
    if admin.as_os_str().len() > 107 {
        let at = told.and_then(|o| o.admin.as_ref()).map_or(0..0, Text::span);
        reader.refuse(at, "the path of the admin socket is too long", "at most 107 bytes (unix(7))");
    }
    Observe { metrics, admin }
}

fn path(reader: &mut Reader<'_>, told: Option<&Text>, default: &str) -> PathBuf {
    let Some(text) = told else { return PathBuf::from(default) };
    if !text.get_ref().starts_with('/') {
        reader.refuse(text.span(), format!("`{}` is not an absolute path", text.get_ref()), "a path from /");
    }
    PathBuf::from(text.get_ref())
}

/// A name that an interface can have.
pub(super) fn interface(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let name = text.get_ref();
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c == '"' || !c.is_ascii_graphic();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.chars().any(bad) {
        let allowed = "1 to 15 printable characters without space, `/`, `:`, `%` and `\"`";
        reader.refuse(text.span(), format!("`{name}` is no name for an interface"), allowed);
        return None;
    }
    Some(name.clone())
}

pub(super) fn egress(reader: &mut Reader<'_>, told: &schema::Translator) -> Egress {
    let words = [("routed", false), ("masquerade", true)];
    let masquerade = reader.word(told.egress.as_ref(), false, &words);
    if !masquerade {
        if let Some(text) = &told.egress_ports {
            let found = "egress_ports without egress = \"masquerade\"";
            reader.refuse(text.span(), found, "egress = \"masquerade\" beside it, or neither");
        }
        return Egress::Routed;
    }
    let Some(text) = &told.egress_ports else { return Egress::Masquerade { ports: EGRESS_PORTS } };
    let ports = pool::read_ports(reader, Some(text)).unwrap_or(EGRESS_PORTS);
    if ports.first() < 1024 {
        let found = format!("{ports} takes ports from the host's own services");
        reader.refuse(text.span(), found, "ports from 1024 on");
    }
    Egress::Masquerade { ports }
}

/// The sources of our own ICMPv6 and ICMPv4 errors.
pub(super) fn error_sources(
    reader: &mut Reader<'_>,
    file: &schema::File,
    told: &schema::Translator,
    zones: &Zones,
) -> Option<(Ipv6Addr, Ipv4Addr)> {
    let address6 = match &told.address6 {
        Some(text) => told6(reader, text, zones),
        None => default6(reader, file, zones),
    };
    let address4 = match &told.address4 {
        Some(text) => told4(reader, text),
        None => Some(default4(reader)),
    };
    Some((address6?, address4?))
}

fn told6(reader: &mut Reader<'_>, text: &Text, zones: &Zones) -> Option<Ipv6Addr> {
    let addr: Ipv6Addr = reader.parse(text, "an IPv6 address of this host")?;
    if let Some(pref64) = zones.pref64_of(addr) {
        let found = format!("{addr} lies in the pref64 {pref64}");
        reader.refuse(text.span(), found, "an address outside every pref64 (RFC 7915 §5.4)");
    } else if !special::is_host_v6(addr) {
        reader.refuse(
            text.span(),
            format!("{addr} is no host's address"),
            "a global or unique local address",
        );
    }
    Some(addr)
}

fn told4(reader: &mut Reader<'_>, text: &Text) -> Option<Ipv4Addr> {
    let addr: Ipv4Addr = reader.parse(text, "an IPv4 address of this host")?;
    if !special::is_host_v4(addr) {
        reader.refuse(text.span(), format!("{addr} is no host's address"), "a unicast address");
    }
    Some(addr)
}

/// The source the kernel would use towards the first client, else any address of the host.
fn default6(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones) -> Option<Ipv6Addr> {
    let usable = |addr: &Ipv6Addr| special::is_host_v6(*addr) && zones.pref64_of(*addr).is_none();
    let towards = zones.clients.iter().filter_map(|(prefix, _)| {
        match reader.around.source_towards(IpAddr::V6(Ipv6Addr::from_bits(prefix.addr().to_bits() | 1))) {
            Some(IpAddr::V6(addr)) => Some(addr),
            _ => None,
        }
    });
    let any = reader.around.addresses().iter().filter_map(|own| match own.addr {
        IpAddr::V6(addr) => Some(addr),
        IpAddr::V4(_) => None,
    });
    let found = towards.chain(any).find(usable);
    if found.is_none() {
        let at = file.translator.as_ref().map_or(0..0, toml::Spanned::span);
        let allowed = "address6 = \"…\" in [translator], the source of ICMPv6 errors";
        reader.refuse(at, "this host has no IPv6 address that clients could see", allowed);
    }
    found
}

fn default4(reader: &mut Reader<'_>) -> Ipv4Addr {
    // Any address behind the default route will do; nothing is sent there.
    let towards = match reader.around.source_towards(IpAddr::V4(Ipv4Addr::new(192, 88, 99, 1))) {
        Some(IpAddr::V4(addr)) => Some(addr),
        _ => None,
    };
    let any = reader.around.addresses().iter().filter_map(|own| match own.addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    });
    towards.into_iter().chain(any).find(|addr| special::is_host_v4(*addr)).unwrap_or(DUMMY)
}
