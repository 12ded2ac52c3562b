//! A demonstration without root, and a laboratory of network namespaces.
//!
//! [`demo`] puts two in-memory hosts on either side of the real translator and the real DNS64
//! engine. [`run`] does the same with the kernel: namespaces, a real TUN, a name server, a web
//! server that has only IPv4. The kernel tests build on the same parts: [`Lab`] and what it is
//! made of.

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
pub use command::{Outcome, Run};
pub use error::LabError;
pub use gateway::{Gateway, GatewayConfig};
pub use namespace::Namespace;
pub use process::Daemon;
pub use show::run;
pub use sweep::sweep;
pub use topology::{Lab, Plan, is_root};
pub use wait::{Deadline, until};
