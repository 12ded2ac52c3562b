//! Announces addresses to the neighbours on a link: a probe whether another host has them (RFC 5227), gratuitous ARP, and
//! unsolicited neighbour advertisements (RFC 4861 §7.2.6). Without them, neighbours that know another gateway send to it
//! until their entries expire.
//!
//! One packet socket, opened at the start, serves all interfaces, also those that appear later. CAP_NET_RAW is dropped
//! after that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, sleep};

mod frames;

use frames::Mac;

/// Probes of an address, and time between them.
const PROBES: usize = 2;
const BETWEEN: Duration = Duration::from_millis(500);

/// Announcements of an address, and time between them (`ANNOUNCE_NUM`, `ANNOUNCE_INTERVAL`).
const ANNOUNCEMENTS: usize = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// How often the socket is read while answers may come, and for how long.
const POLL: Duration = Duration::from_millis(100);
const POLLS: usize = 10;

/// Frames sent at once, so that a large pool4 does not flood the link.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);

/// Interval at which an address in use is probed again.
const AGAIN: Duration = Duration::from_secs(60);

/// An address on an interface.
type Entry = (String, IpAddr);

/// Announces addresses on this host's links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcer {
    /// `None` without the right to open it.
    socket: Option<Arc<Socket>>,
    in_use: Arc<Mutex<InUse>>,
}

/// Addresses that other hosts have.
#[derive(Debug, Default)]
struct InUse {
    by: BTreeMap<Entry, Mac>,
    /// When they are probed again.
    due: Option<Instant>,
}

impl Announcer {
    /// Opens the socket. Without it nothing is announced.
    pub(super) fn open() -> Self {
        let socket = open().map(Arc::new);
        let socket = socket.inspect_err(|why| {
            tracing::warn!("addresses are not announced to neighbours, which needs CAP_NET_RAW: {why}");
        });
        Self { socket: socket.ok(), in_use: Arc::default() }
    }

    /// Probes and announces addresses, in a task. Other hosts keep the addresses that they have.
    pub(super) fn announce(&self, entries: Vec<Entry>) {
        if let Some(socket) = self.socket.clone().filter(|_| !entries.is_empty()) {
            tokio::spawn(run(socket, Arc::clone(&self.in_use), entries));
        }
    }

    /// Addresses that other hosts have, as text. They are probed again each minute.
    pub(super) fn problems(&self, now: Instant) -> Vec<String> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_use.by.is_empty() && in_use.due.is_none_or(|due| due <= now) {
            in_use.due = Some(now + AGAIN);
            self.announce(in_use.by.keys().cloned().collect());
        }
        let problem = |((interface, addr), mac): (&Entry, &Mac)| {
            format!("{addr} is in use by another host on {interface}, {mac}")
        };
        in_use.by.iter().map(problem).collect()
    }

    /// Forgets addresses that are no longer needed.
    pub(super) fn retain(&self, needed: &BTreeSet<Entry>) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.by.retain(|entry, _| needed.contains(entry));
    }
}

fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(frames::ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Where to send on an interface, and its hardware address.
fn link(interface: &str) -> Option<(LinkAddr, Mac)> {
    getifaddrs().ok()?.find_map(|found| {
        let own = found.address.as_ref()?.as_link_addr().filter(|_| found.interface_name == interface)?;
        // An address with the number of the interface; the frame has the destination.
        Some((*own, Mac(own.addr()?)))
    })
}

async fn run(socket: Arc<Socket>, in_use: Arc<Mutex<InUse>>, entries: Vec<Entry>) {
    let interfaces: BTreeSet<_> = entries.iter().map(|(interface, _)| interface.clone()).collect();
    for interface in interfaces {
        let Some((to, own)) = link(&interface) else { continue };
        let all = entries.iter().filter(|(name, _)| *name == interface).map(|(_, addr)| *addr);
        let (v4, v6): (Vec<_>, Vec<_>) = all.partition(IpAddr::is_ipv4);
        let v4: BTreeSet<Ipv4Addr> = v4.into_iter().filter_map(ipv4).collect();
        let v6: Vec<Ipv6Addr> = v6.into_iter().filter_map(ipv6).collect();
        let used = probe(&socket, &to, own, &v4).await;
        {
            let mut in_use = in_use.lock().unwrap_or_else(PoisonError::into_inner);
            in_use
                .by
                .retain(|(name, addr), _| *name != interface || !entries.contains(&(name.clone(), *addr)));
            in_use.by.extend(used.iter().map(|(addr, mac)| ((interface.clone(), IpAddr::V4(*addr)), *mac)));
        }
        let announced = v4.iter().filter(|addr| !used.contains_key(addr));
        let mut frames: Vec<_> = announced.map(|addr| frames::announcement(own, *addr)).collect();
        frames.extend(v6.iter().map(|addr| frames::advertisement(own, *addr)));
        for number in 0..ANNOUNCEMENTS {
            if number > 0 {
                sleep(ANNOUNCE_INTERVAL).await;
            }
            send(&socket, &to, &frames).await;
        }
    }
}

const fn ipv4(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    }
}

const fn ipv6(addr: IpAddr) -> Option<Ipv6Addr> {
    match addr {
        IpAddr::V4(_) => None,
        IpAddr::V6(addr) => Some(addr),
    }
}

/// Which of these addresses other hosts have.
async fn probe(
    socket: &Socket,
    to: &LinkAddr,
    own: Mac,
    addresses: &BTreeSet<Ipv4Addr>,
) -> BTreeMap<Ipv4Addr, Mac> {
    let mut used = BTreeMap::new();
    if addresses.is_empty() {
        return used;
    }
    // What came before the probes says nothing.
    received(socket, |_| {});
    let probes: Vec<_> = addresses.iter().map(|addr| frames::probe(own, *addr)).collect();
    let mut note = |frame: &[u8]| {
        if let Some((mac, addr)) = frames::sender(frame)
            && mac != own
            && addresses.contains(&addr)
        {
            used.insert(addr, mac);
        }
    };
    for _ in 0..PROBES {
        send(socket, to, &probes).await;
        sleep(BETWEEN).await;
        received(socket, &mut note);
    }
    for _ in 0..POLLS {
        sleep(POLL).await;
        received(socket, &mut note);
    }
    used
}

/// Reads the frames that have arrived.
fn received(socket: &Socket, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; 128];
    let mut socket = socket;
    while let Ok(len) = socket.read(&mut buffer) {
        each(&buffer[..len]);
    }
}

async fn send(socket: &Socket, to: &LinkAddr, frames: &[Vec<u8>]) {
    for burst in frames.chunks(BURST) {
        for frame in burst {
            if let Err(why) = sendto(socket.as_raw_fd(), frame, to, MsgFlags::empty()) {
                tracing::debug!("announcement: {why}");
                return;
            }
        }
        sleep(PAUSE).await;
    }
}
