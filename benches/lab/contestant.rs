//! The compared gateways and how each is started.

use std::fs;

use gate64::lab::{CommandLine, Daemon, Gateway, GatewayConfig, Lab, LabError};

/// A compared gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Contestant {
    Gate64,
    /// tayga as packaged by Debian: maps each host to its own IPv4 address, without sessions.
    Tayga,
    /// tayga made stateful: nftables masquerades its translated packets.
    TaygaMasquerade,
    /// The kernel forwards IPv6 without translation: about the upper limit for any translator.
    Plain,
    /// The kernel's own stateful translator, IPv4 to IPv4.
    Nat44,
}

/// A running contestant. Dropping it stops it.
#[derive(Debug)]
pub(crate) enum Running {
    Gate64(Gateway),
    Tayga(Daemon),
    Kernel,
}

/// tayga's addresses for hosts.
pub(crate) const TAYGA_POOL: &str = "10.65.0.0/16";
/// gate64's pool, with enough ports for every test.
const POOL4: &str = "198.19.0.0/24";

impl Contestant {
    pub(crate) const ALL: [Self; 5] =
        [Self::Gate64, Self::Tayga, Self::TaygaMasquerade, Self::Plain, Self::Nat44];

    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gate64 => "gate64",
            Self::Tayga => "tayga, stateless",
            Self::TaygaMasquerade => "tayga + masquerade",
            Self::Plain => "plain IPv6 forwarding",
            Self::Nat44 => "kernel NAT44",
        }
    }

    /// Its name in files and on the command line.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Gate64 => "gate64",
            Self::Tayga => "tayga",
            Self::TaygaMasquerade => "tayga+masq",
            Self::Plain => "plain",
            Self::Nat44 => "nat44",
        }
    }

    /// Whether its hosts have IPv4.
    pub(crate) const fn hosts_have_ipv4(self) -> bool {
        match self {
            Self::Nat44 => true,
            Self::Gate64 | Self::Tayga | Self::TaygaMasquerade | Self::Plain => false,
        }
    }

    /// Whether its servers are reached by IPv6.
    pub(crate) const fn servers_have_ipv6(self) -> bool {
        match self {
            Self::Plain => true,
            Self::Gate64 | Self::Tayga | Self::TaygaMasquerade | Self::Nat44 => false,
        }
    }

    /// Its TUN, if it has one.
    pub(crate) const fn device(self) -> Option<&'static str> {
        match self {
            Self::Gate64 => Some("gate64"),
            Self::Tayga | Self::TaygaMasquerade => Some("nat64"),
            Self::Plain | Self::Nat44 => None,
        }
    }

    /// Starts it in the gateway's namespace, for at most `sessions` sessions.
    pub(crate) fn start(self, lab: &Lab, sessions: u32) -> Result<Running, LabError> {
        let gateway = &lab.gateway;
        gateway.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
        match self {
            Self::Gate64 => lab.start(&config(sessions)).map(Running::Gate64),
            Self::Tayga => start_tayga(lab),
            Self::TaygaMasquerade => {
                masquerade(lab)?;
                start_tayga(lab)
            }
            Self::Plain => Ok(Running::Kernel),
            Self::Nat44 => {
                masquerade(lab)?;
                Ok(Running::Kernel)
            }
        }
    }
}

impl Running {
    /// The ID of its process; `None` if it is the kernel.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Gate64(gateway) => Some(gateway.pid()),
            Self::Tayga(daemon) => Some(daemon.pid()),
            Self::Kernel => None,
        }
    }
}

fn config(sessions: u32) -> GatewayConfig {
    // Hosts that nobody answered use three quarters of a table.
    let sessions = sessions.div_ceil(3) * 4;
    GatewayConfig {
        pool: format!("pool4 = [\"{POOL4}\"]"),
        more: format!(
            "\n[limits]\nsessions = {sessions}\nbindings = {sessions}\nblocks_per_host = 16\n\
             sessions_per_host = {sessions}\n"
        ),
        ..GatewayConfig::default()
    }
}

/// tayga maps each IPv6 address to an IPv4 address of its pool.
fn start_tayga(lab: &Lab) -> Result<Running, LabError> {
    let dir = lab.dir().display();
    let file = lab.dir().join("tayga.conf");
    let text = format!(
        "tun-device nat64\nipv4-addr 10.65.0.1\nprefix 2001:db8:64::/96\ndynamic-pool {TAYGA_POOL}\n\
         data-dir {dir}\nipv6-addr 2001:db8:1:ffff::1\n"
    );
    fs::write(&file, text).map_err(|source| LabError::Io { what: "tayga.conf".to_owned(), source })?;
    let gateway = &lab.gateway;
    gateway.text(&format!("tayga --mktun -c {}", file.display()))?;
    gateway.ip("link set nat64 up")?;
    gateway.ip(&format!("route add {TAYGA_POOL} dev nat64"))?;
    gateway.ip("route add 2001:db8:64::/96 dev nat64")?;
    let daemon = gateway.daemon(&format!("tayga -d -c {}", file.display()), &lab.dir().join("tayga.log"))?;
    Ok(Running::Tayga(daemon))
}

fn masquerade(lab: &Lab) -> Result<(), LabError> {
    let rules = "table ip lab {\nchain out {\ntype nat hook postrouting priority 100\n\
                 oifname wan masquerade\n}\n}\n";
    lab.gateway.run("nft -f -").input(rules).text().map(drop)
}

/// The version of Debian's tayga.
pub(crate) fn tayga_version() -> String {
    let version = CommandLine::new("dpkg-query -W -f ${Version} tayga").text();
    format!("tayga {}", version.as_deref().unwrap_or("of unknown version").trim())
}
