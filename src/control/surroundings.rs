//! What the configuration asks about this host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;

use super::config::{OwnAddress, Surroundings};

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
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let mut names = Vec::new();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(io::Error::other)? {
            let name = link.attributes.iter().find_map(|a| match a {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            names.push((link.header.index, name.unwrap_or_default()));
        }
        let mut addresses = Vec::new();
        let mut listed = handle.address().get().execute();
        while let Some(message) = listed.try_next().await.map_err(io::Error::other)? {
            if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
                continue;
            }
            let name = names.iter().find(|(index, _)| *index == message.header.index);
            let interface = name.map(|(_, name)| name.clone()).unwrap_or_default();
            // Of a point-to-point address the local end is ours; elsewhere both are the same.
            let local = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Local(addr) => Some(*addr),
                _ => None,
            });
            let addr = local.or_else(|| {
                message.attributes.iter().find_map(|a| match a {
                    AddressAttribute::Address(addr) => Some(*addr),
                    _ => None,
                })
            });
            if let Some(addr) = addr.filter(|_| Some(interface.as_str()) != except) {
                addresses.push(OwnAddress { interface, addr, len: message.header.prefix_len });
            }
        }
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
