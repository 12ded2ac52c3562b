//! Whether `gate64 run` would serve on this host. Each part is examined by the code with which `run` prepares it, and
//! nothing is changed.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::firewall::{self, Refusal};
use super::memory::{self, Memory, MemoryLimit};
use super::netlink::Netlink;
use super::privileges;
use super::requirements::Requirements;
use super::sysctl::Tree;
use crate::config::{Config, Egress, OwnAddress, Sysctls};
use crate::observe::binding_log;
use crate::observe::finding::Finding;
use crate::resolver;

/// Network interfaces of the kernel.
const INTERFACES: &str = "/sys/class/net";

/// The device with which programs create TUN interfaces.
const TUN: &str = "/dev/net/tun";

/// What a configuration meets on this host.
pub(crate) struct Preflight<'a> {
    config: &'a Config,
    /// Addresses without those of the device.
    own: &'a [OwnAddress],
    tree: Tree,
    /// Whether a gateway with this admin socket runs: its device and listeners are in use.
    is_running: bool,
}

impl<'a> Preflight<'a> {
    /// An examination of this host.
    pub(crate) fn new(config: &'a Config, own: &'a [OwnAddress]) -> Self {
        let is_running = UnixStream::connect(&config.observe.admin).is_ok();
        Self { config, own, tree: Tree::kernel(), is_running }
    }

    /// All findings. With an error, `run` would refuse to start.
    pub(crate) async fn findings(&self, requirements: &Requirements) -> Vec<Finding> {
        let mut all = vec![self.memory()];
        all.extend(privileges());
        all.push(self.device());
        all.push(self.addresses(requirements));
        all.extend(self.interface());
        all.push(self.sysctls());
        all.extend(self.firewall().await);
        all.extend(self.dns64());
        all.extend(self.missing_listen_addresses());
        all.extend(self.metrics());
        all.push(
            self.directory(
                "admin socket",
                self.config.observe.admin.parent().unwrap_or_else(|| Path::new("/")),
            ),
        );
        all.push(self.directory("state_dir", &self.config.host.state_dir));
        all.extend(self.binding_log());
        all
    }

    /// Whether tables and caches fit the memory that this process may use.
    fn memory(&self) -> Finding {
        let memory = Memory::of(self.config);
        if self.config.host.checks.memory
            && let Err(why) = memory.check(MemoryLimit::of_this_process().as_ref())
        {
            return Finding::error("memory", why, "");
        }
        match memory.warning(memory::of_machine()) {
            Some(warning) => Finding::warning("memory", warning, ""),
            None => Finding::ok("memory", "within the limits of this process"),
        }
    }

    fn device(&self) -> Finding {
        let name = &self.config.host.device;
        let interface = Path::new(INTERFACES).join(name);
        if !interface.exists() {
            return match OpenOptions::new().read(true).write(true).open(TUN) {
                Ok(_) => Finding::ok("device", format!("{name} can be created")),
                Err(why) => Finding::error("device", format!("{TUN}: {why}"), "modprobe tun"),
            };
        }
        match (interface.join("tun_flags").exists(), self.is_running) {
            (true, true) => Finding::ok("device", format!("{name} is that of the running gateway")),
            (true, false) => Finding::ok("device", format!("{name} exists and is taken over")),
            (false, _) => Finding::error(
                "device",
                format!("an interface {name} exists, which is not a TUN device"),
                "set another `device` in [host], or rename the interface",
            ),
        }
    }

    fn addresses(&self, requirements: &Requirements) -> Finding {
        match &requirements.conflicts[..] {
            [] => Finding::ok("addresses", "pool4 and mappings fit this host"),
            conflicts => Finding::error("addresses", conflicts.join("; "), ""),
        }
    }

    /// Whether the interface exists to which DNS64 addresses are assigned.
    fn interface(&self) -> Option<Finding> {
        let interface = self.config.dns64.as_ref()?.assign.as_ref()?;
        let exists = Path::new(INTERFACES).join(interface).exists();
        (!exists).then(|| {
            let finding = format!("there is no interface {interface}, which `assign` of [dns64] names");
            Finding::warning(
                "dns64",
                finding,
                "correct `assign`, or create the interface: `ip link` lists them",
            )
        })
    }

    /// Sysctls without which the gateway refuses to start, with `sysctls = "check"`.
    fn sysctls(&self) -> Finding {
        match missing_sysctls(self.config, &self.tree) {
            missing if missing.is_empty() => Finding::ok(
                "sysctls",
                match self.config.host.sysctls {
                    Sysctls::Check => "as required",
                    Sysctls::Set => "set at the start",
                },
            ),
            missing => {
                let text = |(finding, _): &(String, String)| finding.clone();
                let finding = missing.iter().map(text).collect::<Vec<_>>().join("; ");
                let commands: Vec<_> = missing.into_iter().map(|(_, command)| command).collect();
                Finding::error("sysctls", finding, commands.join(" && "))
            }
        }
    }

