//! Where the log goes: standard error, which systemd takes.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::message;

/// Begins logging. `GATE64_LOG` chooses what, by default all but details.
pub(super) fn init() {
    let filter = EnvFilter::try_from_env("GATE64_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{},netlink_proto=warn", message::LOG)));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal has the time already. A second call, as in tests, changes nothing.
    let _ = if journal { format.without_time().try_init() } else { format.try_init() };
}
