//! The topology: hosts, the gateway, the Internet.
//!
//! ```text
//! host 0  2001:db8:1:0::10 ── lan0 ┐                      ┌ 198.51.100.53 named
//! host 1  2001:db8:1:1::10 ── lan1 ┤ gateway ── wan ── internet ┤ 198.51.100.80 web (and 2001:db8:80::80)
//!                                  └ 192.0.2.2   192.0.2.1 └── far 203.0.113.80 web, on a link of any MTU
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::command::require;
use super::sweep::Tag;
use super::{Daemon, Gateway, GatewayConfig, LabError, Namespace, names, sweep, web};

/// The required programs and their Debian packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("sysctl", "procps"),
    ("timeout", "coreutils"),
    ("named", "bind9"),
    ("dig", "bind9-dnsutils"),
    ("curl", "curl"),
];

/// The variable parts of the topology.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of IPv6-only hosts, 1 to 9, each on its own link.
    pub hosts: u8,
    /// Adds a second server, on a link with this MTU: 68 to 65,535 bytes.
    pub far: Option<u16>,
    /// The `gate64` executable: gateway and web server.
    pub gate64: PathBuf,
}

/// Namespaces, links and servers. Dropping it removes them.
///
/// Fields are dropped in order: servers before their namespaces.
#[derive(Debug)]
pub struct Lab {
    servers: Vec<Daemon>,
    /// The IPv6-only hosts.
    pub hosts: Vec<Namespace>,
    /// The gateway's namespace.
    pub gateway: Namespace,
    /// Router, name server and web server of the Internet.
    pub internet: Namespace,
    /// The second server, if planned.
    pub far: Option<Namespace>,
    dir: Dir,
    gate64: PathBuf,
}

/// A directory that is removed when dropped.
#[derive(Debug)]
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Lab {
    /// Builds the topology, after removing what crashed runs left behind. [`start`](Self::start) starts
    /// the gateway.
    ///
    /// # Errors
    /// If the process is not root, or a program is missing or fails.
    pub fn build(plan: &Plan) -> Result<Self, LabError> {
        if !is_root() {
            return Err(LabError::NotRoot);
        }
        require(PROGRAMS)?;
        sweep();
        let tag = Tag::fresh();
        let dir = Dir(tag.dir());
        fs::create_dir_all(&dir.0).map_err(LabError::io(dir.0.display().to_string()))?;
        let space = |part: &str| Namespace::new(tag.name(part));
        let gateway = space("gateway")?;
        let internet = space("internet")?;
        let mut hosts = Vec::new();
        for number in 0..plan.hosts {
            let host = space(&format!("zone{number}"))?;
            join_host(&host, &gateway, number)?;
            hosts.push(host);
        }
        join_internet(&gateway, &internet)?;
        let far =
            plan.far.map(|mtu| space("far").and_then(|far| join_far(&internet, far, mtu))).transpose()?;
        let mut lab =
            Self { servers: Vec::new(), hosts, gateway, internet, far, dir, gate64: plan.gate64.clone() };
        lab.start_servers()?;
        Ok(lab)
    }

    fn start_servers(&mut self) -> Result<(), LabError> {
        self.servers.push(names::start(&self.internet, &self.dir.0)?);
        let near = ["198.51.100.80:80", "[2001:db8:80::80]:80"];
        self.servers.push(web::start(&self.gate64, &self.internet, &self.dir.0, &near)?);
        if let Some(far) = &self.far {
            self.servers.push(web::start(&self.gate64, far, &self.dir.0, &["203.0.113.80:80"])?);
        }
        Ok(())
    }

    /// Starts `gate64 run` in the gateway's namespace. Returns when it reports `READY=1`.
    ///
    /// # Errors
    /// With its log, if it does not become ready within 15 s.
    pub fn start(&self, config: &GatewayConfig) -> Result<Gateway, LabError> {
        Gateway::start(&self.gate64, &self.gateway, &self.dir.0, config)
    }

    /// The lab's directory for files; removed on drop.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// The first IPv6-only host.
    pub fn host(&self) -> &Namespace {
        &self.hosts[0]
    }
}

/// Whether the process is root.
pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0"))
    })
}

/// Connects an IPv6-only host: address, default route, name server.
fn join_host(host: &Namespace, gateway: &Namespace, number: u8) -> Result<(), LabError> {
    let lan = format!("lan{number}");
    host.join("eth0", gateway, &lan)?;
    gateway.ip(&format!("addr add 2001:db8:1:{number}::1/64 dev {lan} nodad"))?;
    if number == 0 {
        gateway.ip(&format!("addr add 2001:db8:1::53/64 dev {lan} nodad"))?;
    }
    host.ip(&format!("addr add 2001:db8:1:{number}::10/64 dev eth0 nodad"))?;
    host.ip(&format!("route add default via 2001:db8:1:{number}::1"))?;
    host.resolver("2001:db8:1::53")
}

/// Connects the gateway to the Internet and adds the addresses of the servers.
fn join_internet(gateway: &Namespace, internet: &Namespace) -> Result<(), LabError> {
    gateway.join("wan", internet, "cust")?;
    gateway.ip("addr add 192.0.2.2/24 dev wan")?;
    gateway.ip("route add default via 192.0.2.1")?;
    gateway.ip("addr add 2001:db8:ffff::2/64 dev wan nodad")?;
    gateway.ip("-6 route add default via 2001:db8:ffff::1")?;
    internet.ip("addr add 192.0.2.1/24 dev cust")?;
    internet.ip("addr add 2001:db8:ffff::1/64 dev cust nodad")?;
    internet.ip("-6 route add 2001:db8:1::/48 via 2001:db8:ffff::2")?;
    for addr in ["198.51.100.53/32", "198.51.100.80/32", "2001:db8:80::80/128"] {
        // Without duplicate address detection, which a bind would have to wait for.
        let nodad = if addr.contains(':') { " nodad" } else { "" };
        internet.ip(&format!("addr add {addr} dev lo{nodad}"))?;
    }
    internet.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
}

fn join_far(internet: &Namespace, far: Namespace, mtu: u16) -> Result<Namespace, LabError> {
    internet.join("far", &far, "eth0")?;
    internet.ip("addr add 203.0.113.1/25 dev far")?;
    far.ip("addr add 203.0.113.80/25 dev eth0")?;
    // The MSS of a larger MTU than the link's, so that path MTU discovery is needed.
    far.ip("route add default via 203.0.113.1 advmss 1460")?;
    internet.ip(&format!("link set far mtu {mtu}"))?;
    far.ip(&format!("link set eth0 mtu {mtu}"))?;
    Ok(far)
}
