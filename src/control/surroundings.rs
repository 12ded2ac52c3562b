//! What the configuration asks about this host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::netlink::Netlink;
use crate::config::{OwnAddress, Surroundings};

/// This host, as it was when it was looked at.
#[derive(Debug)]
pub struct System {
    addresses: Vec<OwnAddress>,
}

impl System {
    /// Looks at the host; addresses of the interface `except` are left out.
    ///
    /// # Errors
    /// What netlink said.
    pub fn look(except: Option<&str>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Self::look_from_within(except))
    }

    /// [`look`](Self::look), for those who already run on tokio.
    ///
    /// # Errors
    /// What netlink said.
    pub async fn look_from_within(except: Option<&str>) -> io::Result<Self> {
        let addresses = Netlink::open()?.addresses(except).await.map_err(io::Error::other)?;
        Ok(Self { addresses })
    }
}

/// No host in particular: for files that are read far from the gateway they are for.
#[derive(Debug)]
pub struct Elsewhere {
    addresses: [OwnAddress; 2],
}

impl Elsewhere {
    /// Has two addresses that nobody has, one for documentation (RFC 3849) and one that leads
    /// nowhere (RFC 6666), should the first lie in a pref64.
    pub fn new() -> Self {
        let own = |addr: Ipv6Addr| OwnAddress { interface: "none".to_owned(), addr: addr.into(), len: 128 };
        let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64);
        let discard = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0x64);
        Self { addresses: [documentation, discard].map(own) }
    }
}

impl Default for Elsewhere {
    fn default() -> Self {
        Self::new()
    }
}

impl Surroundings for Elsewhere {
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

impl Surroundings for System {
    fn addresses(&self) -> &[OwnAddress] {
        &self.addresses
    }

    /// Asks the kernel's routing by connecting a UDP socket, which sends nothing.
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
