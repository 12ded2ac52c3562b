//! `gate64 zones`: the zones of a running gateway, one line each.

use std::process::ExitCode;

use super::admin::{AdminSocket, fetch};
use super::exit;
use crate::observe::format::size;
use crate::observe::status::{Status, ZoneStatus};
use crate::observe::table::Table;
use crate::output::{out, outln};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    socket: AdminSocket,
    /// Only the zone with this name.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the zones.
pub(super) fn zones(args: &Args) -> ExitCode {
    let (mut status, _) = match fetch::<Status>(&args.socket.path(), "/status") {
        Ok(fetched) => fetched,
        Err(code) => return code,
    };
    if let Some(name) = &args.zone {
        status.zones.retain(|zone| zone.name == *name);
        if status.zones.is_empty() {
            return exit::fail(format_args!("no zone has the name `{name}`"));
        }
    }
    if !args.json {
        out!("{}", table(&status.zones));
        return ExitCode::SUCCESS;
    }
    exit::end(
        status.zones.iter().try_for_each(|zone| serde_json::to_string(zone).map(|line| outln!("{line}"))),
    )
}

fn table(zones: &[ZoneStatus]) -> Table {
    let mut table = Table::new(&[
        "zone",
        "sessions",
        "bindings",
        "blocks",
        "to IPv4",
        "to IPv6",
        "dropped",
        "dns queries",
        "clients",
        "pref64",
        "pool4",
    ]);
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>().to_string();
    for zone in zones {
        table.row(vec![
            zone.name.clone(),
            sum(&zone.sessions),
            sum(&zone.bindings),
            zone.blocks.to_string(),
            size(zone.bytes[0]),
            size(zone.bytes[1]),
            sum(&zone.drops),
            sum(&zone.dns64),
            zone.clients.join(" "),
            zone.pref64.join(" "),
            zone.pool4.join(" "),
        ]);
    }
    table
}
