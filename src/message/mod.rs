//! DNS messages by hickory, whose crates are named in this module and nowhere else (tests apart): records that
//! are read or made, and messages on a stream. What is only passed on stays bytes (`dns64::wire`).

mod records;
mod stream;

pub use records::AddressKind;
pub(crate) use records::{
    AliasLoop, Reply, address_query, address_reply, addresses, asked_for, local_addresses, local_ptr,
    local_v4, rcode_text, records_text,
};
pub(crate) use stream::{Bytes, Frames};

/// What of hickory's own log is wanted, as words for a log filter.
pub(crate) const LOG: &str = "hickory_net=warn,hickory_proto=warn";
