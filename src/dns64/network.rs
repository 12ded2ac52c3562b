//! Settings that only the sockets use.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Transport to an upstream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Via {
    /// UDP, and TCP after truncated replies.
    #[default]
    Udp,
    /// TCP only.
    Tcp,
    /// TLS (RFC 7858); the name or address that the certificate must match.
    Tls(String),
}

/// TLS for clients (RFC 7858).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain (PEM). A reload reads it again.
    pub certificate: PathBuf,
    /// Private key (PEM).
    pub key: PathBuf,
}

/// Settings that only the sockets use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Number of threads, at least 1; each has its own sockets. Fixed at start.
    pub threads: usize,
    /// TLS for clients.
    pub tls: Option<Tls>,
    /// Upstreams that do not use UDP.
    pub via: BTreeMap<SocketAddr, Via>,
    /// CA certificates for upstreams over TLS (PEM).
    pub authorities: PathBuf,
    /// Maximum TCP and TLS connections of all clients.
    pub connections: usize,
    /// Maximum connections of one client address.
    pub connections_per_client: usize,
    /// Maximum lifetime of a connection.
    pub connection_total: Duration,
    /// Queries per second of one client address; 0 is no limit. The burst is one second's worth.
    pub queries_per_second: u32,
    /// Equal answers per second to one client address without a valid cookie; 0 is no limit.
    pub responses_per_second: u32,
    /// Bytes of answers per second to one client address without a valid cookie; 0 is no limit. A site receives
    /// at most 100 times as many.
    pub response_bytes_per_second: u32,
    /// Size of each thread's answer cache, in bytes.
    pub answer_cache_bytes: usize,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            threads: 1,
            tls: None,
            via: BTreeMap::new(),
            authorities: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            connections: 1_024,
            connections_per_client: 32,
            connection_total: Duration::from_secs(120),
            queries_per_second: 5_000,
            responses_per_second: 50,
            response_bytes_per_second: 100_000,
            answer_cache_bytes: 8 << 20,
        }
    }
}
