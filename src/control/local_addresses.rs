//! Follows the addresses and local routes of this host, and sends them to the workers.

use std::io;
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::{FutureExt, Stream, StreamExt};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::time::Interval;

use super::clock;
use super::gateway::Gateway;
use super::host_watch::COMPARE;
use super::netlink::{self, Netlink};

/// Whether a notification may change what this host receives. Most routes don't.
fn is_relevant(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => netlink::is_local(route),
        _ => true,
    }
}

/// Watches the addresses of this host.
pub(super) struct AddressWatch {
    netlink: Netlink,
    /// One item for each changed address or local route.
    changes: Box<dyn Stream<Item = ()> + Send + Unpin>,
    compare: Interval,
}

impl AddressWatch {
    /// Subscribes to changes of addresses and local routes, on the current tokio runtime.
    ///
    /// # Errors
    /// The kernel provides no netlink socket.
    pub(super) fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let changes = messages.filter(|(message, _)| ready(is_relevant(&message.payload))).map(drop);
        let compare = clock::ticks(COMPARE);
        Ok(Self { netlink: Netlink::open()?, changes: Box::new(changes), compare })
    }

    /// Returns after a change, at once when called for the first time, and every ten seconds.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Some(()) = self.changes.next() => {}
            _ = self.compare.tick() => {}
        }
        // One comparison for all changes until now.
        while self.changes.next().now_or_never().flatten().is_some() {}
    }
}

impl Gateway {
    /// Sends the addresses of this host to the workers if they have changed.
    pub(super) async fn update_local_addresses(&mut self, watch: &AddressWatch) {
        let local = match watch.netlink.local_addresses().await {
            Ok(local) if local == *self.config.local => return,
            Ok(local) => Arc::new(local),
            Err(why) => return tracing::warn!("addresses: {why}"),
        };
        if let Err(worker) = self.workers.set_local_addresses(&local).await {
            tracing::error!("worker {} has ended", worker.0);
        }
        self.config.local = local;
    }
}
