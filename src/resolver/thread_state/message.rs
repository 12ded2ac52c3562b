//! Messages between the threads of the resolver.

use crate::addr::ZoneId;
use crate::dns64::Answer;
use crate::resolver::client::Requestor;

/// Maximum number of messages queued for a thread.
pub(in crate::resolver) const THREAD_QUEUE: usize = 4_096;

/// A message between threads.
pub(in crate::resolver) enum ThreadMessage {
    /// A query for a name that belongs to the receiver.
    Query { from: usize, query: Vec<u8>, requestor: Box<Requestor> },
    /// The answer to a query that the receiver passed on.
    Answer { requestor: Box<Requestor>, answer: Answer },
    /// The sender answered `query` from its answer cache `times` times.
    CacheHits { zone: ZoneId, query: Vec<u8>, times: u64 },
}
