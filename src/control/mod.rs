//! Starts, reloads and stops the gateway; changes addresses, routes and sysctls of this host.

mod atomic_file;
pub(crate) mod cleanup;
mod clock;
mod fd_store;
pub(crate) mod firewall;
mod gateway;
mod host_changes;
pub mod host_info;
mod host_state;
mod host_watch;
mod journal;
pub(crate) mod lifecycle;
mod logging;
pub(crate) mod memory;
mod netlink;
mod nft;
mod path_probe;
mod privileges;
mod progress;
mod reload;
mod repairs;
pub(crate) mod requirements;
mod saved_blocks;
pub(crate) mod saved_sessions;
mod services;
pub(crate) mod sysctl;
