//! What the configuration needs to know about the host: addresses, routes, CPUs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::netlink::{self, Netlink};
use crate::config::{HostInfo, OwnAddress};

/// Snapshot of this host.
#[derive(Debug)]
pub struct LocalHost {
    addresses: Vec<OwnAddress>,
    local_routes: Vec<(IpAddr, u8)>,
}

impl LocalHost {
    /// [`read`](Self::read) for callers outside a tokio runtime.
    ///
    /// # Errors
    /// The kernel refuses the netlink query.
    pub fn read_blocking(except: Option<&str>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Self::read(except))
    }

    /// Reads the addresses of all interfaces except `except`, and the local routes.
    ///
    /// # Errors
    /// The kernel refuses the netlink query.
    pub async fn read(except: Option<&str>) -> io::Result<Self> {
        let addresses = Netlink::open()?.addresses(except).await.map_err(io::Error::other)?;
        let local_routes = netlink::local_routes().await.map_err(io::Error::other)?;
        Ok(Self { addresses, local_routes })
    }
}

/// Placeholder for a gateway on another host: for configurations that are not run here.
#[derive(Debug)]
pub struct UnknownHost {
    addresses: [OwnAddress; 2],
}

impl UnknownHost {
    /// Has two unused addresses: one for documentation (RFC 3849), and a discard address (RFC 6666) in case a
    /// pref64 contains the first.
    pub fn new() -> Self {
        let own = |addr: Ipv6Addr| OwnAddress { interface: "none".to_owned(), addr: addr.into(), len: 128 };
        let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64);
        let discard = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0x64);
        Self { addresses: [documentation, discard].map(own) }
    }
}

impl Default for UnknownHost {
    fn default() -> Self {
        Self::new()
    }
}

impl HostInfo for UnknownHost {
    fn addresses(&self) -> &[OwnAddress] {
        &self.addresses
    }

    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }

    fn cpus(&self) -> usize {
        1
    }
}

impl HostInfo for LocalHost {
    fn addresses(&self) -> &[OwnAddress] {
        &self.addresses
    }

    fn local_routes(&self) -> &[(IpAddr, u8)] {
        &self.local_routes
    }

    /// Connects a UDP socket, which selects a route and a source without sending a packet.
    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        let any: IpAddr = match to {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|addr| addr.ip())
    }

    fn cpus(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}
