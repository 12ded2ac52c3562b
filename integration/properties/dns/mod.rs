//! Any bytes as a client's query, and any bytes as upstream responses.
//!
//! The engine never panics. A query gets one answer within four seconds, with its id and question, in a
//! complete message within the client's size. The number of upstream queries is bounded, and no excluded
//! address is synthesized.

mod answer;
mod client;
mod message;
mod query;

pub(crate) use answer::dns_answer;
pub(crate) use query::dns_query;
