//! `gate64 check`: validates a configuration and shows its effect, including the routes that other
//! routers need.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::constants::USAGE;
use crate::addr::PortRange;
use crate::config::{Config, Egress, HostInfo, LoadError, OwnAddress, Siit, Sysctls};
use crate::control::host_info::LocalHost;
use crate::control::memory::{self, Memory, MemoryLimit};
use crate::control::requirements::Requirements;
use crate::control::sysctl::Tree;
use crate::nat64::Zone;
use crate::output::{errln, out, outln};
use crate::siit::Inside;

/// Validates a configuration file and prints its effect on this host.
pub(super) fn check(path: &Path) -> ExitCode {
    let system = match LocalHost::read_blocking(None) {
        Ok(system) => system,
        Err(why) => {
            errln!("gate64: cannot read the addresses of this host: {why}");
            return ExitCode::FAILURE;
        }
    };
    match Config::load(path, &system) {
        Ok(config) => {
            for warning in &config.warnings {
                errln!("warning: {warning}");
            }
            let device = config.host.device.as_str();
            // Ignore the interface of a gateway that is already running.
            let own: Vec<_> =
                system.addresses().iter().filter(|own| own.interface != device).cloned().collect();
            let requirements = Requirements::of(&config, &own, &[]);
            out!("{}", summary(&config, &requirements, &own));
            let fits = fits_memory(&config);
            match (fits, requirements.conflicts.is_empty()) {
                (false, _) => ExitCode::from(USAGE),
                (true, false) => ExitCode::FAILURE,
                (true, true) => ExitCode::SUCCESS,
            }
        }
        Err(LoadError::Config(why)) => {
            errln!("{why}");
            ExitCode::from(USAGE)
        }
        Err(why @ LoadError::Read { .. }) => {
            errln!("gate64: {why}");
            ExitCode::from(USAGE)
        }
    }
}

/// Whether this process could take the memory that the configuration promises; prints why not.
fn fits_memory(config: &Config) -> bool {
    let memory = Memory::of(config);
    if let Some(warning) = memory.warning(memory::of_machine()) {
        errln!("warning: {warning}");
    }
    if !config.host.checks.memory {
        return true;
    }
    let checked = memory.check(MemoryLimit::of_this_process().as_ref());
    checked.inspect_err(|why| outln!("error: {why}")).is_ok()
}

/// The effect of the configuration on this host, as text.
fn summary(config: &Config, requirements: &Requirements, own: &[OwnAddress]) -> String {
    let mut out = String::new();
    for line in zones(config).into_iter().chain(stateless(config)).chain(host(config)).chain(to_do(
        config,
        requirements,
        own,
    )) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}");
    }
    out
}

fn zones(config: &Config) -> Vec<String> {
    let join = |texts: Vec<String>| texts.join(" ");
    let mut lines = Vec::new();
    for (zone, name) in config.nat64.zones.iter().zip(&config.zone_names) {
        let pool = &config.nat64.pools[zone.pool].ranges;
        lines.push(format!("zone {name}"));
        lines.push(format!("  clients  {}", join(zone.clients.iter().map(ToString::to_string).collect())));
        lines.push(format!("  pref64   {}", join(zone.pref64.iter().map(ToString::to_string).collect())));
        let ranges = pool.iter().map(|(prefix, ports)| format!("{prefix} ports {ports}"));
        lines.push(format!("  pool4    {}", join(ranges.collect())));
        lines.push(format!(
            "  limits   {} ports and {} sessions per host (/{}); sites are /{}",
            zone.ports_per_host, zone.sessions_per_host, zone.host_len, zone.site_len
        ));
        lines.extend(capacity(config, zone));
    }
    lines
}

/// How many hosts a zone's pool serves, and under which assumptions.
fn capacity(config: &Config, zone: &Zone) -> [String; 2] {
    // Ports below 1024 only serve clients that use such ports.
    let ports =
        |range: PortRange| (u64::from(range.last()) + 1).saturating_sub(range.first().max(1024).into());
    let ranges = config.nat64.pools[zone.pool].ranges.iter();
    let all: u64 = ranges.map(|(net, range)| net.size() * ports(*range)).sum();
    let share = u64::from(zone.sharing.pool_share);
    let (ports, first) = (all * share / 100, u64::from(zone.sharing.first_block));
    let most = u64::from(config.nat64.limits.blocks.min(config.nat64.limits.hosts));
    // First blocks have 16 ports while less than half is free, and leave the last quarter.
    let new = (ports / 2 / first + ports / 4 / 16).min(most * 3 / 4);
    let busy = (ports / 256).min(most);
    let zones = config.nat64.zones.iter().filter(|other| other.pool == zone.pool).count();
    let pool = match zones {
        1 => format!("{ports} ports"),
        _ => format!("{ports} ports ({share} % of a pool4 that {zones} zones share)"),
    };
    [
        format!("  hosts    {new} with a first block of {first} ports, or {busy} with 256 ports each"),
        format!(
            "           assumes {pool}, {} workers with equal numbers of hosts; each /{} is a host",
            config.host.workers, zone.host_len
        ),
    ]
}

