//! Synthetic traffic through a gateway: opens flows and sends on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use gate64::lab::LabError;

use crate::contestant::Contestant;
use crate::packets::frame;
use crate::packets::tester::{Count, Length, Side, Stream};
use crate::testbed::{Testbed, failed};

/// The servers' port.
const SERVICE: u16 = 5000;
/// A MAC address that no interface has.
const UNUSED_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x98];
/// Number of servers.
const SERVERS: u32 = 16;

/// Flows through a gateway, with a frame of each in both directions.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) up: Vec<Vec<u8>>,
    /// Frames from the servers; empty until the flows are open.
    pub(crate) down: Vec<Vec<u8>>,
    /// The mapped address of each flow.
    pub(crate) outside: Vec<SocketAddr>,
    hosts: u32,
    pub(crate) trial: u16,
}

/// The traffic of a trial.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Load {
    pub(crate) from: Side,
    /// Packets per second.
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
    /// Whether to measure delays.
    pub(crate) stamped: bool,
}

/// Host `n` of the zone.
fn client(contestant: Contestant, n: u32) -> IpAddr {
    if contestant.hosts_have_ipv4() {
        return Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 2).to_bits() + n).into();
    }
    let first = Ipv6Addr::new(0x2001, 0xdb8, 1, 0x100, 0, 0, 0, 2).to_bits();
    Ipv6Addr::from_bits(first + u128::from(n)).into()
}

/// The address of server `n`, and its address as hosts see it. Servers are in 198.18.0.0/15 or 2001:2::/48
/// (RFC 8219 §14).
fn server(contestant: Contestant, n: u32) -> [IpAddr; 2] {
    let v4 = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + n);
    let v6 = |prefix: [u16; 3], n: u32| {
        let [a, b, c] = prefix;
        Ipv6Addr::from_bits(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits() + u128::from(n)).into()
    };
    match contestant {
        Contestant::Nat44 => [v4.into(); 2],
        Contestant::Plain => [v6([0x2001, 2, 0], n + 1); 2],
        Contestant::Gate64 | Contestant::Tayga | Contestant::TaygaMasquerade => {
            [v4.into(), v6([0x2001, 0xdb8, 0x64], v4.to_bits())]
        }
    }
}

impl Testbed {
    /// `many` flows of `hosts` hosts from host `first` on. Ports are pseudo-random (RFC 4814).
    pub(crate) fn flows(&mut self, many: u32, hosts: u32, first: u32) -> Flows {
        self.trial = self.trial.wrapping_add(1).max(1);
        let trial = self.trial;
        let frame = |flow: u32| {
            // The step is coprime to the number of ports, so all ports are used.
            let port = 1024 + (flow / hosts * 7919 % 60_000) as u16;
            let from = SocketAddr::new(client(self.contestant, first + flow % hosts), port);
            let to = SocketAddr::new(server(self.contestant, flow / hosts % SERVERS)[1], SERVICE);
            frame::ethernet(self.macs[0], &frame::udp(from, to, trial, flow))
        };
        Flows { up: (0..many).map(frame).collect(), down: Vec::new(), outside: Vec::new(), hosts, trial }
    }

    /// Sends each flow's first packet, `rate` per second, until all have arrived. Records the mapped
    /// addresses.
    pub(crate) fn open(&mut self, flows: &mut Flows, rate: f64) -> Result<(), LabError> {
        let mut seen = vec![None; flows.up.len()];
        for _ in 0..20 {
            if self.open_once(flows, rate, &mut seen)?.sent == 0 {
                return self.build_replies(flows, &seen);
            }
        }
        self.build_replies(flows, &seen)
    }

    /// Sends the first packet of each flow that has not arrived yet, once.
    pub(crate) fn open_once(
        &mut self,
        flows: &Flows,
        rate: f64,
        seen: &mut [Option<SocketAddr>],
    ) -> Result<Count, LabError> {
        let missing = flows.up.iter().zip(seen.iter()).filter(|(_, s)| s.is_none());
        let missing: Vec<_> = missing.map(|(frame, _)| frame.clone()).collect();
        if missing.is_empty() {
            return Ok(Count::default());
        }
        let stream = Stream { from: Side::Zone, frames: &missing, rate, trial: flows.trial, stamped: false };
        let watch = |arrived: &frame::Arrived| {
            if let Some(seen) = seen.get_mut(arrived.tag.flow as usize) {
                *seen = Some(arrived.src);
            }
        };
        let counts = self.tester.run(&[stream], Length::Once, watch).map_err(failed("sending"));
        Ok(counts?.pop().unwrap_or_default())
    }

    /// Builds the frames from the servers. All flows must have arrived.
    pub(crate) fn build_replies(
        &self,
        flows: &mut Flows,
        seen: &[Option<SocketAddr>],
    ) -> Result<(), LabError> {
        flows.down.clear();
        flows.outside.clear();
        for (flow, seen) in (0..).zip(seen) {
            let Some(to) = *seen else {
                let name = self.contestant.name();
                return Err(LabError::DemoFailed(format!("{name}: flow {flow} does not pass")));
            };
            let from = server(self.contestant, flow / flows.hosts % SERVERS)[0];
            let packet = frame::udp(SocketAddr::new(from, SERVICE), to, flows.trial, flow);
            flows.down.push(frame::ethernet(self.macs[1], &packet));
            flows.outside.push(to);
        }
        Ok(())
    }

    /// Sends a load through the gateway.
    pub(crate) fn load(&mut self, flows: &Flows, load: Load) -> Result<Count, LabError> {
        let Load { from, rate, seconds, stamped } = load;
        let frames = match from {
            Side::Zone => &flows.up,
            Side::Internet => &flows.down,
        };
        let stream = Stream { from, frames, rate, trial: flows.trial, stamped };
        let length = Length::For(Duration::from_secs_f64(seconds));
        let mut counts = self.tester.run(&[stream], length, |_| {}).map_err(failed("sending"))?;
        Ok(counts.pop().unwrap_or_default())
    }
}

impl Flows {
    /// The same frames with an unused destination MAC address.
    pub(crate) fn to_unused_address(&self) -> Self {
        let redirect = |frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
            frames.iter().map(|frame| [&UNUSED_MAC[..], &frame[6..]].concat()).collect()
        };
        Self { up: redirect(&self.up), down: redirect(&self.down), outside: Vec::new(), ..*self }
    }
}
