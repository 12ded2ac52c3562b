//! Interfaces, addresses, routes and proxy neighbours, by rtnetlink.

mod routes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use crate::addr::LocalAddresses;
use crate::config::OwnAddress;

/// `errno` values for objects that do not exist.
const ABSENT: [i32; 4] = [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL];

/// A failed netlink operation.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct NetlinkError {
    /// The operation.
    pub(crate) what: String,
    /// Error of the kernel.
    pub(crate) why: String,
    /// `errno` of the kernel; 0 if there is none.
    pub(crate) errno: i32,
}

impl NetlinkError {
    fn new(what: impl Into<String>, why: &rtnetlink::Error) -> Self {
        let errno = match why {
            rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
            _ => 0,
        };
        let why = match errno {
            0 => why.to_string(),
            errno => std::io::Error::from_raw_os_error(errno).to_string(),
        };
        Self { what: what.into(), why, errno }
    }
}

/// Destination of a route, of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Destination {
    /// First address.
    pub(crate) addr: IpAddr,
    /// Prefix length.
    pub(crate) len: u8,
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Table of the routes to this host itself.
const LOCAL_TABLE: u8 = libc::RT_TABLE_LOCAL;

/// Whether a route makes this host the receiver. Only table "local" counts: other tables need a rule, which may
/// select other packets, as for transparent proxies.
pub(crate) fn is_local(route: &RouteMessage) -> bool {
    route.header.table == LOCAL_TABLE && route.header.kind == RouteType::Local
}

/// Destinations of the routes for which this host is the receiver, on the current tokio runtime.
///
/// # Errors
/// The kernel refuses the operation.
pub(crate) async fn local_routes() -> Result<Vec<(IpAddr, u8)>, NetlinkError> {
    let failed = |why: &_| NetlinkError::new("local routes", why);
    // With this check the kernel sends routes of the wanted table only, not all routes of the Internet. Kernels
    // before 4.20 don't have it.
    let (connection, handle) = match rtnetlink::new_connection_with_strict_check() {
        Ok((connection, handle, _)) => (connection, handle),
        Err(_) => rtnetlink::new_connection()
            .map(|(connection, handle, _)| (connection, handle))
            .map_err(|why| NetlinkError { what: "netlink".to_owned(), why: why.to_string(), errno: 0 })?,
    };
    tokio::spawn(connection);
    let mut read = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        wanted.header.table = LOCAL_TABLE;
        wanted.header.kind = RouteType::Local;
        let mut listed = handle.route().get(wanted).execute();
        while let Some(route) = listed.try_next().await.map_err(|why| failed(&why))? {
            read.extend(destination(&route).filter(|_| is_local(&route)));
        }
    }
    Ok(read)
}

/// Destination of a route and its length.
fn destination(route: &RouteMessage) -> Option<(IpAddr, u8)> {
    let len = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(addr)) => Some((IpAddr::V4(*addr), len)),
        RouteAttribute::Destination(RouteAddress::Inet6(addr)) => Some((IpAddr::V6(*addr), len)),
        _ => None,
    })
}

/// A netlink socket. A tokio task reads its responses.
#[derive(Clone, Debug)]
pub(crate) struct Netlink(Handle);

impl Netlink {
    /// Opens a socket on the current tokio runtime.
    ///
    /// # Errors
    /// The kernel provides no netlink socket.
    pub(crate) fn open() -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Index of an interface.
    ///
    /// # Errors
    /// No interface has that name.
    pub(crate) async fn index(&self, interface: &str) -> Result<u32, NetlinkError> {
        let failed = |why: &_| NetlinkError::new(format!("interface {interface}"), why);
        let mut links = self.0.link().get().match_name(interface.to_owned()).execute();
        match links.try_next().await {
            Ok(Some(link)) => Ok(link.header.index),
            Ok(None) => Err(NetlinkError {
                what: format!("interface {interface}"),
                why: "no such interface".to_owned(),
                errno: libc::ENODEV,
            }),
            Err(why) => Err(failed(&why)),
        }
    }

