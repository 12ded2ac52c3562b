//! Packet buffers with headroom, and the state of checksum and segmentation offload.

use core::fmt;

/// Free bytes in front of a received packet.
///
/// A packet grows by at most 48 bytes for an originated ICMP error, or 56 for a translated one (28 for each of
/// two headers with a Fragment header), plus 12 for a device header.
pub const HEADROOM: usize = 128;

/// Largest packet in bytes, super-packets included: a 16-bit payload length plus the IPv6 header.
pub const MAX_PACKET: usize = 65_535 + 40;

/// Segmentation of a super-packet: several packets of one flow that share one header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Segmentation {
    /// An ordinary packet.
    #[default]
    None,
    /// TCP segments of `size` payload bytes; the last may be shorter.
    Tcp {
        /// Payload bytes of a segment.
        size: u16,
        /// CWR is set on the first segment only.
        ecn: bool,
    },
    /// UDP datagrams of `size` payload bytes; the last may be shorter.
    Udp {
        /// Payload bytes of a datagram.
        size: u16,
    },
}

/// State of the TCP or UDP checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Complete, not verified.
    #[default]
    Unverified,
    /// Complete, verified by the device.
    Verified,
    /// Partial: the field holds the folded, not inverted, sum of the pseudo-header. The sending device
    /// completes it.
    Partial,
}

/// Offload state of a packet: work deferred to the sending device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// Segmentation.
    pub segmentation: Segmentation,
    /// Checksum state.
    pub checksum: Checksum,
}

impl Offload {
    /// Number of packets on the wire for `payload` bytes of transport payload, at least 1.
    pub fn segments(self, payload: usize) -> usize {
        match self.segmentation {
            Segmentation::None => 1,
            Segmentation::Tcp { size, .. } | Segmentation::Udp { size } => {
                payload.div_ceil(usize::from(size.max(1))).max(1)
            }
        }
    }
}

/// Processing state that stays with a packet: handovers, hairpin, ports of a fragment, reassembly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketMeta {
    /// Number of handovers; zero for a packet from the device.
    pub hops: u8,
    /// The packet is hairpinned: translated to IPv4 from a zone host, with its TTL already decremented.
    pub hairpin: bool,
    /// Source and destination port of a fragment, taken from the first fragment.
    pub ports: Option<(u16, u16)>,
    /// The packet is reassembled from fragments. It may be fragmented again and is never too big.
    pub reassembled: bool,
}

impl PacketMeta {
    /// Whether a packet comes from the device and was neither handed over, hairpinned nor reassembled.
    pub(crate) const fn is_fresh(self) -> bool {
        self.hops == 0 && !self.hairpin && self.ports.is_none() && !self.reassembled
    }
}

/// A buffer for one packet, with headroom so that headers grow without moving the payload.
pub struct PacketBuf {
    storage: Box<[u8]>,
    start: u32,
    end: u32,
    /// Offload state.
    pub offload: Offload,
    /// Processing state.
    pub meta: PacketMeta,
}

impl PacketBuf {
    /// Allocates an empty buffer for packets of up to `max` bytes, plus [`HEADROOM`].
    ///
    /// # Panics
    /// If `max` exceeds [`MAX_PACKET`].
    pub fn new(max: usize) -> Self {
        assert!(max <= MAX_PACKET, "no packet is longer than {MAX_PACKET}");
        Self {
            storage: vec![0; HEADROOM + max].into_boxed_slice(),
            start: HEADROOM as u32,
            end: HEADROOM as u32,
            offload: Offload::default(),
            meta: PacketMeta::default(),
        }
    }

    /// Allocates a buffer of [`MAX_PACKET`] bytes with a copy of `packet`. For tests and tools.
    pub fn with_packet(packet: &[u8]) -> Self {
        let mut buf = Self::new(MAX_PACKET);
        buf.fill(packet);
        buf
    }

    /// Empties the buffer: full headroom, default offload and processing state.
    pub fn clear(&mut self) {
        self.start = HEADROOM as u32;
        self.end = HEADROOM as u32;
        self.offload = Offload::default();
        self.meta = PacketMeta::default();
    }

    /// Replaces the content by `packet`. Returns false and leaves the buffer empty if it does not fit.
    pub fn fill(&mut self, packet: &[u8]) -> bool {
        self.clear();
        let fits = packet.len() <= self.room();
        if fits {
            self.append(packet.len()).copy_from_slice(packet);
        }
        fits
    }

