//! Constants that several commands share.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | the host, the network or a running gateway refused, or a test failed |
//! | 2 | invalid command line or configuration, also one that needs more memory than allowed |

/// Exit code for an invalid configuration or command line.
pub const USAGE: u8 = 2;

/// Default path of the configuration file.
pub(super) const CONFIG: &str = "/etc/gate64/gate64.toml";
