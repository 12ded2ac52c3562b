//! What the configuration asks about this host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::config::{OwnAddress, Surroundings};
use super::netlink::Netlink;

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
