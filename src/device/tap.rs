//! The wire of an interface, for the laboratory: packets are put onto it past the kernel's own
//! sending, and what the kernel receives from it is seen before any rule or route.
//!
//! Put onto a TUN interface, a packet is what its program reads; what its program writes is what is
//! received.

use std::ffi::CString;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::memory::Frame;
use super::vnet::{self, HEADER};
use crate::wire::buf::{MAX_PACKET, Offload, PacketBuf};

/// Bytes that may wait to be taken.
const WAITING: usize = 8 << 20;

/// A packet socket on one interface, whose frames begin with the IP header: a TUN. (Only sockets that
/// would see a link's header can say what is left to do on a packet.)
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
    index: u32,
    buffer: PacketBuf,
}

impl Tap {
    /// Listens to `interface`. Needs CAP_NET_RAW, and CAP_NET_ADMIN for so much room.
    ///
    /// # Errors
    /// If there is no such interface, or what the kernel says.
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = index_of(interface)?;
        // No protocol yet, so that nothing comes from interfaces that are not meant.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        for option in [libc::PACKET_VNET_HDR, libc::PACKET_IGNORE_OUTGOING] {
            switch_on(&socket, option)?;
        }
        socket.set_recv_buffer_size(WAITING)?;
        socket.bind(&address(index, libc::ETH_P_ALL)?)?;
        Ok(Self { socket, index, buffer: PacketBuf::new(MAX_PACKET) })
    }

    /// Puts a packet onto the wire, with this work left to do on it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if packet and work don't go together; else what the kernel says.
    pub fn put(&self, packet: &[u8], offload: Offload) -> io::Result<()> {
        let header = vnet::encode(packet, offload).ok_or(ErrorKind::InvalidInput)?;
        let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        let pieces = [IoSlice::new(&header), IoSlice::new(packet)];
        self.socket.send_to_vectored(&pieces, &address(self.index, protocol)?).map(drop)
    }

    /// The next packet that came; `None` if none comes within `patience`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take(&mut self, patience: Duration) -> io::Result<Option<Frame>> {
        self.socket.set_read_timeout(Some(patience))?;
        self.buffer.clear();
        let mut header = [0; HEADER];
        let mut pieces = [IoSliceMut::new(&mut header), IoSliceMut::new(self.buffer.spare_mut())];
        let len = match io::Read::read_vectored(&mut (&self.socket), &mut pieces) {
            Ok(len) => len.saturating_sub(HEADER),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        self.buffer.set_len(len);
        let understood = vnet::decode(&header, &mut self.buffer).is_ok();
        let offload = if understood { self.buffer.offload } else { Offload::default() };
        Ok(Some(Frame { bytes: self.buffer.bytes().to_vec(), offload }))
    }
}

/// An interface's number in the thread's own network. (/sys shows the network it was mounted in.)
fn index_of(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    #[expect(unsafe_code, reason = "the standard library knows no interfaces")]
    // SAFETY: the name ends in a zero byte and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

fn switch_on(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "socket2 has no options of packet sockets")]
    // SAFETY: the option's value is one int, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An interface as an address: where packets of one protocol come from or go to.
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
    #[expect(unsafe_code, reason = "socket2 has no addresses of packet sockets")]
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
    use super::super::own_network::own_network;
    use super::super::tun::{self, Settings};
    use super::super::{Device, Waker};
    use super::*;

    #[test]
    fn what_is_put_onto_a_device_comes_to_its_program_and_back() {
        own_network("a tap", || {
            let settings = Settings { name: "gate%d".into(), queues: 1, mtu: 1500, offloads: true };
            let (interface, mut queues) = tun::open(&settings).expect("opens");
            let onto = Tap::open(interface.name()).expect("an interface");
            let mut from = Tap::open(interface.name()).expect("an interface");
            // The kernel says something of its own on a new interface, so look for what is ours.
            let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0x79, 0x1a, 192, 0, 2, 1, 192, 0, 2, 2];
            onto.put(&packet, Offload::default()).expect("room");
            let (queue, waker) = (&mut queues[0], Waker::new().expect("room"));
            let mut packets = [PacketBuf::new(MAX_PACKET)];
            while queue.recv(&mut packets).expect("readable") == 0 || packets[0].bytes() != packet {
                queue.wait(&waker, Some(Duration::from_secs(10))).expect("waits");
            }
            assert_eq!(queue.send(&[&packets[0]]), 0, "nothing refused");
            let mut seen = std::iter::from_fn(|| from.take(Duration::from_secs(10)).expect("readable"));
            assert!(seen.any(|frame| frame.bytes == packet));
            assert!(Tap::open("none").is_err());
        });
    }
}
