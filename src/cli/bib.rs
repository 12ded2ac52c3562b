//! `gate64 bib`: the bindings of live sessions and the static ones, from the files in which workers save their sessions.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use super::exit;
use super::sessions::{Filter, of_transport};
use crate::addr::{Proto, Transport4, Transport6};
use crate::nat64::StaticBinding;
use crate::observe::format::{size, span};
use crate::observe::table::Table;
use crate::output::{out, outln};
use crate::translator::SessionRecord;

/// Bindings per table: a wider row in a later one does not move the columns of the first.
const ROWS: usize = 1_000;

/// A binding, ordered by its public address and port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    v4: Transport4,
    proto: Proto,
    v6: Transport6,
}

/// What the sessions of a binding sum up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sum {
    is_static: bool,
    sessions: u32,
    packets: u64,
    bytes: u64,
    /// Seconds since the client's last packet.
    silent: u64,
    /// Seconds until the last session ends.
    remaining: u64,
}

impl Sum {
    fn add(&mut self, record: &SessionRecord) {
        let silent = record.silent.as_secs();
        self.silent = if self.sessions == 0 { silent } else { self.silent.min(silent) };
        self.sessions += 1;
        self.packets += record.packets.iter().map(|count| u64::from(*count)).sum::<u64>();
        self.bytes += record.bytes.iter().sum::<u64>();
        self.remaining = self.remaining.max(record.remaining.as_secs());
    }
}

/// All bindings that pass: those with sessions, and static ones.
fn collect(filter: &Filter) -> Result<BTreeMap<Key, Sum>, String> {
    let mut bindings: BTreeMap<Key, Sum> = BTreeMap::new();
    for StaticBinding { proto, v4, v6 } in filter.statics() {
        bindings.insert(Key { v4, proto, v6 }, Sum { is_static: true, ..Sum::default() });
    }
    filter.visit(|record| {
        let key = Key { v4: record.v4, proto: record.proto, v6: record.v6 };
        bindings.entry(key).or_default().add(record);
    })?;
    Ok(bindings)
}

/// Prints the bindings that pass.
pub(super) fn bib(filter: &Filter) -> ExitCode {
    let bindings = match collect(filter) {
        Ok(bindings) => bindings,
        Err(why) => return exit::fail(why),
    };
    let count = bindings.len();
    if filter.is_json() {
        bindings.iter().for_each(|(key, sum)| outln!("{}", of_binding(key, sum)));
        return ExitCode::SUCCESS;
    }
    let mut bindings = bindings.into_iter().peekable();
    while bindings.peek().is_some() {
        out!("{}", table(bindings.by_ref().take(ROWS)));
    }
    outln!("{count} bindings");
    ExitCode::SUCCESS
}

fn table(bindings: impl Iterator<Item = (Key, Sum)>) -> Table {
    let mut table = Table::new(&[
        "protocol",
        "client",
        "public",
        "sessions",
        "packets",
        "traffic",
        "client silent",
        "ends in",
    ]);
    for (key, sum) in bindings {
        let age = |seconds| if sum.sessions == 0 { "-".to_owned() } else { span(seconds) };
        table.row(vec![
            key.proto.name().to_owned(),
            key.v6.to_string(),
            key.v4.to_string(),
            sum.sessions.to_string(),
            sum.packets.to_string(),
            size(sum.bytes),
            age(sum.silent),
            if sum.is_static { "static".to_owned() } else { age(sum.remaining) },
        ]);
    }
    table
}

fn of_binding(key: &Key, sum: &Sum) -> serde_json::Value {
    json!({
        "protocol": key.proto.name(),
        "client": { "address": key.v6.addr.to_string(), "port": key.v6.port },
        "public": of_transport(key.v4),
        "static": sum.is_static,
        "sessions": sum.sessions,
        "packets": sum.packets,
        "bytes": sum.bytes,
        "silent_seconds": sum.silent,
        "remaining_seconds": sum.remaining,
    })
}
