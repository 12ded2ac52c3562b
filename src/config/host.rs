//! `[host]` and `[observe]`.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::schema::{self, Text};
use crate::ownership::MAX_WORKERS;

/// Default directory of what outlives the process.
pub const STATE_DIR: &str = "/var/lib/gate64";
/// The unit's runtime directory, in memory.
pub const RUNTIME_DIR: &str = "/run/gate64";
/// Default path of the admin socket.
pub const ADMIN_SOCKET: &str = "/run/gate64/admin.sock";

/// How neighbours reach pool4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Announce {
    /// Proxy ARP where pool4 is within a connected subnet, else routes of the operator.
    #[default]
    Auto,
    /// Routes of the operator.
    Routed,
    /// Proxy ARP on the interface whose subnet contains the address.
    Proxy,
}

/// Handling of sysctls with a wrong value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sysctls {
    /// Set them, and restore them at exit.
    #[default]
    Set,
    /// Refuse to start. Those of the gate64 device are set all the same: they vanish with it.
    Check,
}

/// What is checked before the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checks {
    /// Whether to refuse to start if a firewall drops forwarded packets.
    pub firewall: bool,
    /// Whether to refuse to start if the tables may take more memory than this process may use.
    pub memory: bool,
}

/// Settings of `[host]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Name of the TUN device.
    pub device: String,
    /// MTU of the device in bytes.
    pub mtu: u16,
    /// Worker threads, each with one queue of the device.
    pub workers: u8,
    /// Whether to use the kernel's segmentation and checksum offloads.
    pub offloads: bool,
    /// Whether a BPF program steers packets to workers; otherwise workers hand them over.
    pub steering: bool,
    /// Whether a BPF program limits hosts to their share while a worker is behind.
    pub overload_filter: bool,
    /// How neighbours reach pool4.
    pub announce: Announce,
    /// Whether unreachable routes stand in for a stopped gateway.
    pub unreachable_routes: bool,
    /// Handling of sysctls with a wrong value.
    pub sysctls: Sysctls,
    /// What prevents a start.
    pub checks: Checks,
    /// Directory of the journal, the saved sessions, the saved block assignments, and by default the binding log.
    pub state_dir: PathBuf,
    /// Shutdown timeout: first for pending DNS queries, then again for packets already read.
    pub drain: Duration,
}

/// Settings of `[observe]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observe {
    /// Address of the Prometheus endpoint; `None` if disabled.
    pub metrics: Option<SocketAddr>,
    /// Path of the admin socket.
    pub admin: PathBuf,
}

pub(super) fn host(reader: &mut Reader<'_>, section: Option<&schema::Host>) -> Host {
    let default = schema::Host::default();
    let section = section.unwrap_or(&default);
    let announce = [("auto", Announce::Auto), ("routed", Announce::Routed), ("proxy", Announce::Proxy)];
    let sysctls = [("set", Sysctls::Set), ("check", Sysctls::Check)];
    let check = [("check", true), ("ignore", false)];
    let workers = u8::try_from(reader.host.cpus().clamp(1, 8)).unwrap_or(8);
    let device = section.device.as_ref().and_then(|text| interface(reader, text));
    Host {
        device: device.unwrap_or_else(|| "gate64".to_owned()),
        mtu: reader.number(section.mtu.as_ref(), 1500, 1280..=65_535),
        workers: reader.number(section.workers.as_ref(), workers, 1..=MAX_WORKERS),
        offloads: section.offloads.unwrap_or(true),
        steering: section.steering.unwrap_or(true),
        overload_filter: reader.word(
            section.overload_filter.as_ref(),
            true,
            &[("auto", true), ("off", false)],
        ),
        announce: reader.word(section.announce.as_ref(), Announce::default(), &announce),
        unreachable_routes: section.unreachable_routes.unwrap_or(true),
        sysctls: reader.word(section.sysctls.as_ref(), Sysctls::default(), &sysctls),
        checks: Checks {
            firewall: reader.word(section.firewall.as_ref(), true, &check),
            memory: reader.word(section.memory.as_ref(), true, &check),
        },
        state_dir: path(reader, section.state_dir.as_ref(), STATE_DIR),
        drain: reader.duration(section.drain.as_ref(), Duration::from_secs(2), Duration::ZERO, ""),
    }
}

pub(super) fn observe(reader: &mut Reader<'_>, section: Option<&schema::Observe>) -> Observe {
    let default = SocketAddr::from((Ipv6Addr::LOCALHOST, 6464));
    let metrics = match section.and_then(|o| o.metrics.as_ref()) {
        Some(text) if text.get_ref() == "off" => None,
        Some(text) => reader.parse(text, "\"[::1]:6464\", another address with a port, or \"off\""),
        None => Some(default),
    };
    if let (Some(addr), Some(text)) = (metrics, section.and_then(|o| o.metrics.as_ref()))
        && !SocketAddr::ip(&addr).is_loopback()
    {
        let found = format!("the metrics on {} are open to all who reach this address", text.get_ref());
        reader.warn(text.span(), found, "a loopback address, or a firewall rule for the Prometheus server");
    }
    let admin = path(reader, section.and_then(|o| o.admin.as_ref()), ADMIN_SOCKET);
    if admin.as_os_str().len() > 107 {
        let at = section.and_then(|o| o.admin.as_ref()).map_or(0..0, Text::span);
        reader.error(at, "the path of the admin socket is too long", "at most 107 bytes (unix(7))");
    }
    Observe { metrics, admin }
}

/// Parses an absolute path.
pub(super) fn path(reader: &mut Reader<'_>, text: Option<&Text>, default: &str) -> PathBuf {
    let Some(text) = text else { return PathBuf::from(default) };
    if !text.get_ref().starts_with('/') {
        reader.error(
            text.span(),
            format!("`{}` is not an absolute path", text.get_ref()),
            "a path that begins with /",
        );
    }
    PathBuf::from(text.get_ref())
}

/// Parses an interface name.
pub(super) fn interface(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let name = text.get_ref();
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c == '"' || !c.is_ascii_graphic();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.chars().any(bad) {
        let allowed = "1 to 15 printable characters without space, `/`, `:`, `%` and `\"`";
        reader.error(text.span(), format!("`{name}` is not a valid interface name"), allowed);
        return None;
    }
    Some(name.clone())
}
