//! A generator and a sink of Ethernet frames: rings of an AF_PACKET socket.
//!
//! Both are of the kernel's second version: frames of one size, each with a header whose first word
//! says whose it is. A frame carries `struct virtio_net_hdr`: out, it asks for the whole packet to
//! be copied, as from a network card; in, it tells super-packets by their number of segments.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use libc::{
    PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS, PACKET_RX_RING, PACKET_TX_RING, PACKET_VERSION,
    PACKET_VNET_HDR, SOL_PACKET, TP_STATUS_AVAILABLE, TP_STATUS_KERNEL, TP_STATUS_SEND_REQUEST,
    TP_STATUS_USER,
};

use super::sys::{self, Shared};

/// Bytes of the ring that one frame takes: its header and the longest small packet.
const FRAME: usize = 256;
/// Frames that can be on their way out: a few batches, so that they stay in the cache.
const OUT: usize = 4096;
/// Frames that can wait to be looked at: some 30 ms at the highest rates.
const IN: usize = 32_768;
/// Bytes of memory that the kernel takes at once.
const BLOCK: usize = 1 << 16;
/// `struct tpacket2_hdr`.
const HEADER: usize = 32;
/// `struct virtio_net_hdr`.
const VNET: usize = 10;
/// `TPACKET_V2`.
const VERSION: i32 = 1;

/// A frame, as the sink sees it.
pub(crate) struct Seen<'a> {
    /// Its bytes from the Ethernet header on, cut at what the ring keeps.
    pub(crate) bytes: &'a [u8],
    /// Its length before it was cut.
    pub(crate) length: usize,
    /// Payload bytes of a segment if it is a super-packet, else zero.
    pub(crate) segment: usize,
    /// When it arrived, in nanoseconds of the time of day.
    pub(crate) at: u64,
}

/// Sends frames on one interface.
#[derive(Debug)]
pub(crate) struct Generator {
    socket: OwnedFd,
    ring: Shared,
    next: usize,
    marked: usize,
}

/// Receives the frames that come in on one interface.
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
            let ring = ring(&socket, PACKET_TX_RING, OUT)?;
            sys::set_option(&socket, SOL_PACKET, PACKET_QDISC_BYPASS, 1i32)?;
            // What a gateway has queued must not count as ours.
            sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 1i32 << 30)?;
            sys::bind_interface(socket.as_fd(), interface, 0)?;
            Ok(Self { socket, ring, next: 0, marked: 0 })
        })
    }

    /// Puts a frame of at most 214 bytes into the ring, `finish` writes what is not yet
    /// right in it; false if the ring is full.
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
        // "All of it is header": the kernel then copies instead of pointing into the ring.
        body[2..4].copy_from_slice(&(frame.len() as u16).to_ne_bytes());
        body[VNET..].copy_from_slice(frame);
        finish(&mut body[VNET..]);
        self.ring.status(at).store(TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.next = (self.next + 1) % OUT;
        self.marked += 1;
        true
    }

    /// Whether nothing was put since the last [`flush`](Self::flush).
    pub(crate) fn is_empty(&self) -> bool {
        self.marked == 0
    }

    /// Sends what was put.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.marked = 0;
        sys::send_marked(self.socket.as_fd())
    }
}

impl Sink {
    /// A sink on `interface` of the namespace `netns`.
    pub(crate) fn new(netns: &str, interface: &str) -> io::Result<Self> {
        sys::within(netns, || {
            let all = libc::ETH_P_ALL as u16;
            let socket = sys::packet_socket(0)?;
            sys::set_option(&socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1i32)?;
            let ring = ring(&socket, PACKET_RX_RING, IN)?;
            sys::bind_interface(socket.as_fd(), interface, all)?;
            Ok(Self { socket, overflows: 0, ring, next: 0 })
        })
    }

    /// Looks at what has come, at most `most` frames; how many there were.
    pub(crate) fn drain(&mut self, most: usize, mut each: impl FnMut(Seen<'_>)) -> usize {
        for count in 0..most {
            let at = self.next * FRAME;
            if self.ring.status(at).load(Ordering::Acquire) & TP_STATUS_USER == 0 {
                return count;
            }
            let frame = self.ring.bytes(at + 4, FRAME - 4);
            if let Some(seen) = seen(frame) {
                each(seen);
            }
            self.ring.status(at).store(TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % IN;
        }
        most
    }

    /// Frames that found no room since it was made.
    pub(crate) fn overflows(&mut self) -> u64 {
        // The kernel forgets what it has told.
        self.overflows += u64::from(sys::packet_drops(self.socket.as_fd()).unwrap_or(0));
        self.overflows
    }
}

/// Reads a frame of the ring behind its status word.
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
