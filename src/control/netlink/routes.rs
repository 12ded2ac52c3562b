//! Routes to the device, and the unreachable routes that stand in for a stopped gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType};

use super::{Destination, NEXT_HOP, Netlink, NetlinkError, PROTOCOL, ignore_absent};

/// Metric of the default route to a CLAT: higher than that of native IPv4.
const LAST_RESORT: u32 = 4096;

impl Netlink {
    /// Adds a route to the interface `index`, with protocol number 64. An IPv6 route needs the
    /// [next hop](Self::add_next_hop).
    ///
    /// # Errors
    /// The kernel refuses the route, or another program has added it already.
    pub(crate) async fn add_route(&self, to: Destination, index: u32) -> Result<(), NetlinkError> {
        let added = self.0.route().add(route(to, index)).execute().await;
        added.map_err(|why| NetlinkError::new(format!("route to {to}"), &why))
    }

    /// The interface of the route that the kernel selects for the first address of `to`, if it is a route to exactly
    /// `to`. `None` if another route or none applies.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn interface_of_route(&self, to: Destination) -> Result<Option<u32>, NetlinkError> {
        let mut message = match to.addr {
            IpAddr::V4(addr) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(addr, 32).build(),
            IpAddr::V6(addr) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(addr, 128).build(),
        };
        message.header.flags = RouteFlags::FibMatch;
        let found = self.0.route().get(message).execute().try_next().await;
        match found {
            Ok(Some(route)) if route.header.destination_prefix_length == to.len => {
                Ok(route.attributes.iter().find_map(|a| match a {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                }))
            }
            Ok(_) => Ok(None),
            Err(why) => {
                let why = NetlinkError::new(format!("looking up the route to {to}"), &why);
                let none = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL];
                if none.contains(&why.errno) { Ok(None) } else { Err(why) }
            }
        }
    }

    /// The interface to which the kernel routes packets to `to`. `None` without a route.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn interface_towards(&self, to: IpAddr) -> Result<Option<String>, NetlinkError> {
        let message = match to {
            IpAddr::V4(addr) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(addr, 32).build(),
            IpAddr::V6(addr) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(addr, 128).build(),
        };
        let Ok(Some(route)) = self.0.route().get(message).execute().try_next().await else { return Ok(None) };
        let index = route.attributes.iter().find_map(|a| match a {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        Ok(self.links().await?.into_iter().find(|(number, _)| Some(*number) == index).map(|(_, name)| name))
    }

    /// Removes a route of gate64; a missing route is not an error.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn remove_route(&self, to: Destination, index: u32) -> Result<(), NetlinkError> {
        let removed = self.0.route().del(route(to, index)).execute().await;
        ignore_absent(removed, || format!("removing the route to {to}"))
    }

    /// Adds an unreachable route. Returns false if there is one already.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn add_unreachable(&self, to: Destination) -> Result<bool, NetlinkError> {
        let Err(why) = self.0.route().add(unreachable(to)).execute().await else { return Ok(true) };
        let why = NetlinkError::new(format!("unreachable route to {to}"), &why);
        if why.errno == libc::EEXIST { Ok(false) } else { Err(why) }
    }

    /// Removes an unreachable route of gate64; a missing route is not an error.
    ///
    /// # Errors
    /// The kernel refuses the operation.
    pub(crate) async fn remove_unreachable(&self, to: Destination) -> Result<(), NetlinkError> {
        let removed = self.0.route().del(unreachable(to)).execute().await;
        ignore_absent(removed, || format!("removing the unreachable route to {to}"))
    }
}

fn route(to: Destination, index: u32) -> RouteMessage {
    match to.addr {
        IpAddr::V4(addr) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(addr, to.len)
            .output_interface(index)
            .priority(if to.len == 0 { LAST_RESORT } else { 0 })
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build(),
        IpAddr::V6(addr) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(addr, to.len)
            .gateway(NEXT_HOP)
            .onlink()
            .output_interface(index)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build(),
    }
}

/// Applies only without any other route to the same destination.
fn unreachable(to: Destination) -> RouteMessage {
    match to.addr {
        IpAddr::V4(addr) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(addr, to.len)
            .kind(RouteType::Unreachable)
            .priority(u32::MAX)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build(),
        IpAddr::V6(addr) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(addr, to.len)
            .kind(RouteType::Unreachable)
            .priority(u32::MAX)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build(),
    }
}
