//! A demonstration without root, and a laboratory of network namespaces.
//!
//! [`demo`] connects two in-memory hosts to the translator and the DNS64 engine of the daemon. [`run`]
//! does the same with the kernel: network namespaces, a TUN device, a name server and an IPv4-only
//! web server. The kernel tests use the same parts, above all [`Lab`].

pub mod demo;

mod args;
mod command;
mod error;
mod gateway;
mod mock;
mod names;
mod namespace;
mod probe;
mod process;
mod show;
mod sweep;
mod tap;
mod topology;
mod wait;
mod web;
mod wire;

pub use args::{Action, Args};
pub use command::{CommandLine, Outcome};
pub use error::LabError;
pub use gateway::{Gateway, GatewayConfig};
pub use namespace::Namespace;
pub use process::Daemon;
pub use show::run;
pub use sweep::sweep;
pub use topology::{Lab, Plan, is_root};
pub use wait::{Deadline, until};