    /// Which firewall chains drop packets of the gateway.
    async fn firewall(&self) -> Vec<Finding> {
        if !self.config.host.checks.firewall {
            return Vec::new();
        }
        let netlink = match Netlink::open() {
            Ok(netlink) => netlink,
            Err(why) => return vec![Finding::warning("firewall", why.to_string(), "")],
        };
        let refusals = firewall::refusals(self.config, &netlink).await;
        if refusals.is_empty() {
            return vec![Finding::ok("firewall", "no chain drops all packets of the gateway")];
        }
        let finding = |refusal: &Refusal| match refusal.is_fatal() {
            true => Finding::error("firewall", refusal.finding(), refusal.remedy()),
            false => Finding::warning("firewall", refusal.finding(), refusal.remedy()),
        };
        refusals.iter().map(finding).collect()
    }

    /// Whether certificates can be read, and addresses are free.
    fn dns64(&self) -> Vec<Finding> {
        let Some(dns) = &self.config.dns64 else { return Vec::new() };
        if self.is_running {
            return vec![Finding::ok("dns64", "served by the running gateway")];
        }
        let errors = resolver::check(dns.settings.clone());
        if errors.is_empty() {
            return vec![Finding::ok("dns64", "listen addresses are free")];
        }
        let remedy = |why: &io::Error| match why.kind() {
            io::ErrorKind::AddrInUse => "stop the other server: `ss -lntup` lists it; or change `listen`",
            io::ErrorKind::PermissionDenied => "run as root, or with CAP_NET_BIND_SERVICE",
            io::ErrorKind::NotFound => "correct the path in [dns64]",
            _ => "",
        };
        errors.iter().map(|why| Finding::error("dns64", why.to_string(), remedy(why))).collect()
    }

    /// Listen addresses that no interface has. DNS64 serves them once one has.
    fn missing_listen_addresses(&self) -> Vec<Finding> {
        let Some(dns) = self.config.dns64.as_ref().filter(|dns| dns.assign.is_none()) else {
            return Vec::new();
        };
        let here = |listen: &SocketAddr| self.own.iter().any(|own| own.addr == listen.ip());
        let missing =
            dns.settings.listen.iter().filter(|listen| !listen.ip().is_unspecified() && !here(listen));
        let finding = |listen: &SocketAddr| {
            let finding = format!("no interface has the listen address {}", listen.ip());
            Finding::warning("dns64", finding, "add it, or set assign = \"INTERFACE\" in [dns64]")
        };
        missing.map(finding).collect()
    }

    fn metrics(&self) -> Option<Finding> {
        let listen = self.config.observe.metrics.filter(|_| !self.is_running)?;
        Some(match TcpListener::bind(listen) {
            Ok(_) => Finding::ok("metrics", format!("{listen} is free")),
            Err(why) => {
                let remedy = "stop the other program, or change `metrics` in [observe]";
                Finding::warning("metrics", format!("{listen}: {why}"), remedy)
            }
        })
    }

    /// Whether files can be created in a directory, or in the one in which it would be created.
    fn directory(&self, part: &str, dir: &Path) -> Finding {
        let nearest = dir.ancestors().find(|dir| dir.exists()).unwrap_or_else(|| Path::new("/"));
        match try_to_write(nearest) {
            Ok(()) => Finding::ok(part, format!("{} is writable", dir.display())),
            Err(why) => Finding::error(
                part,
                format!("{}: {why}", nearest.display()),
                format!("run as the user of the service, or: chown gate64: {}", nearest.display()),
            ),
        }
    }

    fn binding_log(&self) -> Option<Finding> {
        if !self.config.binding_log.is_enabled() {
            return None;
        }
        Some(match binding_log::check(self.config) {
            Ok(()) => Finding::ok("binding log", "can be written"),
            Err(why) => Finding::error("binding log", why.to_string(), "correct the path in [binding_log]"),
        })
    }
}

/// Without privileges, some parts cannot be examined.
fn privileges() -> Option<Finding> {
    (!privileges::may_start()).then(|| {
        Finding::warning(
            "privileges",
            "this process may not administer the network: firewall and ports are not examined in full",
            "run the command as root",
        )
    })
}

