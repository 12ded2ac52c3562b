//! Logging: to the systemd journal with its fields if standard error leads there, else to standard error.

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::message;

/// Initializes logging. `GATE64_LOG` sets the filter; default `info`.
pub(super) fn init() {
    let filter = EnvFilter::try_from_env("GATE64_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{},netlink_proto=warn", message::LOG)));
    let is_journal = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream));
    let layer = if is_journal { journal().unwrap_or_else(|_| stderr(true)) } else { stderr(false) };
    // A second call, as in tests, has no effect.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The native protocol of the journal: each message with its priority and fields.
fn journal() -> io::Result<AnyLayer> {
    let layer =
        tracing_journald::layer()?.with_field_prefix(None).with_syslog_identifier("gate64".to_owned());
    let info = Priority::Informational;
    Ok(Box::new(layer.with_priority_mappings(PriorityMappings { info, ..PriorityMappings::new() })))
}

/// Lines on standard error. What collects them may add the time itself.
fn stderr(is_timed: bool) -> AnyLayer {
    let layer = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    if is_timed { Box::new(layer.without_time()) } else { Box::new(layer) }
}

/// Whether `JOURNAL_STREAM` (`DEVICE:INODE`) names standard error. A child of a service inherits the variable, but its
/// standard error can lead elsewhere (systemd.exec(5)).
fn is_stderr(stream: &str) -> bool {
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_recognised_by_its_inode() {
        let meta = std::fs::metadata("/proc/self/fd/2").expect("standard error");
        assert!(is_stderr(&format!("{}:{}", meta.dev(), meta.ino())));
        for other in ["", "x", "0:0", &format!("{}:{}", meta.dev(), meta.ino() + 1)] {
            assert!(!is_stderr(other), "{other}");
        }
    }
}