/// The stateless mappings.
fn stateless(config: &Config) -> Vec<String> {
    let Some(Siit { settings, .. }) = &config.siit else { return Vec::new() };
    let side = match settings.inside {
        Inside::V6 => "IPv6",
        Inside::V4 => "IPv4",
    };
    let mut lines = vec![format!("siit: hosts on the {side} side, {} mappings", settings.eams.len())];
    if !settings.hosts.is_empty() {
        let hosts: Vec<_> = settings.hosts.iter().map(ToString::to_string).collect();
        let prefix = settings.hosts_pref64.or(settings.pref64).map_or_else(String::new, |p| p.to_string());
        lines.push(format!("  hosts    {} under {prefix}", hosts.join(" ")));
    }
    let others = settings.pref64.map_or_else(|| "none".to_owned(), |p| p.to_string());
    lines.push(format!("  pref64   {others}"));
    lines
}

fn host(config: &Config) -> Vec<String> {
    let host = &config.host;
    let mut lines = vec![
        format!("device {}: {} workers, MTU {}", host.device, host.workers, host.mtu),
        format!("memory: {}", Memory::of(config)),
        format!("overload filter {}", if host.overload_filter { "auto" } else { "off" }),
        format!("ICMP errors from {} and {}", config.nat64.address6, config.nat64.address4),
    ];
    if let Egress::Masquerade { ports } = config.egress {
        lines.push(format!("egress: masquerade; ports {ports} of this host are reserved for clients"));
    }
    match &config.dns64 {
        Some(dns) => {
            let all = |addrs: &[std::net::SocketAddr]| {
                addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            let settings = &dns.settings;
            lines.push(format!("DNS64 on {}, upstreams {}", all(&settings.listen), all(&settings.upstreams)));
        }
        None => lines.push("no DNS64".to_owned()),
    }
    lines
}

/// What remains to configure, on this host and on other routers.
fn to_do(config: &Config, requirements: &Requirements, own: &[OwnAddress]) -> Vec<String> {
    let mut lines = Vec::new();
    for prefix in &requirements.upstream_routes {
        lines.push(format!("to do: route {prefix} to this host (on the router upstream)"));
    }
    for pref64 in config.pref64s() {
        lines.push(format!(
            "to do: clients route {pref64} to this host (unnecessary if it is their default router)"
        ));
    }
    for prefix in config.siit.iter().flat_map(|siit| &siit.routes6) {
        if !config.pref64s().iter().any(|p| p.prefix() == *prefix) {
            lines.push(format!("to do: route {prefix} to this host (on the IPv6 routers)"));
        }
    }
    if let Some((interface, _)) = requirements.proxies.first() {
        let count = requirements.proxies.len();
        lines.push(format!("proxy ARP: this host answers for {count} IPv4 addresses on {interface}"));
    }
    lines.extend(sysctls(config, &Tree::kernel()));
    for conflict in &requirements.conflicts {
        lines.push(format!("error: {conflict}"));
    }
    let here = |addr| own.iter().any(|own| own.addr == addr);
    for listen in config.dns64.iter().filter(|dns| dns.assign.is_none()).flat_map(|dns| &dns.settings.listen)
    {
        if !listen.ip().is_unspecified() && !here(listen.ip()) {
            lines.push(format!(
                "missing: no interface has the DNS64 listen address {}; add it, or set assign = \"INTERFACE\"",
                listen.ip()
            ));
        }
    }
    lines
}

/// Sysctls without which the gateway refuses to start, with `sysctls = "check"`.
fn sysctls(config: &Config, tree: &Tree) -> Vec<String> {
    if config.host.sysctls != Sysctls::Check {
        return Vec::new();
    }
    let mut wanted = Tree::forwarding().to_vec();
    if let Egress::Masquerade { ports } = config.egress {
        wanted.extend(tree.reserved_ports(ports).ok());
        wanted.extend(tree.icmp_timeout(config.nat64.timers.icmp.as_secs()));
    }
    let wrong = wanted.iter().filter_map(|wanted| tree.mismatch(wanted));
    wrong.map(|wrong| format!("missing: {wrong} (sysctls = \"check\")")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    #[test]
    fn the_smallest_file_and_its_to_do_list() {
        let host = FakeHost::new();
        let config = load_on(include_str!("../../configs/nat64.toml"), &host).expect("a good file");
        let requirements = Requirements::of(&config, &host.0, &[]);
        let want = "\
zone floor-3
  clients  2001:db8:1::/64
  pref64   2001:db8:64::/96
  pool4    192.0.2.64/28 ports 1-65535
  limits   2048 ports and 16384 sessions per host (/128); sites are /64
  hosts    24192 with a first block of 64 ports, or 4032 with 256 ports each
           assumes 1032192 ports, 4 workers with equal numbers of hosts; each /128 is a host
device gate64: 4 workers, MTU 1500
memory: MEMORY
overload filter auto
ICMP errors from 2001:db8:1::1 and 203.0.113.1
DNS64 on [2001:db8:1::53]:53, upstreams 198.51.100.53:53
to do: route 192.0.2.64/28 to this host (on the router upstream)
to do: clients route 2001:db8:64::/96 to this host (unnecessary if it is their default router)
missing: no interface has the DNS64 listen address 2001:db8:1::53; add it, or set assign = \"INTERFACE\"
";
        let want = want.replace("MEMORY", &Memory::of(&config).to_string());
        assert_eq!(summary(&config, &requirements, &host.0), want);
    }

    #[test]
    fn mappings_and_their_to_do_list() {
        let host = FakeHost::new();
        let show = |text: &str| {
            let config = load_on(text, &host).expect("a good file");
            let shown = summary(&config, &Requirements::of(&config, &host.0, &[]), &host.0);
            shown.replace(&Memory::of(&config).to_string(), "MEMORY")
        };
        let want = "\
siit: hosts on the IPv6 side, 3 mappings
  pref64   2001:db8:46::/96
device gate64: 4 workers, MTU 1500
memory: MEMORY
overload filter auto
ICMP errors from 2001:db8:1::1 and 203.0.113.1
no DNS64
to do: route 192.0.2.1/32 to this host (on the router upstream)
to do: route 192.0.2.2/32 to this host (on the router upstream)
to do: route 192.0.2.16/28 to this host (on the router upstream)
to do: route 2001:db8:46::/96 to this host (on the IPv6 routers)
";
        assert_eq!(show(include_str!("../../configs/siit.toml")), want);
        let want = "\
siit: hosts on the IPv4 side, 0 mappings
  hosts    192.168.1.0/24 under 2001:db8:aaaa::/96
  pref64   2001:db8:1234::/96
device gate64: 4 workers, MTU 1500
memory: MEMORY
overload filter auto
ICMP errors from 2001:db8:1::1 and 203.0.113.1
no DNS64
to do: route 2001:db8:aaaa::c0a8:100/120 to this host (on the IPv6 routers)
";
        assert_eq!(show(include_str!("../../configs/464xlat.toml")), want);
    }

    #[test]
    fn sysctls_that_the_operator_must_set() {
        let host = FakeHost::new();
        let dir = tempfile::tempdir().expect("a directory");
        for (key, value) in [
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/ip_local_reserved_ports", "8080"),
            ("net/netfilter/nf_conntrack_icmp_timeout", "30"),
        ] {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, format!("{value}\n")).expect("written");
        }
        let show = |egress: &str, how: &str| {
            let text = format!(
                "[translator]\npref64 = \"2001:db8:64::/96\"\n{egress}\n[host]\nsysctls = \"{how}\"\n\
                 [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
            );
            let config = load_on(&text, &host).expect("a good file");
            sysctls(&config, &Tree::at(dir.path().to_owned())).join("\n")
        };
        let forwarding = "missing: net.ipv4.ip_forward is 0 and must be 1 (sysctls = \"check\")";
        assert_eq!(show("pool4 = \"192.0.2.64/28\"", "check"), forwarding);
        let masquerade = show("egress = \"masquerade\"", "check");
        let others = "\
missing: net.ipv4.ip_local_reserved_ports is 8080 and must be 8080,40960-65535 (sysctls = \"check\")
missing: net.netfilter.nf_conntrack_icmp_timeout is 30 and must be 60 (sysctls = \"check\")";
        assert_eq!(masquerade, format!("{forwarding}\n{others}"));
        assert_eq!(show("egress = \"masquerade\"", "set"), "");
    }

    #[test]
    fn an_unspecified_listen_address_needs_no_interface() {
        let host = FakeHost::new();
        let text = include_str!("../../configs/nat64.toml").replace("[2001:db8:1::53]:53", "[::]:53");
        let config = load_on(&text, &host).expect("a good file");
        let shown = summary(&config, &Requirements::of(&config, &host.0, &[]), &host.0);
        assert!(shown.contains("DNS64 on [::]:53"), "{shown}");
        assert!(!shown.contains("listen address"), "{shown}");
    }
}