    /// Index and name of all interfaces.
    async fn links(&self) -> Result<Vec<(u32, String)>, NetlinkError> {
        let mut read = Vec::new();
        let mut links = self.0.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(|why| NetlinkError::new("interfaces", &why))? {
            read.push((link.header.index, name_of(&link)));
        }
        Ok(read)
    }

    /// Addresses of all interfaces except `except`.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn addresses(&self, except: Option<&str>) -> Result<Vec<OwnAddress>, NetlinkError> {
        let names = self.links().await?;
        let mut read = Vec::new();
        let mut listed = self.0.address().get().execute();
        while let Some(message) =
            listed.try_next().await.map_err(|why| NetlinkError::new("addresses", &why))?
        {
            let name = names.iter().find(|(index, _)| *index == message.header.index);
            let interface = name.map(|(_, name)| name.clone()).unwrap_or_default();
            if let Some(addr) = addr_of(&message).filter(|_| Some(interface.as_str()) != except) {
                read.push(OwnAddress { interface, addr, len: message.header.prefix_len });
            }
        }
        Ok(read)
    }

    /// All addresses for which this host receives packets: with the broadcast addresses that interfaces have by
    /// configuration, and the local routes.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn local_addresses(&self) -> Result<LocalAddresses, NetlinkError> {
        let mut read = Vec::new();
        let mut listed = self.0.address().get().execute();
        while let Some(message) =
            listed.try_next().await.map_err(|why| NetlinkError::new("addresses", &why))?
        {
            read.extend(addr_of(&message).map(|addr| (addr, message.header.prefix_len)));
            read.extend(message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Broadcast(addr) => Some((IpAddr::V4(*addr), 32)),
                _ => None,
            }));
        }
        Ok(LocalAddresses::new(read).with_routes(local_routes().await?))
    }

    /// Whether an interface is up; `None` if it does not exist.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn is_up(&self, index: u32) -> Result<Option<bool>, NetlinkError> {
        match self.0.link().get().match_index(index).execute().try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.flags.contains(LinkFlags::Up))),
            Err(why) => {
                let why = NetlinkError::new("the device", &why);
                if why.errno == libc::ENODEV { Ok(None) } else { Err(why) }
            }
        }
    }

    /// Sets an interface up or down.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn set_up(&self, index: u32, up: bool) -> Result<(), NetlinkError> {
        let link = LinkUnspec::new_with_index(index);
        let link = if up { link.up() } else { link.down() };
        let set = self.0.link().set(link.build()).execute().await;
        set.map_err(|why| {
            NetlinkError::new(format!("setting the device {}", if up { "up" } else { "down" }), &why)
        })
    }

    /// Destinations of the routes of gate64 to the interface `index`.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn routes_of(&self, index: u32) -> Result<Vec<Destination>, NetlinkError> {
        let mut found = Vec::new();
        let families =
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
        for family in families {
            let mut listed = self.0.route().get(family).execute();
            while let Some(route) =
                listed.try_next().await.map_err(|why| NetlinkError::new("routes", &why))?
            {
                let is_there = route.attributes.contains(&RouteAttribute::Oif(index));
                if is_there && route.header.protocol == RouteProtocol::Other(PROTOCOL) {
                    found.push(destination_of(&route));
                }
            }
        }
        Ok(found)
    }

    /// Assigns an address, usable immediately. Returns false if the interface has it already.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn add_address(
        &self,
        interface: &str,
        addr: IpAddr,
        len: u8,
    ) -> Result<bool, NetlinkError> {
        let index = self.index(interface).await?;
        let mut request = self.0.address().add(index, addr, len);
        if addr.is_ipv6() {
            // Duplicate address detection would delay the start.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        match request.execute().await {
            Ok(()) => Ok(true),
            Err(why) => {
                let why = NetlinkError::new(format!("address {addr} on {interface}"), &why);
                if why.errno == libc::EEXIST { Ok(false) } else { Err(why) }
            }
        }
    }

    /// Removes an address; a missing address is not an error.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn remove_address(
        &self,
        interface: &str,
        addr: IpAddr,
        len: u8,
    ) -> Result<(), NetlinkError> {
        let Ok(index) = self.index(interface).await else { return Ok(()) };
        let mut message = AddressMessage::default();
        message.header.family = family(addr);
        message.header.index = index;
        message.header.prefix_len = len;
        message.attributes.push(AddressAttribute::Local(addr));
        // Otherwise the kernel removes an IPv4 address of any prefix length.
        message.attributes.push(AddressAttribute::Address(addr));
        ignore_absent(self.0.address().del(message).execute().await, || {
            format!("removing {addr} from {interface}")
        })
    }

    /// Proxy neighbours of an interface.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn proxies(&self, interface: &str) -> Result<Vec<IpAddr>, NetlinkError> {
        let index = self.index(interface).await?;
        let mut read = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut listed = self.0.neighbours().get().proxies().set_address_family(family).execute();
            let failed = |why: &_| NetlinkError::new(format!("proxies on {interface}"), why);
            while let Some(message) = listed.try_next().await.map_err(|why| failed(&why))? {
                if message.header.ifindex == index {
                    read.extend(message.attributes.iter().find_map(|a| match a {
                        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => {
                            Some(IpAddr::V4(*addr))
                        }
                        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => {
                            Some(IpAddr::V6(*addr))
                        }
                        _ => None,
                    }));
                }
            }
        }
        Ok(read)
    }

    /// Adds a proxy neighbour (proxy ARP or proxy NDP). An existing one is not an error.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn add_proxy(&self, interface: &str, addr: IpAddr) -> Result<(), NetlinkError> {
        let index = self.index(interface).await?;
        let added = self.0.neighbours().add(index, addr).flags(NeighbourFlags::Proxy).execute().await;
        added.map_err(|why| NetlinkError::new(format!("proxy for {addr} on {interface}"), &why))
    }

    /// Adds the next hop of all IPv6 routes to the interface `index`. Setting the interface down deletes it.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn add_next_hop(&self, index: u32) -> Result<(), NetlinkError> {
        let added =
            self.0.neighbours().add(index, NEXT_HOP.into()).state(NeighbourState::Permanent).replace();
        added.execute().await.map_err(|why| NetlinkError::new(format!("neighbour {NEXT_HOP}"), &why))
    }

    /// Removes a proxy neighbour; a missing one is not an error.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn remove_proxy(&self, interface: &str, addr: IpAddr) -> Result<(), NetlinkError> {
        let Ok(index) = self.index(interface).await else { return Ok(()) };
        let mut message = NeighbourMessage::default();
        message.header.family = family(addr);
        message.header.ifindex = index;
        message.header.flags = NeighbourFlags::Proxy;
        message.attributes.push(NeighbourAttribute::Destination(match addr {
            IpAddr::V4(addr) => NeighbourAddress::Inet(addr),
            IpAddr::V6(addr) => NeighbourAddress::Inet6(addr),
        }));
        let removed = self.0.neighbours().del(message).execute().await;
        ignore_absent(removed, || format!("removing the proxy for {addr} from {interface}"))
    }
}

