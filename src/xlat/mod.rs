//! Rewriting one packet (RFC 7915). No state, no clock, no chance.
//!
//! Two steps: `judge_*` says what is to be done with a packet and writes nothing; whoever asked looks
//! up or makes state in between; then [`v6_to_v4`] or [`v4_to_v6`] rewrites the buffer in place, from
//! the payload towards the front.

mod error;
mod extension;
mod flow;
mod fragment;
mod header;
mod icmp;
mod ids;
mod judge;
mod limit;
mod plain;
mod plan;
mod quoted;
mod rewrite;
mod rules;
mod segment;
mod transport;

pub use error::{originate_error4, originate_error6};
pub use extension::{Object, add_object};
pub use flow::{Flow4, Flow6, To4, To6};
pub use icmp::Message;
pub use ids::Ids;
pub use judge::{check_extensions, judge_v4_to_v6, judge_v6_to_v4};
pub use limit::Bucket;
pub use plain::{Plain, Ports};
pub use plan::{Action, ErrorHeader, Pass, Plan, Refusal};
pub use rewrite::{v4_to_v6, v6_to_v4};
pub use rules::{Plateaus, Rules, TrafficClass};
pub use segment::{Cuts, cut, packets};

#[cfg(test)]
mod tests;
