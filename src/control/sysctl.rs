//! Sysctls: reads, sets and restores them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::nft;
use crate::addr::PortRange;
use crate::config::OwnAddress;

/// Why a sysctl does not have the required value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SysctlError {
    /// It has another value; the configuration or the kernel forbids the change.
    #[error("{name} is {found} and must be {wanted} ({why}); type: sysctl -w {name}=\"{wanted}\"")]
    Wrong {
        /// Name with dots, as for sysctl(8).
        name: String,
        /// Present value.
        found: String,
        /// Required value.
        wanted: String,
        /// Why it was not changed.
        why: String,
    },
    /// Reading it failed.
    #[error("{name}: {why}")]
    Unreadable {
        /// Name with dots, as for sysctl(8).
        name: String,
        /// Error of the operating system.
        why: io::Error,
    },
}

/// Keys of IPv6 and IPv4 forwarding.
const FORWARDING: [&str; 2] = ["net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"];

/// Reverse path filter: the kernel uses the higher of this and the value of the interface.
const RETURN_PATH: &str = "net/ipv4/conf/all/rp_filter";

/// Ports that the kernel assigns to no socket.
pub(super) const RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";
/// Conntrack's timeout of ICMP.
pub(super) const ICMP_TIMEOUT: &str = "net/netfilter/nf_conntrack_icmp_timeout";

/// Whether gate64 changes this sysctl from and to such values. All but the reserved ports are numbers.
pub(super) fn is_known(key: &str, values: [&str; 2]) -> bool {
    let number = |c: char| c.is_ascii_digit();
    let ports = |c: char| number(c) || c == ',' || c == '-';
    if key == RESERVED_PORTS {
        return values.iter().all(|value| value.chars().all(ports));
    }
    let per_interface = [
        ("net/ipv6/conf/", "/accept_ra"),
        ("net/ipv6/neigh/", "/proxy_delay"),
        ("net/ipv4/neigh/", "/proxy_delay"),
    ];
    let of_interface =
        |(start, end): &(&str, &str)| key.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    let known = FORWARDING.contains(&key)
        || key == ICMP_TIMEOUT
        || per_interface.iter().filter_map(of_interface).any(is_interface);
    known && values.iter().all(|value| !value.is_empty() && value.chars().all(number))
}

/// Whether the kernel accepts this name of an interface.
pub(super) fn is_interface(name: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    !matches!(name, "" | "." | "..") && name.len() < libc::IFNAMSIZ && !name.contains(forbidden)
}

/// The tree of sysctls: /proc/sys.
#[derive(Clone, Debug)]
pub(crate) struct Tree(PathBuf);

/// A sysctl and its required value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Setting {
    /// Path below /proc/sys.
    pub(crate) key: String,
    /// Required value.
    pub(crate) value: String,
}

impl Setting {
    /// Requires `value` at the path `key` below /proc/sys.
    pub(crate) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// The name for sysctl(8).
    pub(crate) fn name(&self) -> String {
        name(&self.key)
    }

    /// The error that the value is `found` and was not changed.
    pub(super) fn wrong(&self, found: &str, why: String) -> SysctlError {
        SysctlError::Wrong { name: self.name(), found: found.to_owned(), wanted: self.value.clone(), why }
    }
}

/// The name for sysctl(8), in which a dot of an interface name becomes a slash.
fn name(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '/' => '.',
            '.' => '/',
            c => c,
        })
        .collect()
}

impl Tree {
    /// The tree of the running kernel.
    pub(crate) fn kernel() -> Self {
        Self(PathBuf::from("/proc/sys"))
    }