fn ignore_absent(
    result: Result<(), rtnetlink::Error>,
    what: impl FnOnce() -> String,
) -> Result<(), NetlinkError> {
    let Err(why) = result else { return Ok(()) };
    let why = NetlinkError::new(what(), &why);
    if ABSENT.contains(&why.errno) { Ok(()) } else { Err(why) }
}

const fn family(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn name_of(link: &LinkMessage) -> String {
    let name = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

/// The local address. Only point-to-point links distinguish it from the address of the peer.
fn addr_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(addr) => Some(*addr),
            _ => None,
        })
    })
}

/// The destination; a default route has none in the message.
fn destination_of(route: &RouteMessage) -> Destination {
    let addr = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        RouteAttribute::Destination(RouteAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    });
    let is_v4 = route.header.address_family == AddressFamily::Inet;
    let any = if is_v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    Destination { addr: addr.unwrap_or(any), len: route.header.destination_prefix_length }
}

/// Next hop of all IPv6 routes to the device. Without it, each destination is a neighbour of its own, and all
/// interfaces of the host share a table of about 1,000 (`gc_thresh3`). IPv4 destinations share one entry anyway.
const NEXT_HOP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64);

/// Protocol number of the routes of gate64: `ip route show proto 64`.
const PROTOCOL: u8 = 64;
