//! Logging to standard error, which systemd collects.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::message;

/// Initializes logging. `GATE64_LOG` sets the filter; default `info`.
pub(super) fn init() {
    let filter = EnvFilter::try_from_env("GATE64_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{},netlink_proto=warn", message::LOG)));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The systemd journal adds timestamps itself. A second call, as in tests, has no effect.
    let _ = if journal { format.without_time().try_init() } else { format.try_init() };
}
