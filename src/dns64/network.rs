//! What only the sockets around the DNS64 are told.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How an upstream is spoken to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Via {
    /// UDP, and TCP for answers that are cut short.
    #[default]
    Udp,
    /// TCP only.
    Tcp,
    /// TLS (RFC 7858); the name or address that the certificate must be for.
    Tls(String),
}

/// TLS for clients (RFC 7858).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The chain of certificates, PEM, read again at each reload.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// What only the sockets around the DNS64 are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Threads, each with sockets of its own; at least 1. Fixed at the start.
    pub threads: usize,
    /// TLS for clients, if there is any.
    pub tls: Option<Tls>,
    /// Upstreams that are spoken to otherwise than by UDP.
    pub via: BTreeMap<SocketAddr, Via>,
    /// Certificates of the authorities that vouch for upstreams spoken to by TLS, PEM.
    pub authorities: PathBuf,
    /// TCP and TLS connections at once, of all clients.
    pub connections: usize,
    /// The same of one client address.
    pub connections_per_client: usize,
    /// How long a connection may last in all.
    pub connection_total: Duration,
    /// Queries a second of one client address; 0 is no limit. As many again may come at once.
    pub queries_per_second: u32,
    /// Equal answers a second to the clients of one /56 that have shown no cookie; 0 is no limit.
    pub responses_per_second: u32,
    /// Bytes of ready answers that each thread keeps.
    pub ready_bytes: usize,
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
            responses_per_second: 200,
            ready_bytes: 8 << 20,
        }
    }
}
