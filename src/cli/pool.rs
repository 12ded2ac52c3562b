//! `gate64 pool`: usage of pool4 by address and zone.

use std::process::ExitCode;

use super::admin::{AdminSocket, fetch};
use super::exit;
use crate::addr::Ipv4Prefix;
use crate::observe::pool::PoolStatus;
use crate::output::out;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    socket: AdminSocket,
    /// Only addresses in this prefix.
    #[arg(long, value_name = "PREFIX")]
    address: Option<Ipv4Prefix>,
    /// Only addresses of which ports are assigned.
    #[arg(long)]
    used: bool,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the usage of pool4.
pub(super) fn pool(args: &Args) -> ExitCode {
    let (mut pool, _) = match fetch::<PoolStatus>(&args.socket.path(), "/pool") {
        Ok(fetched) => fetched,
        Err(code) => return code,
    };
    let is_within = |addr| args.address.is_none_or(|prefix| prefix.contains(addr));
    pool.addresses.retain(|row| is_within(row.address) && (!args.used || row.assigned > 0));
    if !args.json {
        out!("{pool}");
        return ExitCode::SUCCESS;
    }
    exit::print(serde_json::to_string(&pool))
}
