//! A generator and a sink of Ethernet frames: rings of an AF_PACKET socket.
//!
//! Both use TPACKET_V2: frames of one size, each with a header whose first word is the owner. A frame
//! carries a `struct virtio_net_hdr`. On transmit it makes the kernel copy the whole packet, as from a
//! network card; on receive it marks super-packets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use libc::{
    PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS, PACKET_RX_RING, PACKET_TX_RING, PACKET_VERSION,
    PACKET_VNET_HDR, SOL_PACKET, TP_STATUS_AVAILABLE, TP_STATUS_KERNEL, TP_STATUS_SEND_REQUEST,
    TP_STATUS_USER,
};

use super::sys::{self, Shared};

/// Size of a ring entry in bytes: header and longest test packet.
const FRAME: usize = 256;
/// Entries of the transmit ring: a few batches, so that they stay in the cache.
const TX_ENTRIES: usize = 4096;
/// Entries of the receive ring: about 30 ms at the highest rates.
const RX_ENTRIES: usize = 32_768;
/// Bytes per memory block of a ring.
const BLOCK: usize = 1 << 16;
/// `struct tpacket2_hdr`.
const HEADER: usize = 32;
/// `struct virtio_net_hdr`.
const VNET: usize = 10;
/// `TPACKET_V2`.
const VERSION: i32 = 1;

/// A received frame.
pub(crate) struct Seen<'a> {
    /// Its bytes from the Ethernet header on, truncated to the ring entry.
    pub(crate) bytes: &'a [u8],
    /// Its original length.
    pub(crate) length: usize,
    /// Payload bytes per segment of a super-packet, else 0.
    pub(crate) segment: usize,
    /// Arrival time in nanoseconds since 1970.
    pub(crate) at: u64,
}

/// Sends frames on one interface.
#[derive(Debug)]
pub(crate) struct Generator {
    socket: OwnedFd,
    ring: Shared,
    next: usize,
    pending: usize,
}

/// Receives the frames of one interface.
#[derive(Debug)]
pub(crate) struct Sink {
    socket: OwnedFd,
    overflows: u64,
    ring: Shared,
    next: usize,
}

fn ring(socket: &OwnedFd, name: i32, frames: usize) -> io::Result<Shared> {
    let request = libc::tpacket_req {
        tp_block_size: BLOCK as u32,
        tp_block_nr: (frames * FRAME / BLOCK) as u32,
        tp_frame_size: FRAME as u32,
        tp_frame_nr: frames as u32,
    };
    sys::set_option(socket, SOL_PACKET, PACKET_VERSION, VERSION)?;
    sys::set_option(socket, SOL_PACKET, PACKET_VNET_HDR, 1i32)?;
    sys::set_option(socket, SOL_PACKET, name, request)?;
    Shared::map(socket.as_fd(), frames * FRAME)
}

impl Generator {
    /// A generator on `interface` of the namespace `netns`.
    pub(crate) fn new(netns: &str, interface: &str) -> io::Result<Self> {
        sys::within(netns, || {
            let socket = sys::packet_socket(0)?;
            let ring = ring(&socket, PACKET_TX_RING, TX_ENTRIES)?;
            sys::set_option(&socket, SOL_PACKET, PACKET_QDISC_BYPASS, 1i32)?;
            // Frames queued in a gateway count against this buffer.
            sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 1i32 << 30)?;
            sys::bind_interface(socket.as_fd(), interface, 0)?;
            Ok(Self { socket, ring, next: 0, pending: 0 })
        })
    }

    /// Puts a frame of at most 214 bytes into the ring; `finish` completes it there. Returns false if the
    /// ring is full.
    pub(crate) fn put(&mut self, frame: &[u8], finish: impl FnOnce(&mut [u8])) -> bool {
        let at = self.next * FRAME;
        if self.ring.status(at).load(Ordering::Acquire) != TP_STATUS_AVAILABLE {
            return false;
        }
        let length = VNET + frame.len();
        let bytes = self.ring.bytes(at + 4, HEADER - 4 + length);
        bytes[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        let body = &mut bytes[HEADER - 4..];
        body[..VNET].fill(0);
        // hdr_len is the whole frame: the kernel then copies it instead of referencing the ring.
        body[2..4].copy_from_slice(&(frame.len() as u16).to_ne_bytes());
        body[VNET..].copy_from_slice(frame);
        finish(&mut body[VNET..]);
        self.ring.status(at).store(TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.next = (self.next + 1) % TX_ENTRIES;
        self.pending += 1;
        true
    }

    /// Whether no frame was put since the last [`flush`](Self::flush).
    pub(crate) fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Sends the frames in the ring.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.pending = 0;
        sys::send_ring(self.socket.as_fd())
    }
}

impl Sink {
    /// A sink on `interface` of the namespace `netns`.
    pub(crate) fn new(netns: &str, interface: &str) -> io::Result<Self> {
        sys::within(netns, || {
            let all = libc::ETH_P_ALL as u16;
            let socket = sys::packet_socket(0)?;
            sys::set_option(&socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1i32)?;
            let ring = ring(&socket, PACKET_RX_RING, RX_ENTRIES)?;
            sys::bind_interface(socket.as_fd(), interface, all)?;
            Ok(Self { socket, overflows: 0, ring, next: 0 })
        })
    }

    /// Processes at most `max` received frames. Returns their number.
    pub(crate) fn drain(&mut self, max: usize, mut each: impl FnMut(Seen<'_>)) -> usize {
        for count in 0..max {
            let at = self.next * FRAME;
            if self.ring.status(at).load(Ordering::Acquire) & TP_STATUS_USER == 0 {
                return count;
            }
            let frame = self.ring.bytes(at + 4, FRAME - 4);
            if let Some(seen) = seen(frame) {
                each(seen);
            }
            self.ring.status(at).store(TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % RX_ENTRIES;
        }
        max
    }

    /// Total number of frames lost because the ring was full.
    pub(crate) fn overflows(&mut self) -> u64 {
        // The kernel resets its counter on reading.
        self.overflows += u64::from(sys::packet_drops(self.socket.as_fd()).unwrap_or(0));
        self.overflows
    }
}

/// Reads a ring entry after its status word.
fn seen(frame: &[u8]) -> Option<Seen<'_>> {
    let long = |at: usize| u32::from_ne_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let short = |at: usize| usize::from(u16::from_ne_bytes([frame[at], frame[at + 1]]));
    let (length, kept, mac) = (long(0) as usize, long(4) as usize, short(8) - 4);
    let vnet = &frame[mac.checked_sub(VNET)?..mac];
    let size = usize::from(u16::from_ne_bytes([vnet[4], vnet[5]]));
    Some(Seen {
        bytes: frame.get(mac..mac + kept)?,
        length,
        segment: if vnet[1] == 0 { 0 } else { size },
        at: u64::from(long(12)) * 1_000_000_000 + u64::from(long(16)),
    })
}
