//! Addresses, prefixes and ports as values, and address embedding by RFC 6052.

mod fairness;
mod host;
mod local;
mod longest;
mod port;
mod pref64;
mod prefix;
mod proto;
mod sites;
pub mod special;

pub use fairness::{Level, Usage};
pub use host::{HostKey, SiteKey, WorkerId, ZoneId};
pub use local::LocalAddresses;
pub use longest::Longest;
pub use port::{PortRange, Transport4, Transport6};
pub use pref64::{Pref64, Pref64Error};
pub use prefix::{Ipv4Prefix, Ipv6Prefix, PrefixError};
pub use proto::Proto;
pub use sites::{Sites, ZoneSites};
