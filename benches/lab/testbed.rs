//! A contestant in its own lab, with a tester at both sides and routes for synthetic traffic.
//!
//! Synthetic packets are routed to neighbours that do not exist. Their frames reach the sink at the other
//! end of the link; the kernel there drops them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use gate64::lab::{CommandLine, Deadline, Lab, LabError, Namespace, Plan, until};

use crate::contestant::{Contestant, Running, TAYGA_POOL};
use crate::machine;
use crate::packets::tester::Tester;

/// A MAC address that no interface has.
const UNUSED_MAC: &str = "02:00:00:00:00:99";

/// One contestant, its lab and its tester.
///
/// Fields are dropped in order: processes before their namespaces.
#[derive(Debug)]
pub(crate) struct Testbed {
    pub(crate) contestant: Contestant,
    pub(crate) running: Running,
    pub(crate) tester: Tester,
    /// The gateway's MAC addresses on the links to the zone and the Internet.
    pub(crate) macs: [[u8; 6]; 2],
    /// Number of the last trial.
    pub(crate) trial: u16,
    pub(crate) lab: Lab,
}

/// Wraps an operating system error with the operation that failed.
pub(crate) fn failed(what: &str) -> impl FnOnce(std::io::Error) -> LabError {
    let what = what.to_owned();
    move |source| LabError::Io { what, source }
}

impl Testbed {
    /// Builds the lab and starts the contestant with capacity for `sessions`. `rps` is the CPU mask of
    /// receive packet steering on its TUN.
    pub(crate) fn build(contestant: Contestant, sessions: u32, rps: Option<&str>) -> Result<Self, LabError> {
        let gate64 = Path::new(env!("CARGO_BIN_EXE_gate64")).to_owned();
        let lab = Lab::build(&Plan { hosts: 1, far: None, gate64 })?;
        routes(&lab)?;
        let running = contestant.start(&lab, sessions)?;
        if let (Some(device), Some(cpus)) = (contestant.device(), rps) {
            lab.gateway
                .run(&format!("tee /sys/class/net/{device}/queues/rx-0/rps_cpus"))
                .input(cpus)
                .text()?;
        }
        let [tester, _] = machine::cpus();
        let tester = Tester::new((lab.host().name(), "eth0"), (lab.internet.name(), "cust"), tester)
            .map_err(failed("packet sockets"))?;
        let macs = [mac(&lab.gateway, "lan0")?, mac(&lab.gateway, "wan")?];
        Ok(Self { contestant, running, tester, macs, trial: 0, lab })
    }

    /// Pins the gateway's process to another CPU than the tester's, if there are two; or lets it run on all.
    pub(crate) fn pin_gateway(&self, pinned: bool) -> Result<(), LabError> {
        let [_, gateway] = machine::cpus();
        let Some(pid) = self.running.pid() else { return Ok(()) };
        let cpus = if pinned { gateway.to_string() } else { format!("0-{}", machine::count() - 1) };
        CommandLine::new(&format!("taskset -a -c -p {cpus} {pid}")).text().map(drop)
    }

    /// The server's own address, for sockets.
    pub(crate) fn server_addr(&self, port: u16) -> SocketAddr {
        if self.contestant.servers_have_ipv6() {
            return self.server_addr_from_host(port);
        }
        SocketAddr::new(Ipv4Addr::new(198, 51, 100, 80).into(), port)
    }

    /// The server's address as hosts see it, for sockets.
    pub(crate) fn server_addr_from_host(&self, port: u16) -> SocketAddr {
        let addr = match self.contestant {
            Contestant::Gate64 | Contestant::Tayga | Contestant::TaygaMasquerade => {
                Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc633, 0x6450).into()
            }
            Contestant::Plain => Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80).into(),
            Contestant::Nat44 => Ipv4Addr::new(198, 51, 100, 80).into(),
        };
        SocketAddr::new(addr, port)
    }

    /// Waits until the host reaches the server.
    pub(crate) fn await_path(&self) -> Result<(), LabError> {
        let ping = self.lab.host().run(&format!("ping -c 1 -W 1 {}", self.server_addr_from_host(0).ip()));
        let what = format!("the server answers through {}", self.contestant.name());
        until(Deadline::after(10), &what, || ping.outcome().is_ok_and(|o| o.ok))
    }
}

fn routes(lab: &Lab) -> Result<(), LabError> {
    let (gateway, host, internet) = (&lab.gateway, lab.host(), &lab.internet);
    // IPv4 for the contestants and hosts that have it.
    gateway.ip("addr add 10.0.0.1/24 dev lan0")?;
    host.ip("addr add 10.0.0.10/24 dev eth0")?;
    host.ip("route add default via 10.0.0.1")?;
    internet.ip(&format!("route add {TAYGA_POOL} via 192.0.2.2"))?;
    internet.ip("route add 198.19.0.0/16 via 192.0.2.2")?;
    // Synthetic traffic: hosts are routed to one neighbour, servers to another.
    for (neighbour, device) in
        [("10.0.0.11", "lan0"), ("2001:db8:1::11", "lan0"), ("192.0.2.3", "wan"), ("2001:db8:ffff::3", "wan")]
    {
        gateway.ip(&format!("neigh replace {neighbour} lladdr {UNUSED_MAC} dev {device} nud permanent"))?;
    }
    gateway.ip("route add 10.64.0.0/16 via 10.0.0.11")?;
    gateway.ip("-6 route add 2001:db8:1:100::/56 via 2001:db8:1::11")?;
    gateway.ip("route add 198.18.0.0/16 via 192.0.2.3")?;
    gateway.ip("-6 route add 2001:2::/48 via 2001:db8:ffff::3").map(drop)
}

fn mac(namespace: &Namespace, device: &str) -> Result<[u8; 6], LabError> {
    let text = namespace.text(&format!("cat /sys/class/net/{device}/address"))?;
    let bytes: Vec<u8> =
        text.trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().map_err(|_| LabError::DemoFailed(format!("{device} has no MAC address: {text}")))
}
