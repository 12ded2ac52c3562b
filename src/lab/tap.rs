//! A packet socket on an interface, for the laboratory.
//!
//! Packets bypass routing and firewall rules of the kernel in both directions. On a TUN, the program reads
//! what the socket sends, and the socket receives what the program writes.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::setsockopt_impl;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetBool;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::device::memory::Frame;
use crate::device::vnet::{self, HEADER};
use crate::wire::buf::{MAX_PACKET, Offload, PacketBuf};

/// Receive buffer of the socket, in bytes.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A packet socket on one interface whose frames begin with the IP header, such as a TUN.
/// The socket is SOCK_RAW: `PACKET_VNET_HDR`, which carries the offloads, needs that.
#[derive(Debug)]
pub(super) struct Tap {
    socket: Socket,
    index: u32,
    buffer: PacketBuf,
}

/// Each packet starts with a `virtio_net_hdr`.
#[derive(Clone, Copy)]
struct VnetHeader;
setsockopt_impl!(VnetHeader, libc::SOL_PACKET, libc::PACKET_VNET_HDR, bool, SetBool);

/// Outgoing packets are not captured.
#[derive(Clone, Copy)]
struct IgnoreOutgoing;
setsockopt_impl!(IgnoreOutgoing, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, bool, SetBool);

impl Tap {
    /// Opens a socket on `interface`. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel's error.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        // The index in the namespace of this thread; /sys shows the namespace where it was mounted.
        let index = if_nametoindex(interface)?;
        // No protocol until `bind`, so that no packet of another interface arrives.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        setsockopt(&socket, VnetHeader, &true)?;
        setsockopt(&socket, IgnoreOutgoing, &true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&address(index, libc::ETH_P_ALL)?)?;
        Ok(Self { socket, index, buffer: PacketBuf::new(MAX_PACKET) })
    }

    /// Sends a packet whose checksum and segmentation are still pending as `offload` says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if packet and `offload` contradict each other; else the kernel's
    /// error.
    pub(super) fn send(&self, packet: &[u8], offload: Offload) -> io::Result<()> {
        let header = vnet::encode(packet, offload).ok_or(ErrorKind::InvalidInput)?;
        let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        let buffers = [IoSlice::new(&header), IoSlice::new(packet)];
        self.socket.send_to_vectored(&buffers, &address(self.index, protocol)?).map(drop)
    }

    /// Receives the next packet; `None` if none arrives within `timeout`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn recv(&mut self, timeout: Duration) -> io::Result<Option<Frame>> {
        self.socket.set_read_timeout(Some(timeout))?;
        self.buffer.clear();
        let mut header = [0; HEADER];
        let mut buffers = [IoSliceMut::new(&mut header), IoSliceMut::new(self.buffer.spare_mut())];
        let len = match io::Read::read_vectored(&mut (&self.socket), &mut buffers) {
            Ok(len) => len.saturating_sub(HEADER),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        self.buffer.set_len(len);
        let valid = vnet::decode(&header, &mut self.buffer).is_ok();
        let offload = if valid { self.buffer.offload } else { Offload::default() };
        Ok(Some(Frame { bytes: self.buffer.bytes().to_vec(), offload }))
    }
}

/// The link-layer address of an interface for one protocol.
fn address(index: u32, protocol: libc::c_int) -> io::Result<SockAddr> {
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    #[expect(
        unsafe_code,
        reason = "neither socket2 nor nix builds the address of an interface without a MAC"
    )]
    // SAFETY: the storage is larger than a sockaddr_ll and aligned for every address, and its length
    // is set to that of the structure written to it.
    let made = unsafe {
        SockAddr::try_init(|storage, len| {
            storage.cast::<MaybeUninit<libc::sockaddr_ll>>().write(MaybeUninit::new(link));
            *len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    };
    made.map(|((), address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::own_network::own_network;
    use crate::device::tun::{self, Settings};
    use crate::device::{Device, Waker};

    #[test]
    fn packets_reach_the_program_and_come_back() {
        own_network("a packet socket", || {
            let settings = Settings { name: "gate%d".into(), queues: 1, mtu: 1500, offloads: true };
            let (interface, mut queues) = tun::open(&settings, Vec::new()).expect("opens");
            let to = Tap::open(interface.name()).expect("an interface");
            let mut from = Tap::open(interface.name()).expect("an interface");
            // The kernel sends packets of its own on a new interface: skip them.
            let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0x79, 0x1a, 192, 0, 2, 1, 192, 0, 2, 2];
            to.send(&packet, Offload::default()).expect("room");
            let (queue, waker) = (&mut queues[0], Waker::new().expect("room"));
            let mut packets = [PacketBuf::new(MAX_PACKET)];
            while queue.recv(&mut packets).expect("readable") == 0 || packets[0].bytes() != packet {
                queue.wait(&waker, Some(Duration::from_secs(10))).expect("waits");
            }
            assert_eq!(queue.send(&[&packets[0]]), 0, "nothing refused");
            let mut seen = std::iter::from_fn(|| from.recv(Duration::from_secs(10)).expect("readable"));
            assert!(seen.any(|frame| frame.bytes == packet));
            assert!(Tap::open("none").is_err());
        });
    }
}
