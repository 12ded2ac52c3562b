//! Notices that this host may no longer be as the configuration needs it: events of the kernel, and a timer in case
//! events were lost.

use std::io;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tokio::time::{Instant, Interval};

use super::clock;

/// Interval between two comparisons without an event, in case events overran the socket.
pub(super) const COMPARE: Duration = Duration::from_secs(10);

/// Time between the first event and the comparison. A daemon that changes the network changes much of it at once.
const SETTLE: Duration = Duration::from_millis(200);

/// Multicast group of changes to nftables (`NFNLGRP_NFTABLES`).
const NFTABLES: u32 = 7;

/// What may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Changed {
    /// Interfaces, addresses, routes, or sysctls.
    Network,
    /// All of it, and nftables.
    All,
}

/// Watches this host.
pub(super) struct HostWatch {
    /// One item for each event.
    events: Box<dyn Stream<Item = ()> + Send + Unpin>,
    /// `None` where the kernel has no nftables; then the timer alone remains.
    firewall: Option<TokioSocket>,
    compare: Interval,
    /// What has changed, and when the host has settled.
    pending: Option<(Changed, Instant)>,
}

impl HostWatch {
    /// Subscribes to events, on the current tokio runtime.
    ///
    /// # Errors
    /// The kernel provides no netlink socket.
    pub(super) fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let mut compare = clock::ticks(COMPARE);
        // The start has compared everything.
        compare.reset();
        Ok(Self { events: Box::new(messages.map(drop)), firewall: firewall().ok(), compare, pending: None })
    }

    /// Returns after an event, once the host has settled, and every ten seconds. Dropping the future loses no event.
    pub(super) async fn changed(&mut self) -> Changed {
        loop {
            if let Some((mut changed, settled)) = self.pending {
                tokio::time::sleep_until(settled).await;
                // One comparison for all events until now.
                while self.events.next().now_or_never().flatten().is_some() {}
                while next(&mut self.firewall).now_or_never().is_some() {
                    changed = Changed::All;
                }
                self.pending = None;
                return changed;
            }
            tokio::select! {
                Some(()) = self.events.next() => self.expect(Changed::Network),
                () = next(&mut self.firewall) => self.expect(Changed::All),
                _ = self.compare.tick() => self.expect(Changed::All),
            }
        }
    }

    /// Makes [`changed`](Self::changed) return soon.
    pub(super) fn expect(&mut self, changed: Changed) {
        self.pending = Some((changed, clock::monotonic() + SETTLE));
    }
}

/// A socket that receives changes to nftables.
fn firewall() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_ref().add_membership(NFTABLES)?;
    Ok(socket)
}

/// Returns after an event, or if events were lost because the socket was full.
async fn next(socket: &mut Option<TokioSocket>) {
    match socket {
        Some(socket) => drop(socket.recv_from_full().await),
        None => std::future::pending().await,
    }
}
