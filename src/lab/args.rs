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
}
