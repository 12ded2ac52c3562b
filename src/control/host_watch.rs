//! Notices that this host may no longer be as the configuration needs it: events of the kernel, and timers for what has
//! no event.

use std::io;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tokio::time::{Instant, Interval};

use super::{clock, netlink};

/// Interval between two comparisons without an event: most sysctls have none.
const COMPARE: Duration = Duration::from_secs(10);

/// Number of these comparisons after which nftables are compared, too, although the kernel reports their changes, and
/// lost events.
const COMPARE_NFTABLES: u32 = 60;

/// Time between the first event and the comparison. A daemon that changes the network changes much of it at once.
const SETTLE: Duration = Duration::from_millis(200);

/// Multicast group of changes to nftables (`NFNLGRP_NFTABLES`).
const NFTABLES: u32 = 7;

/// What may have changed. Each includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Changed {
    /// Addresses and local routes: the workers need them at once.
    Addresses,
    /// Interfaces, addresses, routes, or sysctls.
    Network,
    /// All of it, and nftables.
    All,
}

/// Watches this host.
pub(super) struct HostWatch {
    /// What each event may have changed.
    events: Box<dyn Stream<Item = Changed> + Send + Unpin>,
    /// `None` where the kernel has no nftables, or reports no changes to them.
    firewall: Option<TokioSocket>,
    compare: Interval,
    /// Comparisons since nftables were compared.
    compared: u32,
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
        let events = Box::new(messages.map(|(message, _)| changed_by(&message.payload)));
        Ok(Self { events, firewall: firewall().ok(), compare, compared: 0, pending: None })
    }

    /// Returns [`Changed::Addresses`] at once; all else after an event, once the host has settled, and after intervals.
    /// Dropping the future loses no event.
    pub(super) async fn changed(&mut self) -> Changed {
        loop {
            let settled = self.pending.map(|(_, settled)| settled);
            tokio::select! {
                // In this order: a flood of events must not delay the comparison.
                biased;
                () = sleep_until(settled) => {
                    if let Some((changed, _)) = self.pending.take() {
                        return changed;
                    }
                }
                Some(changed) = self.events.next() => if self.drain_events(changed) {
                    return Changed::Addresses;
                },
                () = next(&mut self.firewall) => {
                    // One comparison for all events until now.
                    while next(&mut self.firewall).now_or_never().is_some() {}
                    self.expect(Changed::All);
                }
                _ = self.compare.tick() => self.expect_timed(),
            }
        }
    }

    /// Makes [`changed`](Self::changed) return soon.
    pub(super) fn expect(&mut self, changed: Changed) {
        let settled = clock::monotonic() + SETTLE;
        let (before, settled) = self.pending.unwrap_or((changed, settled));
        self.pending = Some((before.max(changed), settled));
    }

    /// One comparison for this event and all others until now. Returns whether addresses may have changed.
    fn drain_events(&mut self, first: Changed) -> bool {
        let mut has_addresses = first == Changed::Addresses;
        while let Some(changed) = self.events.next().now_or_never().flatten() {
            has_addresses |= changed == Changed::Addresses;
        }
        self.expect(Changed::Network);
        has_addresses
    }

    fn expect_timed(&mut self) {
        self.compared += 1;
        let is_due = self.firewall.is_none() || self.compared >= COMPARE_NFTABLES;
        if is_due {
            self.compared = 0;
        }
        self.expect(if is_due { Changed::All } else { Changed::Network });
    }
}

/// What an event may have changed. Most routes don't change what this host receives.
fn changed_by(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Changed {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_),
        ) => Changed::Addresses,
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) if netlink::is_local(route) => Changed::Addresses,
        NetlinkPayload::InnerMessage(_) => Changed::Network,
        // Events were lost.
        _ => Changed::Addresses,
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

/// Returns at this time, or never.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(events: &[Changed]) -> HostWatch {
        let events = futures_util::stream::iter(events.to_vec()).chain(futures_util::stream::pending());
        let compare = clock::ticks(COMPARE);
        HostWatch { events: Box::new(events), firewall: None, compare, compared: 0, pending: None }
    }

    #[tokio::test]
    async fn addresses_come_at_once_and_the_comparison_once_the_host_has_settled() {
        let mut watch = watch(&[Changed::Network, Changed::Addresses, Changed::Network]);
        watch.compare.reset();
        assert_eq!(watch.changed().now_or_never(), Some(Changed::Addresses));
        assert_eq!(watch.changed().now_or_never(), None, "the host has not settled");
        let (changed, settled) = watch.pending.expect("a comparison is due");
        assert_eq!(changed, Changed::Network);
        assert!(settled <= clock::monotonic() + SETTLE);
        watch.pending = Some((changed, clock::monotonic()));
        assert_eq!(watch.changed().await, Changed::Network);
    }

    #[tokio::test]
    async fn nftables_are_compared_after_events_and_rarely_without() {
        let mut watch = watch(&[]);
        let found = |watch: &mut HostWatch| watch.pending.take().map(|(changed, _)| changed);
        watch.expect_timed();
        assert_eq!(found(&mut watch), Some(Changed::All), "the kernel reports no changes");
        watch.firewall = TokioSocket::new(NETLINK_NETFILTER).ok();
        for _ in 1..COMPARE_NFTABLES {
            watch.expect_timed();
            assert_eq!(found(&mut watch), Some(Changed::Network));
        }
        watch.expect_timed();
        assert_eq!(found(&mut watch), Some(Changed::All));
        // A later event does not postpone the comparison, and adds to it.
        watch.expect(Changed::All);
        let first = watch.pending;
        watch.expect(Changed::Network);
        assert_eq!(watch.pending, first);
    }
}
