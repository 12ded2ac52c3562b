//! Capture files: read as packets that came, written as packets that went.
//!
//! Read are pcap in both byte orders and both resolutions, and pcapng; packets of raw IP, Ethernet
//! (VLAN tags skipped) and Linux's "cooked" capture. Written is pcap of raw IP.

mod device;
mod record;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::time::Duration;

pub use device::PcapDevice;
use record::{Form, Link, read_form};

/// The longest record that is read: no capture has longer packets.
const LONGEST: usize = 256 << 10;

/// Why a capture can't be read further.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file itself.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins like no capture.
    #[error("neither pcap nor pcapng")]
    Magic,
    /// A length in it cannot be.
    #[error("record {0}: impossible length {1}")]
    Length(u64, u64),
    /// It ends in the middle of a record.
    #[error("record {0} is cut off")]
    CutOff(u64),
    /// Its packets are of a link type that is not read.
    #[error("link type {0} is not read: only raw IP, Ethernet and Linux cooked are")]
    LinkType(u32),
}

/// A packet of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// When it was captured, since 1970.
    pub at: Duration,
    /// The packet from its IP header on, without a link's padding.
    pub bytes: &'a [u8],
}

/// Reads the IP packets of a capture, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    form: Form,
    buffer: Vec<u8>,
    /// Records read so far.
    records: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a capture.
    ///
    /// # Errors
    /// If it is none, or of a link type that is not read.
    pub fn new(mut from: R) -> Result<Self, PcapError> {
        let form = read_form(&mut from)?;
        Ok(Self { from, form, buffer: Vec::new(), records: 0 })
    }

    /// The next IP packet; `None` at the end. What is no IP is passed over.
    ///
    /// # Errors
    /// If the file is damaged. Nothing useful comes afterwards.
    pub fn next_packet(&mut self) -> Result<Option<Captured<'_>>, PcapError> {
        loop {
            self.records += 1;
            let record = self.form.read_record(&mut self.from, &mut self.buffer, self.records)?;
            let Some(record) = record else { return Ok(None) };
            let Some((link, at)) = record else { continue };
            if let Some(range) = packet_in(link, &self.buffer) {
                return Ok(Some(Captured { at, bytes: &self.buffer[range] }));
            }
        }
    }
}

/// Where the IP packet is in a frame, cut to the length that its header says.
fn packet_in(link: Link, frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = match link {
        Link::Raw => 0,
        Link::Ethernet => {
            let mut at = 12;
            while matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
                at += 4;
            }
            matches!(frame.get(at..at + 2)?, [8, 0] | [0x86, 0xdd]).then_some(at + 2)?
        }
        Link::Cooked => 16,
        Link::Cooked2 => 20,
    };
    let packet = frame.get(start..)?;
    let said = match packet.first()? >> 4 {
        4 => usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?])),
        6 => usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?])) + 40,
        _ => return None,
    };
    // Zero is what offloading drivers write into a super-packet.
    let len = if said == 0 { packet.len() } else { said.min(packet.len()) };
    Some(start..start + len)
}

/// Writes packets to a capture of raw IP.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// What writing says.
    pub fn new(mut to: W) -> io::Result<Self> {
        let numbers = [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, LONGEST as u32, 101];
        for number in numbers {
            to.write_all(&number.to_le_bytes())?;
        }
        Ok(Self { to })
    }

    /// Adds a packet. Its time, since 1970, may be up to the year 2106.
    ///
    /// # Errors
    /// What writing says.
    pub fn write(&mut self, at: Duration, packet: &[u8]) -> io::Result<()> {
        let len = packet.len() as u32;
        let secs = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        for number in [secs, at.subsec_nanos(), len, len] {
            self.to.write_all(&number.to_le_bytes())?;
        }
        self.to.write_all(packet)
    }

    /// Passes on what is buffered below.
    ///
    /// # Errors
    /// What flushing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
