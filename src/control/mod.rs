//! Starting, reloading and stopping; configuration; the host's addresses, routes and settings.

pub mod config;
pub mod footprint;
pub mod journal;
pub mod netlink;
pub mod nft;
pub mod privileges;
pub mod surroundings;
pub mod sysctl;
