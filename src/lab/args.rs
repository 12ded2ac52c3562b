//! What `gate64 lab` is told.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A gateway in network namespaces, with an IPv6-only host on one side and an IPv4-only server on
/// the other. Needs root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do; without it the lab shows what it can do and ends.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What the lab can do besides showing itself.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Opens a shell on the IPv6-only host.
    Shell,
    /// Removes what a crashed run has left behind.
    Sweep,
    /// Serves web pages; the lab calls this inside its namespaces.
    #[command(hide = true)]
    Web {
        /// Where uploads go.
        dir: PathBuf,
        /// Where to listen.
        listen: Vec<SocketAddr>,
    },
    /// Sends UDP datagrams to echo servers and says what came back.
    #[command(hide = true)]
    Probe {
        /// Where from.
        #[arg(long, default_value = "[::]:0")]
        bind: SocketAddr,
        /// Payload sizes `FIRST-LAST`; without them the servers are asked who we are.
        #[arg(long, value_parser = sizes)]
        sizes: Option<(usize, usize)>,
        /// Where to.
        targets: Vec<SocketAddr>,
    },
    /// Answers DNS queries as the names in them say; for tests of the DNS64.
    #[command(hide = true)]
    Upstream {
        /// Where to listen, UDP and TCP.
        listen: Vec<SocketAddr>,
    },
    /// Puts packets onto an interface and shows what comes from it, as captures.
    #[command(hide = true)]
    Wire {
        /// The interface.
        interface: String,
        /// What is put is super-packets with segments of this size.
        #[arg(long)]
        segment: Option<u16>,
    },
    /// Learns from an echo server who we are, says so, and echoes until it is ended.
    #[command(hide = true)]
    Listen {
        /// Where from.
        #[arg(long, default_value = "[::]:0")]
        bind: SocketAddr,
        /// The echo server.
        server: SocketAddr,
    },
}

/// Reads `FIRST-LAST`.
fn sizes(text: &str) -> Result<(usize, usize), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.parse().map_err(|_| format!("{t} is no size"));
    Ok((number(first)?, number(last)?))
}
