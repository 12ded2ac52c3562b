//! Any bytes as a client's query, and any bytes as what upstreams answer.
//!
//! The DNS64 never panics. A query is answered once, within four seconds, with its own id and question,
//! in a message that is whole and no bigger than the client takes; few questions are asked for it; and
//! no address is made up that the rules exclude.

mod answer;
mod client;
mod message;
mod query;

pub(crate) use answer::dns_answer;
pub(crate) use query::dns_query;
