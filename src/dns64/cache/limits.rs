//! Limits of the cache.

/// Limits of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// Bytes of all entries.
    pub bytes: usize,
    /// Maximum TTL of positive answers, in seconds (1 day).
    pub max_ttl: u32,
    /// Maximum TTL of negative answers, in seconds (1 h; RFC 2308 §5 suggests 1 h to 3 h).
    pub max_negative_ttl: u32,
    /// How long a failure is cached, in seconds (5 s). Each consecutive failure doubles it, up to 300 s
    /// (RFC 9520 §3.2). During an outage of the upstreams it is 2 s.
    pub failure: u32,
    /// How long expired data is kept, in seconds (1 day); 0 disables stale data (RFC 8767 §5).
    pub stale: u32,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, max_ttl: 86_400, max_negative_ttl: 3_600, failure: 5, stale: 86_400 }
    }
}
