//! Starting, reloading and stopping; the host's addresses, routes and settings.

mod atomic_file;
pub mod cleanup;
pub mod footprint;
pub mod hold;
pub mod host_info;
pub mod journal;
mod leases;
pub mod lifecycle;
mod logging;
pub mod netlink;
pub mod nft;
pub mod privileges;
mod reload;
pub mod sysctl;