    /// Bytes of the packet.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start as usize..self.end as usize]
    }

    /// Mutable bytes of the packet.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start as usize..self.end as usize]
    }

    /// Length of the packet in bytes.
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the buffer holds no packet.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Longest packet that fits with full headroom, in bytes.
    pub fn capacity(&self) -> usize {
        self.storage.len() - HEADROOM
    }

    /// Free bytes in front of the packet.
    pub const fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Free bytes after the packet.
    pub fn room(&self) -> usize {
        self.storage.len() - self.end as usize
    }

    /// Free bytes after the packet, for a device to read into. Call [`set_len`](Self::set_len) afterwards.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let end = self.end as usize;
        &mut self.storage[end..]
    }

    /// Sets the packet's length: truncates it, or includes bytes that a device has written to
    /// [`spare_mut`](Self::spare_mut).
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn set_len(&mut self, len: usize) {
        assert!(self.start as usize + len <= self.storage.len(), "length beyond the buffer");
        self.end = self.start + len as u32;
    }

    /// Grows the packet by `by` bytes in front; their content is unspecified.
    ///
    /// # Panics
    /// If the headroom is smaller.
    pub fn grow_front(&mut self, by: usize) {
        assert!(by <= self.headroom(), "no headroom for {by} bytes");
        self.start -= by as u32;
    }

    /// Removes the first `by` bytes.
    ///
    /// # Panics
    /// If the packet is shorter.
    pub fn shrink_front(&mut self, by: usize) {
        assert!(by <= self.len(), "the packet has fewer than {by} bytes");
        self.start += by as u32;
    }

    /// Truncates the packet to `len` bytes, then replaces its first `old` bytes by a header of `new` bytes, whose
    /// content is unspecified. Returns the packet.
    ///
    /// # Panics
    /// If the headroom or the buffer is too short.
    #[inline(always)]
    pub fn change_header(&mut self, old: usize, new: usize, len: usize) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.start as usize + len);
        let start = (start + old).checked_sub(new).expect("headroom");
        let packet = &mut self.storage[start..end];
        (self.start, self.end) = (start as u32, end as u32);
        packet
    }

    /// Grows the packet by `by` bytes at its end and returns them; their content is unspecified.
    ///
    /// # Panics
    /// If there is too little room.
    pub fn append(&mut self, by: usize) -> &mut [u8] {
        assert!(by <= self.room(), "no room for {by} bytes");
        let from = self.end as usize;
        self.end += by as u32;
        &mut self.storage[from..from + by]
    }

    /// The packet with `header` bytes of headroom in front of it, for a device header.
    ///
    /// # Panics
    /// If `header` exceeds the headroom.
    pub fn with_header(&mut self, header: usize) -> &mut [u8] {
        assert!(header <= self.headroom(), "no headroom for {header} bytes");
        &mut self.storage[self.start as usize - header..self.end as usize]
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("len", &self.len())
            .field("headroom", &self.headroom())
            .field("offload", &self.offload)
            .field("meta", &self.meta)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_grow_and_shrink_without_moving_the_payload() {
        let mut buf = PacketBuf::with_packet(&[1, 2, 3, 4]);
        buf.grow_front(2);
        buf.bytes_mut()[..2].copy_from_slice(&[8, 9]);
        assert_eq!(buf.bytes(), [8, 9, 1, 2, 3, 4]);
        buf.shrink_front(4);
        assert_eq!(buf.bytes(), [3, 4]);
        buf.append(1)[0] = 7;
        assert_eq!(buf.bytes(), [3, 4, 7]);
        buf.set_len(1);
        assert_eq!(buf.bytes(), [3]);
        buf.clear();
        assert!(buf.is_empty());
        assert_eq!(buf.headroom(), HEADROOM);
    }

    #[test]
    fn changing_the_header_keeps_the_payload() {
        let mut buf = PacketBuf::with_packet(&[1, 2, 3, 4, 5]);
        assert_eq!(buf.change_header(2, 1, 4)[1..], [3, 4]);
        assert_eq!((buf.len(), buf.headroom()), (3, HEADROOM + 1));
        buf.change_header(1, 4, 3)[..4].copy_from_slice(&[6, 7, 8, 9]);
        assert_eq!((buf.bytes(), buf.headroom()), (&[6, 7, 8, 9, 3, 4][..], HEADROOM - 2));
    }

    #[test]
    #[should_panic(expected = "headroom")]
    fn a_header_beyond_the_headroom_panics() {
        PacketBuf::with_packet(&[1]).change_header(0, HEADROOM + 1, 1);
    }

    #[test]
    fn a_packet_longer_than_the_buffer_is_not_filled() {
        let mut buf = PacketBuf::new(3);
        assert!(!buf.fill(&[0; 4]));
        assert!(buf.is_empty());
        assert!(buf.fill(&[0; 3]));
    }

    #[test]
    fn segments_are_counted() {
        let tcp =
            |size| Offload { segmentation: Segmentation::Tcp { size, ecn: false }, ..Offload::default() };
        assert_eq!(Offload::default().segments(64_000), 1);
        assert_eq!(tcp(1428).segments(64_000), 45);
        assert_eq!(tcp(1428).segments(0), 1);
        assert_eq!(tcp(1428).segments(1428), 1);
    }
}
