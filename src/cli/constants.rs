//! Constants that several commands share.

/// Exit code for an invalid configuration or command line.
pub const USAGE: u8 = 2;

/// Default path of the configuration file.
pub(super) const CONFIG: &str = "/etc/gate64/gate64.toml";
