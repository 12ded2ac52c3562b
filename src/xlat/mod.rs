//! Translation of one packet (RFC 7915). Planning and applying use no clock; `Ids`, `ErrorLimits` and `Bucket`
//! hold the state that their callers keep.
//!
//! Two steps:
//!
//! 1. `plan_v6_to_v4` or `plan_v4_to_v6` validates the packet and returns a plan bound to its buffer.
//!    It writes nothing.
//! 2. The caller looks up or creates state, then calls `PlanTo4::apply` or `PlanTo6::apply`. This
//!    rewrites the buffer in place, from the payload towards the front.

mod bucket;
mod error_limits;
mod extension;
mod flow;
mod fragment;
mod header;
mod icmp;
mod ids;
mod originate;
mod plain;
mod plan;
mod quoted;
mod refusal;
mod rewrite;
mod rules;
mod segment;
mod transport;

pub(crate) use bucket::Bucket;
pub(crate) use error_limits::{ErrorLimits, Urgency};
pub use extension::Object;
pub(crate) use extension::add_object;
pub(crate) use flow::{Flow4, Flow6, To4, To6};
pub(crate) use ids::{Ids, split_mix};
pub(crate) use originate::{is_error_due4, originate_error4, reply4, reply6};
pub(crate) use plain::{Plain, PlainPorts};
pub(crate) use plan::{Pass, PlanTo4, PlanTo6, check_extensions, plan_v4_to_v6, plan_v6_to_v4};
pub(crate) use refusal::{ErrorHeader, Refusal};
pub use rules::{Plateaus, RewriteRules, TrafficClass};
pub use segment::Cuts;

#[cfg(test)]
mod tests;
