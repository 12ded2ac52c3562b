//! Capture files: a reader for pcap and pcapng, and a writer for pcap.
//!
//! The reader accepts both byte orders, all time resolutions, and these link types: raw IP, Ethernet
//! with or without VLAN tags, loopback, and Linux cooked capture. The writer writes raw IP with
//! nanosecond timestamps.
//!
//! The crate `pcap-file` 2.0 does not replace this module. It reads each pcapng timestamp as nanoseconds
//! although the default is microseconds, ignores `if_tsoffset`, and its errors name neither frame nor
//! offset. It does not parse link-layer headers.

mod error;
mod link;
mod record;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Duration;

use link::packet_in;
use record::{Format, MAX_RECORD, Source, read_format};

pub use error::{PcapError, Position};

/// A packet of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// Capture time, since 1970.
    pub at: Duration,
    /// The packet from its IP header on, without padding of the link layer.
    pub bytes: &'a [u8],
}

/// A frame of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its number, counted from 1.
    pub number: u64,
    /// Capture time, since 1970.
    pub at: Duration,
    /// Number of bytes at its end that were not captured.
    pub missing: u32,
    /// Its content.
    pub content: Content<'a>,
}

/// The content of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// An IP packet from its header on, without padding of the link layer. On a raw IP link, all bytes
    /// unchecked.
    Packet(&'a [u8]),
    /// Another protocol, such as ARP.
    NotIp,
    /// The number of an unsupported link type, in a pcapng.
    LinkType(u32),
}

/// Reads the frames of a capture in order.
#[derive(Debug)]
pub struct Reader<R> {
    from: Source<R>,
    format: Format,
    buffer: Vec<u8>,
}

/// A frame whose bytes are in the reader's buffer. `packet` is the range of the IP packet; or the
/// unsupported link type; or `None` for another protocol.
struct Located {
    at: Duration,
    missing: u32,
    packet: Result<Range<usize>, Option<u32>>,
}

impl<R: Read> Reader<R> {
    /// Reads the file header of a capture.
    ///
    /// # Errors
    /// If it is not a capture, or the link type is not supported.
    pub fn new(from: R) -> Result<Self, PcapError> {
        let mut from = Source::new(from);
        let format = read_format(&mut from)?;
        Ok(Self { from, format, buffer: Vec::new() })
    }

    /// The next IP packet; `None` at the end. Skips other protocols.
    ///
    /// # Errors
    /// If the file is damaged. Do not read on.
    pub fn next_packet(&mut self) -> Result<Option<Captured<'_>>, PcapError> {
        loop {
            let Some(read) = self.read()? else { return Ok(None) };
            if let Ok(range) = read.packet {
                return Ok(Some(Captured { at: read.at, bytes: &self.buffer[range] }));
            }
        }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// If the file is damaged. Do not read on.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, PcapError> {
        let Some(read) = self.read()? else { return Ok(None) };
        let content = match read.packet {
            Ok(range) => Content::Packet(&self.buffer[range]),
            Err(Some(link)) => Content::LinkType(link),
            Err(None) => Content::NotIp,
        };
        Ok(Some(Frame { number: self.from.position().frame, at: read.at, missing: read.missing, content }))
    }

    fn read(&mut self) -> Result<Option<Located>, PcapError> {
        let Some(record) = self.format.next_frame(&mut self.from, &mut self.buffer)? else { return Ok(None) };
        let packet = match record.link {
            Ok(link) => packet_in(link, &self.buffer).ok_or(None),
            Err(number) => Err(Some(number)),
        };
        Ok(Some(Located { at: record.at, missing: record.missing, packet }))
    }
}

/// Writes packets to a pcap of raw IP.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// The error of writing.
    pub fn new(mut to: W) -> io::Result<Self> {
        let numbers = [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, MAX_RECORD as u32, 101];
        for number in numbers {
            to.write_all(&number.to_le_bytes())?;
        }
        Ok(Self { to })
    }

    /// Writes a packet with its capture time `at`, since 1970. Times after 2106 become 2106.
    ///
    /// # Errors
    /// The error of writing.
    pub fn write(&mut self, at: Duration, packet: &[u8]) -> io::Result<()> {
        let len = packet.len() as u32;
        let secs = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        for number in [secs, at.subsec_nanos(), len, len] {
            self.to.write_all(&number.to_le_bytes())?;
        }
        self.to.write_all(packet)
    }

    /// The underlying writer.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Flushes the underlying writer.
    ///
    /// # Errors
    /// The error of flushing.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
