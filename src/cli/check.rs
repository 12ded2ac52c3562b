//! `gate64 check`: validates a configuration and shows its effect, including the routes that other
//! routers need.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::constants::{CONFIG, USAGE};
use super::exit;
use crate::addr::PortRange;
use crate::config::{Config, Egress, HostInfo, OwnAddress, Siit};
use crate::control::host_info::LocalHost;
use crate::control::memory::Memory;
use crate::control::preflight::Preflight;
use crate::control::requirements::Requirements;
use crate::nat64::Zone;
use crate::observe::finding::{Finding, Findings, Rating, worst};
use crate::output::{errln, out, outln};
use crate::siit::Inside;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Also ask each upstream resolver.
    #[arg(long)]
    online: bool,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Validates a configuration file; prints its effect and what `run` would find on this host. Succeeds if `run` would
/// serve.
pub(super) fn check(args: &Args) -> ExitCode {
    let (config, own) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let requirements = Requirements::of(&config, &own, &[]);
    let findings = match findings(&config, &own, &requirements, args.online) {
        Ok(findings) => findings,
        Err(why) => return exit::fail(why),
    };
    if args.json {
        let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        let to_do = to_do(&config, &requirements);
        outln!("{}", json!({ "warnings": warnings, "to_do": to_do, "findings": findings }));
    } else {
        config.warnings.iter().for_each(|warning| errln!("warning: {warning}"));
        out!("{}\n{}", summary(&config, &requirements), Findings(&findings));
    }
    let is_memory = |finding: &Finding| finding.part == "memory" && finding.rating == Rating::Error;
    match worst(&findings) {
        Rating::Error if findings.iter().any(is_memory) => ExitCode::from(USAGE),
        Rating::Error => ExitCode::FAILURE,
        Rating::Ok | Rating::Warning => ExitCode::SUCCESS,
    }
}

/// Reads a configuration for this host; also returns the addresses of the host without those of the device, which may be
/// that of a running gateway. Prints why it fails.
pub(super) fn load(path: &Path) -> Result<(Config, Vec<OwnAddress>), ExitCode> {
    let system = LocalHost::read_blocking(None)
        .map_err(|why| exit::fail(format_args!("cannot read the addresses of this host: {why}")))?;
    let config = Config::load(path, &system).map_err(|why| exit::refuse(&why))?;
    let device = config.host.device.as_str();
    let own = system.addresses().iter().filter(|own| own.interface != device).cloned().collect();
    Ok((config, own))
}

/// What `run` would find on this host; with `online` also whether upstream resolvers answer.
///
/// # Errors
/// The process has no descriptor left.
pub(super) fn findings(
    config: &Config,
    own: &[OwnAddress],
    requirements: &Requirements,
    online: bool,
) -> io::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let mut findings = Preflight::new(config, own).findings(requirements).await;
        if let Some(dns) = config.dns64.as_ref().filter(|_| online) {
            findings.extend(super::online::upstreams(&dns.settings).await);
        }
        findings
    }))
}

/// The effect of the configuration on this host, as text.
fn summary(config: &Config, requirements: &Requirements) -> String {
    let mut out = String::new();
    let effect = zones(config).into_iter().chain(stateless(config)).chain(host(config));
    for line in effect.chain(to_do(config, requirements)) {
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

/// What remains to configure on other routers, and what this host does for them.
fn to_do(config: &Config, requirements: &Requirements) -> Vec<String> {
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
    lines
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
";
        let want = want.replace("MEMORY", &Memory::of(&config).to_string());
        assert_eq!(summary(&config, &requirements), want);
    }

    #[test]
    fn mappings_and_their_to_do_list() {
        let host = FakeHost::new();
        let show = |text: &str| {
            let config = load_on(text, &host).expect("a good file");
            let shown = summary(&config, &Requirements::of(&config, &host.0, &[]));
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
}
