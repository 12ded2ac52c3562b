//! DNS records and stream framing by hickory. Only this module names hickory's crates (except in tests).
//! Forwarded messages stay bytes (`dns64::wire`).

mod records;
mod stream;

pub use records::{AddressKind, address_query, address_question, address_reply, addresses};
pub(crate) use records::{
    AliasLoop, Reply, local_addresses, local_denial, local_dns_over_tls, local_ptr, local_soa, local_v4,
    query, question_text, rcode_text, records_text, type_text,
};
pub(crate) use stream::{Bytes, Frames};

/// Log levels of hickory's crates, as directives for a log filter.
pub(crate) const LOG: &str = "hickory_net=warn,hickory_proto=warn";
