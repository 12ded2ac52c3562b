//! DNS64 (RFC 6147, RFC 7050, RFC 8880): AAAA records for names that have only A records.

mod outcome;
mod settings;

pub use outcome::Outcome;
pub use settings::{Limits, MAPPED, Mapping, Rules, Settings, Timeouts, WithDo, Zone};