/// Creates and removes a file.
fn try_to_write(dir: &Path) -> io::Result<()> {
    if !fs::metadata(dir)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let path: PathBuf = dir.join(format!(".gate64-check-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

/// Sysctls that `sysctls = "check"` requires and that have another value, each with the command that sets it.
fn missing_sysctls(config: &Config, tree: &Tree) -> Vec<(String, String)> {
    if config.host.sysctls != Sysctls::Check {
        return Vec::new();
    }
    let mut wanted = Tree::forwarding().to_vec();
    if let Egress::Masquerade { ports } = config.egress {
        wanted.extend(tree.reserved_ports(ports).ok());
        wanted.extend(tree.icmp_timeout(config.nat64.timers.icmp.as_secs()));
    }
    let wrong = wanted.iter().filter_map(|wanted| {
        let command = format!("sysctl -w {}=\"{}\"", wanted.name(), wanted.value);
        tree.mismatch(wanted).map(|finding| (finding, command))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};
    use crate::observe::finding::{Rating, worst};

    fn config(text: &str) -> Config {
        let text = format!(
            "[translator]\npref64 = \"2001:db8:64::/96\"\n{text}\n\
             [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
        );
        load_on(&text, &FakeHost::new()).expect("a good file")
    }

    fn preflight<'a>(config: &'a Config, own: &'a [OwnAddress], tree: &Path) -> Preflight<'a> {
        Preflight { tree: Tree::at(tree.to_owned()), ..Preflight::new(config, own) }
    }

    #[test]
    fn sysctls_that_the_operator_must_set() {
        let dir = tempfile::tempdir().expect("a directory");
        for (key, value) in [
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/ip_local_reserved_ports", "8080"),
            ("net/netfilter/nf_conntrack_icmp_timeout", "30"),
        ] {
            let path = dir.path().join(key);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, format!("{value}\n")).expect("written");
        }
        let show = |egress: &str, how: &str| {
            let config = config(&format!("{egress}\n[host]\nsysctls = \"{how}\""));
            preflight(&config, &[], dir.path()).sysctls()
        };
        let pool = show("pool4 = \"192.0.2.64/28\"", "check");
        assert_eq!(pool.finding, "net.ipv4.ip_forward is 0 and must be 1");
        assert_eq!(
            (pool.rating, pool.remedy.as_str()),
            (Rating::Error, "sysctl -w net.ipv4.ip_forward=\"1\"")
        );
        let masquerade = show("egress = \"masquerade\"", "check");
        for part in [
            "net.ipv4.ip_local_reserved_ports is 8080 and must be 8080,40960-65535",
            "net.netfilter.nf_conntrack_icmp_timeout is 30 and must be 60",
        ] {
            assert!(masquerade.finding.contains(part), "{masquerade:?}");
        }
        assert_eq!(show("egress = \"masquerade\"", "set").rating, Rating::Ok);
    }

    #[test]
    fn listen_addresses_that_no_interface_has() {
        let dns = |listen: &str, more: &str| {
            config(&format!(
                "pool4 = \"192.0.2.64/28\"\n[dns64]\nlisten = \"{listen}\"\nupstreams = \"198.51.100.53\"\n{more}"
            ))
        };
        let host = FakeHost::new();
        for (listen, more, count) in [
            ("2001:db8:1::53", "", 1),
            ("2001:db8:1::1", "", 0),
            ("::", "", 0),
            ("2001:db8:1::53", "assign = \"x\"", 0),
        ] {
            let config = dns(listen, more);
            let preflight = preflight(&config, &host.0, Path::new("/"));
            assert_eq!(preflight.missing_listen_addresses().len(), count, "{listen} {more}");
            assert_eq!(preflight.interface().is_some(), !more.is_empty(), "{more}");
        }
    }

    #[test]
    fn an_address_in_use_and_a_missing_certificate() {
        let taken = std::net::UdpSocket::bind("[::1]:0").expect("a socket");
        let port = taken.local_addr().expect("bound").port();
        let config = config(&format!(
            "pool4 = \"192.0.2.64/28\"\n[observe]\nadmin = \"/nonexistent/sock\"\n\
             [dns64]\nlisten = \"[::1]:{port}\"\nupstreams = \"198.51.100.53\"\n"
        ));
        let preflight = preflight(&config, &[], Path::new("/"));
        let [found] = &preflight.dns64()[..] else { panic!("one finding") };
        assert_eq!(found.rating, Rating::Error);
        assert!(found.finding.contains(&format!("[::1]:{port}")), "{found:?}");
        assert!(found.remedy.contains("ss -lntup"), "{found:?}");
        drop(taken);
        assert_eq!(worst(&preflight.dns64()), Rating::Ok);
    }

    #[test]
    fn directories_must_be_writable() {
        let config = config("pool4 = \"192.0.2.64/28\"");
        let preflight = preflight(&config, &[], Path::new("/"));
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(preflight.directory("x", &dir.path().join("a/b")).rating, Rating::Ok);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "nothing stays");
        fs::write(dir.path().join("file"), "").expect("written");
        assert_eq!(preflight.directory("x", &dir.path().join("file/b")).rating, Rating::Error);
    }
}
