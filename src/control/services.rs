//! Services of this host on ports that `egress = "masquerade"` gives to clients: packets to them reach the
//! translator instead, without any error message.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use crate::addr::{PortRange, Proto};
use crate::config::{Config, Egress, INNER};
use crate::nat64::StaticBinding;

/// Interval between searches.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Socket tables of the network namespace, by address family.
const TABLES: [(&str, Proto); 4] = [
    ("/proc/self/net/udp", Proto::Udp),
    ("/proc/self/net/udp6", Proto::Udp),
    ("/proc/self/net/tcp", Proto::Tcp),
    ("/proc/self/net/tcp6", Proto::Tcp),
];

/// The services found so far.
#[derive(Default)]
pub(super) struct Services {
    known: BTreeSet<(Proto, u16)>,
}

impl Services {
    /// Warns about services that the last search did not find.
    pub(super) fn search(&mut self, config: &Config) {
        let Egress::Masquerade { ports } = config.egress else { return self.known.clear() };
        let mut found = BTreeSet::new();
        for (path, proto) in TABLES {
            let open = File::open(path).map(BufReader::new);
            // Without IPv6, its tables are missing.
            if let Ok(lines) = open {
                let _ = collect(lines, proto, &mut found);
            }
        }
        found.retain(|(proto, port)| is_taken(*proto, *port, ports, &config.nat64.statics));
        for (proto, port) in found.difference(&self.known) {
            tracing::warn!(
                "{} port {port}: a service of this host listens on it, but its packets go to clients of gate64 \
                 (egress_ports {ports}); choose another port for the service, or other egress_ports",
                proto.name()
            );
        }
        self.known = found;
    }
}

/// Whether packets to this port of the host go to the translator.
fn is_taken(proto: Proto, port: u16, ports: PortRange, statics: &[StaticBinding]) -> bool {
    let is_static =
        |entry: &StaticBinding| entry.proto == proto && entry.v4.addr == INNER && entry.v4.port == port;
    ports.contains(port) || statics.iter().any(is_static)
}

/// Collects the ports of listening sockets from a table of the kernel. Sockets bound to a loopback address or to one
/// IPv6 address don't count.
///
/// # Errors
/// The table cannot be read.
fn collect(table: impl BufRead, proto: Proto, found: &mut BTreeSet<(Proto, u16)>) -> io::Result<()> {
    // TCP sockets that listen, UDP sockets without a remote address.
    let listening = if proto == Proto::Tcp { "0A" } else { "07" };
    for line in table.lines().skip(1) {
        let line = line?;
        let mut words = line.split_whitespace().skip(1);
        let (Some(local), Some(state)) = (words.next(), words.nth(1)) else { continue };
        if state != listening {
            if proto == Proto::Tcp {
                // The table has listening sockets first, and perhaps many others.
                return Ok(());
            }
            continue;
        }
        if let Some((addr, port)) = local.rsplit_once(':')
            && serves_ipv4(addr)
            && let Ok(port) = u16::from_str_radix(port, 16)
        {
            found.insert((proto, port));
        }
    }
    Ok(())
}

/// Whether a socket with this local address, in hexadecimal with each 32-bit word in host order, receives IPv4
/// packets from other hosts.
fn serves_ipv4(addr: &str) -> bool {
    let any = addr.bytes().all(|digit| digit == b'0');
    let mapped = addr.strip_prefix(&format!("{:016X}{:08X}", 0, u32::from_ne_bytes([0, 0, 0xff, 0xff])));
    let v4 = if addr.len() == 8 { Some(addr) } else { mapped };
    let loopback = |word: &str| u32::from_str_radix(word, 16).is_ok_and(|word| word.to_ne_bytes()[0] == 127);
    any || v4.is_some_and(|word| !loopback(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn word(octets: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(octets))
    }

    fn found(lines: &[String], proto: Proto) -> Vec<u16> {
        let mut found = BTreeSet::new();
        let table = format!("  sl  local_address rem_address   st ...\n{}\n", lines.join("\n"));
        collect(table.as_bytes(), proto, &mut found).expect("readable");
        found.into_iter().map(|(_, port)| port).collect()
    }

    fn line(addr: &str, port: u16, state: &str) -> String {
        format!(
            "  12: {addr}:{port:04X} {}:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1",
            word([0; 4])
        )
    }

    #[test]
    fn listening_sockets_are_found() {
        let (any4, any6) = ("0".repeat(8), "0".repeat(32));
        let mapped = |octets| format!("{}{}{}", "0".repeat(16), word([0, 0, 0xff, 0xff]), word(octets));
        let udp = [
            line(&any4, 51_820, "07"),
            line(&word([192, 0, 2, 1]), 51_821, "07"),
            line(&word([127, 0, 0, 1]), 51_822, "07"),
            line(&any4, 51_823, "01"),
            line(&any6, 51_824, "07"),
            line(&mapped([192, 0, 2, 1]), 51_825, "07"),
            line(&mapped([127, 0, 0, 1]), 51_826, "07"),
            line(&format!("{}{}", word([0x20, 1, 0xd, 0xb8]), "0".repeat(24)), 51_827, "07"),
        ];
        assert_eq!(found(&udp, Proto::Udp), [51_820, 51_821, 51_824, 51_825]);
        let tcp = [line(&any4, 50_000, "0A"), line(&any4, 50_001, "01"), line(&any4, 50_002, "0A")];
        assert_eq!(found(&tcp, Proto::Tcp), [50_000], "listening sockets come first");
    }

    #[test]
    fn a_port_is_taken_by_the_range_or_by_a_static_binding() {
        let ports = PortRange::new(40_960, 65_535).expect("a range");
        let statics = [StaticBinding {
            proto: Proto::Tcp,
            v6: crate::addr::Transport6::new(std::net::Ipv6Addr::LOCALHOST, 443),
            v4: crate::addr::Transport4::new(INNER, 443),
        }];
        for (proto, port, want) in [
            (Proto::Udp, 51_820, true),
            (Proto::Udp, 40_959, false),
            (Proto::Tcp, 443, true),
            (Proto::Udp, 443, false),
        ] {
            assert_eq!(is_taken(proto, port, ports, &statics), want, "{} {port}", proto.name());
        }
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let port = socket.local_addr().expect("bound").port();
        let mut found = BTreeSet::new();
        let table = BufReader::new(File::open(TABLES[0].0).expect("a table"));
        collect(table, Proto::Udp, &mut found).expect("readable");
        assert!(found.contains(&(Proto::Udp, port)));
    }
}
