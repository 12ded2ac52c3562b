//! Starting, reloading and stopping; configuration; the host's addresses, routes and settings.

pub mod config;
pub mod surroundings;
