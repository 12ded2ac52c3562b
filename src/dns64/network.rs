//! Settings that only the sockets use.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::wire;

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

/// The name of this server, as in its certificate: the authentication domain name (RFC 9462 §1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerName(Box<[u8]>);

impl ServerName {
    /// A name such as `dns.example`. `None` if `name` is not a domain name, is the root, or is a wildcard.
    pub fn new(name: &str) -> Option<Self> {
        let bytes = wire::name_of(name)?;
        let is_server = bytes.len() > 1 && wire::labels(&bytes).all(|label| label != b"*");
        is_server.then(|| Self(bytes.into()))
    }

    /// The uncompressed name.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// TLS for clients (RFC 7858).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The name that is announced to clients (RFC 9462); without it, TLS is not announced.
    pub name: Option<ServerName>,
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
    /// Maximum connections of one client.
    pub connections_per_client: usize,
    /// Maximum lifetime of a connection.
    pub connection_total: Duration,
    /// Queries per second of one client; 0 is no limit. The burst is one second's worth.
    pub queries_per_second: u32,
    /// Answers for one name per second to one client without a valid cookie; 0 is no limit.
    pub responses_per_second: u32,
    /// Bytes of answers per second to one client without a valid cookie; 0 is no limit. A site receives
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