    /// A tree elsewhere, for tests.
    #[cfg(test)]
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self(root)
    }

    /// Reads a sysctl.
    ///
    /// # Errors
    /// It does not exist, or reading it fails.
    pub(crate) fn read(&self, key: &str) -> Result<String, SysctlError> {
        match fs::read_to_string(self.0.join(key)) {
            Ok(value) => Ok(value.trim_end().replace('\t', " ")),
            Err(why) => Err(SysctlError::Unreadable { name: name(key), why }),
        }
    }

    /// Writes a sysctl.
    ///
    /// # Errors
    /// The kernel refuses the value; often because /proc/sys is read-only.
    pub(crate) fn write(&self, key: &str, value: &str) -> io::Result<()> {
        // Without truncation: the kernel takes a single write as the whole value.
        let mut file = fs::OpenOptions::new().write(true).open(self.0.join(key))?;
        // The newline matters for an empty value: the kernel ignores an empty write.
        io::Write::write_all(&mut file, format!("{value}\n").as_bytes())
    }

    /// `accept_ra` = 2 for each interface that accepts router advertisements and would stop with forwarding.
    /// Set these before forwarding: an interface with `accept_ra` = 1 immediately loses its default route.
    pub(crate) fn router_advertisements(&self, device: &str) -> Vec<Setting> {
        if self.read(FORWARDING[0]).is_ok_and(|value| value != "0") {
            return Vec::new();
        }
        self.accepting_interfaces(device)
    }

    /// `accept_ra` = 2 for each interface with the value 1, which the kernel ignores while it forwards. An interface
    /// that appears receives the value of `default`.
    pub(crate) fn accepting_interfaces(&self, device: &str) -> Vec<Setting> {
        let skipped = ["all", "default", "lo", device];
        let others = self.interfaces().into_iter().filter(|name| !skipped.contains(&name.as_str()));
        let keys = others.map(|interface| format!("net/ipv6/conf/{interface}/accept_ra"));
        let listening = keys.filter(|key| self.read(key).is_ok_and(|value| value == "1"));
        listening.map(|key| Setting::new(key, "2")).collect()
    }

    /// Whether this is the key of IPv6 forwarding on all interfaces.
    pub(super) fn is_forwarding6(key: &str) -> bool {
        key == FORWARDING[0]
    }

    /// The settings that forwarding needs.
    pub(crate) fn forwarding() -> [Setting; 2] {
        FORWARDING.map(|key| Setting::new(key, "1"))
    }

    /// The ports of masquerading, added to those that the kernel assigns to no socket.
    ///
    /// # Errors
    /// The list is unreadable.
    pub(crate) fn reserved_ports(&self, ports: PortRange) -> Result<Setting, SysctlError> {
        Ok(Setting::new(RESERVED_PORTS, nft::reserve(&self.read(RESERVED_PORTS)?, ports)))
    }

    /// The ICMP timeout of conntrack, if it is shorter than `least` seconds. nft has no timeout objects for ICMP. The
    /// sysctl exists once conntrack is in use.
    pub(crate) fn icmp_timeout(&self, least: u64) -> Option<Setting> {
        let found = self.read(ICMP_TIMEOUT).ok()?;
        found.parse().is_ok_and(|now: u64| now < least).then(|| Setting::new(ICMP_TIMEOUT, least.to_string()))
    }

    /// The setting for immediate responses of proxy ARP or proxy NDP on an interface.
    pub(crate) fn proxy_delay((interface, addr): &(String, IpAddr)) -> Setting {
        let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        Setting::new(format!("net/{family}/neigh/{interface}/proxy_delay"), "0")
    }

    /// Describes a wrong value; `None` if the value is right or unreadable. Changes nothing.
    pub(crate) fn mismatch(&self, wanted: &Setting) -> Option<String> {
        let found = self.read(&wanted.key).ok()?;
        let name = name(&wanted.key);
        (found != wanted.value).then(|| format!("{name} is {found} and must be {}", wanted.value))
    }

    /// Why the kernel drops ICMPv4 errors with the source `addr`, if it does. The route to an address of this host is
    /// not the device, and the device has no IPv4 address, so that loose mode (2) drops them, too.
    pub(crate) fn return_path_problem(&self, addr: Ipv4Addr, own: &[OwnAddress]) -> Option<String> {
        let mode = self.read(RETURN_PATH).ok().filter(|mode| mode != "0")?;
        own.iter().any(|own| own.addr == addr).then(|| {
            format!(
                "{} is {mode}, so the kernel drops ICMPv4 errors of gate64, which have the address {addr} of this host \
                 as source: write address4 = \"ADDRESS\" in [translator], with an address of pool4",
                name(RETURN_PATH)
            )
        })
    }

    fn interfaces(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join("net/ipv6/conf")) else { return Vec::new() };
        let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Settings of the gate64 device, which vanish with it, and whether they are indispensable.
    ///
    /// - `rp_filter`: the return path of packets differs from their forward path.
    /// - `accept_local`: ICMPv4 errors of gate64 have an address of this host as their source.
    /// - `addr_gen_mode`: with a link-local address, the kernel would send multicast into the translator.
    pub(crate) fn device_settings(device: &str) -> [(Setting, bool); 7] {
        let v6 = |name: &str, value: &str| Setting::new(format!("net/ipv6/conf/{device}/{name}"), value);
        let v4 = |name: &str, value: &str| Setting::new(format!("net/ipv4/conf/{device}/{name}"), value);
        [
            (v6("addr_gen_mode", "1"), false),
            (v6("accept_ra", "0"), false),
            (v6("disable_ipv6", "0"), true),
            (v6("forwarding", "1"), true),
            (v4("forwarding", "1"), true),
            (v4("rp_filter", "0"), false),
            (v4("accept_local", "1"), false),
        ]
    }

    /// Sets a sysctl of the gate64 device, even with `sysctls = "check"`.
    ///
    /// # Errors
    /// [`SysctlError::Wrong`] if the kernel refuses the value.
    pub(crate) fn set_of_device(&self, wanted: &Setting) -> Result<(), SysctlError> {
        let found = self.read(&wanted.key)?;
        if found == wanted.value {
            return Ok(());
        }
        self.write(&wanted.key, &wanted.value).map_err(|why| wanted.wrong(&found, why.to_string()))
    }

    /// Restores `before` if the value is still `after`. Returns whether it did.
    pub(crate) fn restore(&self, key: &str, before: &str, after: &str) -> bool {
        match self.read(key) {
            Ok(now) if now == after => match self.write(key, before) {
                Ok(()) => {
                    tracing::info!("{} restored to {before}", name(key));
                    true
                }
                Err(why) => {
                    tracing::warn!("{} cannot be restored to {before}: {why}", name(key));
                    false
                }
            },
            // Another program changed it, or its interface was removed.
            Ok(_) | Err(_) => false,
        }
    }
}
