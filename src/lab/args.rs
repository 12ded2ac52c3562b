//! Arguments of `gate64 lab`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Run a gateway in network namespaces, between an IPv6-only host and an IPv4-only server. Needs root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Action. Default: demonstrate DNS64 and NAT64, then exit.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// The actions of the lab.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Open a shell on the IPv6-only host.
    Shell,
    /// Remove namespaces, processes and files that a crashed run left behind.
    Sweep,
    /// Serve web pages; the lab runs this inside its namespaces.
    #[command(hide = true)]
    Web {
        /// Directory for uploads.
        dir: PathBuf,
        /// Listen addresses.
        listen: Vec<SocketAddr>,
    },
    /// Send UDP datagrams to echo servers and compare the replies.
    #[command(hide = true)]
    Probe {
        /// Local address.
        #[arg(long, default_value = "[::]:0")]
        bind: SocketAddr,
        /// Payload sizes `FIRST-LAST`. Default: ask the servers for our mapped address.
        #[arg(long, value_parser = sizes)]
        sizes: Option<(usize, usize)>,
        /// Echo servers.
        targets: Vec<SocketAddr>,
    },
    /// Serve DNS, with faults that the queried names select; for tests of DNS64.
    #[command(hide = true)]
    Upstream {
        /// Listen addresses, UDP and TCP.
        listen: Vec<SocketAddr>,
    },
    /// Send the packets of a capture on an interface and capture the packets received.
    #[command(hide = true)]
    Wire {
        /// The interface.
        interface: String,
        /// Send TCP and UDP packets as super-packets with segments of this size, in bytes.
        #[arg(long)]
        segment: Option<u16>,
    },
    /// Print the mapped address that an echo server sees, then echo until killed.
    #[command(hide = true)]
    Listen {
        /// Local address.
        #[arg(long, default_value = "[::]:0")]
        bind: SocketAddr,
        /// The echo server.
        server: SocketAddr,
    },
}

/// Reads `FIRST-LAST`.
fn sizes(text: &str) -> Result<(usize, usize), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.parse().map_err(|_| format!("`{t}` is not a size in bytes"));
    Ok((number(first)?, number(last)?))
}
