//! Packet buffers with headroom, and what the kernel's offloads left to do on them.

use core::fmt;

/// Free bytes in front of a fresh packet.
///
/// The most a packet grows in front: 48 for an ICMP error of our own or for both headers of a
/// translated one with a Fragment header each (2 x 28 = 56), and up to 12 for a device's own header.
pub const HEADROOM: usize = 128;

/// The largest packet, offload or not: what a 16-bit length and its header can say.
pub const MAX_PACKET: usize = 65_535 + 40;

/// A super-packet's kind: many packets of one flow behind one header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Segmentation {
    /// An ordinary packet.
    #[default]
    None,
    /// TCP segments with `size` bytes of payload each, the last may have fewer.
    Tcp {
        /// Payload bytes of a segment.
        size: u16,
        /// The first segment carries CWR, the others must not.
        ecn: bool,
    },
    /// UDP datagrams with `size` bytes of payload each, the last may have fewer.
    Udp {
        /// Payload bytes of a datagram.
        size: u16,
    },
}

/// What is known about the TCP or UDP checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// The field holds a checksum that nobody has verified.
    #[default]
    Unverified,
    /// The field holds a checksum that the device has verified.
    Verified,
    /// The field holds the folded sum of the pseudo-header alone, not inverted; whoever sends the
    /// packet completes it.
    Partial,
}

/// Work on a packet that the kernel left for later. It travels with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// How the packet is to be cut.
    pub segmentation: Segmentation,
    /// What is known of its checksum.
    pub checksum: Checksum,
}

impl Offload {
    /// How many packets will be on the wire for `payload` bytes of transport payload; at least 1.
    pub fn segments(self, payload: usize) -> usize {
        match self.segmentation {
            Segmentation::None => 1,
            Segmentation::Tcp { size, .. } | Segmentation::Udp { size } => {
                payload.div_ceil(usize::from(size.max(1))).max(1)
            }
        }
    }
}

/// What one worker tells the next about a packet it hands over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Handed {
    /// How often the packet has been handed over; zero if it comes from the device.
    pub hops: u8,
    /// The packet was turned round: it is the IPv4 form of a packet from one of our own hosts, its
    /// TTL is already decremented.
    pub hairpin: bool,
    /// Source and destination port of a fragment, learnt from the first fragment.
    pub ports: Option<(u16, u16)>,
    /// The packet was put together from fragments: its sender let it be cut, so it may be cut again
    /// whatever its length, and is never too big.
    pub gathered: bool,
}

/// One packet in memory of its own, with room in front so that a header can grow without the
/// payload moving.
pub struct PacketBuf {
    storage: Box<[u8]>,
    start: u32,
    end: u32,
    /// What the kernel left to do.
    pub offload: Offload,
    /// What an earlier worker knows.
    pub handed: Handed,
}

impl PacketBuf {
    /// An empty buffer for packets of up to `max` bytes (plus [`HEADROOM`]).
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
            handed: Handed::default(),
        }
    }

    /// A buffer that holds a copy of `packet` and has room for `MAX_PACKET` bytes. For tests and tools.
    pub fn holding(packet: &[u8]) -> Self {
        let mut buf = Self::new(MAX_PACKET);
        buf.fill(packet);
        buf
    }

    /// Forgets the packet: empty, full headroom, no offload.
    pub fn clear(&mut self) {
        self.start = HEADROOM as u32;
        self.end = HEADROOM as u32;
        self.offload = Offload::default();
        self.handed = Handed::default();
    }

    /// Replaces the content by `packet`; true if it fitted, else the buffer is empty.
    pub fn fill(&mut self, packet: &[u8]) -> bool {
        self.clear();
        let fits = packet.len() <= self.room();
        if fits {
            self.append(packet.len()).copy_from_slice(packet);
        }
        fits
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start as usize..self.end as usize]
    }

    /// The packet, to be rewritten.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start as usize..self.end as usize]
    }

    /// The packet's length in bytes.
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is no packet.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The longest packet the buffer takes with its full headroom.
    pub fn capacity(&self) -> usize {
        self.storage.len() - HEADROOM
    }

    /// Free bytes in front of the packet.
    pub const fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Free bytes behind the packet.
    pub fn room(&self) -> usize {
        self.storage.len() - self.end as usize
    }

    /// All free bytes behind an empty buffer's start, for a device to read into; say with
    /// [`set_len`](Self::set_len) how many were filled.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let end = self.end as usize;
        &mut self.storage[end..]
    }

    /// Sets the length to `len` bytes from the packet's start: cuts the tail, or takes in bytes
    /// that a device has written to [`spare_mut`](Self::spare_mut).
    ///
    /// # Panics
    /// If the storage is shorter.
    pub fn set_len(&mut self, len: usize) {
        assert!(self.start as usize + len <= self.storage.len(), "length beyond the buffer");
        self.end = self.start + len as u32;
    }

    /// Moves the start `by` bytes to the front; the new bytes hold anything.
    ///
    /// # Panics
    /// If there is less headroom.
    pub fn grow_front(&mut self, by: usize) {
        assert!(by <= self.headroom(), "no headroom for {by} bytes");
        self.start -= by as u32;
    }

    /// Moves the start `by` bytes to the back: drops the first bytes.
    ///
    /// # Panics
    /// If the packet is shorter.
    pub fn shrink_front(&mut self, by: usize) {
        assert!(by <= self.len(), "the packet has fewer than {by} bytes");
        self.start += by as u32;
    }

    /// Puts a header of `new` bytes in the place of the first `old` ones, and ends the packet `len` bytes
    /// behind where it began; the packet, whose new header holds anything.
    ///
    /// # Panics
    /// If the buffer has less room on either side.
    #[inline(always)]
    pub fn change_header(&mut self, old: usize, new: usize, len: usize) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.start as usize + len);
        let start = (start + old).checked_sub(new).expect("headroom");
        let packet = &mut self.storage[start..end];
        (self.start, self.end) = (start as u32, end as u32);
        packet
    }

    /// Grows the packet by `by` bytes at its end and returns them, holding anything.
    ///
    /// # Panics
    /// If there is less room.
    pub fn append(&mut self, by: usize) -> &mut [u8] {
        assert!(by <= self.room(), "no room for {by} bytes");
        let from = self.end as usize;
        self.end += by as u32;
        &mut self.storage[from..from + by]
    }

    /// The bytes in front of the packet, for a device's own header, and the packet, in one slice.
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
            .field("handed", &self.handed)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_and_shrinks_in_front_without_moving() {
        let mut buf = PacketBuf::holding(&[1, 2, 3, 4]);
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
    fn a_header_is_changed_in_front_of_what_stays() {
        let mut buf = PacketBuf::holding(&[1, 2, 3, 4, 5]);
        assert_eq!(buf.change_header(2, 1, 4)[1..], [3, 4]);
        assert_eq!((buf.len(), buf.headroom()), (3, HEADROOM + 1));
        buf.change_header(1, 4, 3)[..4].copy_from_slice(&[6, 7, 8, 9]);
        assert_eq!((buf.bytes(), buf.headroom()), (&[6, 7, 8, 9, 3, 4][..], HEADROOM - 2));
    }

    #[test]
    #[should_panic(expected = "headroom")]
    fn a_header_without_headroom_is_refused() {
        PacketBuf::holding(&[1]).change_header(0, HEADROOM + 1, 1);
    }

    #[test]
    fn too_much_does_not_fit() {
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
