//! Capture files: read as packets that came, written as packets that went.
//!
//! Read are pcap in both byte orders and both resolutions, and pcapng; packets of raw IP, Ethernet
//! (VLAN tags skipped), loopback and Linux's "cooked" capture. Written is pcap of raw IP.

mod device;
mod link;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Duration;

pub use device::PcapDevice;
use link::{Link, packet_in};
use record::{Form, Source, read_form};

/// The longest record that is read: no capture has longer packets.
const LONGEST: usize = 256 << 10;

/// A place in a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The frame that is read, counted from 1 as packet analysers do.
    pub frame: u64,
    /// Where its record begins, in bytes from the start of the file.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}, at byte {} of the file", self.frame, self.offset)
    }
}

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
    #[error("{0}: the file is damaged, {1} is an impossible length")]
    Length(Place, u64),
    /// It ends in the middle of a record.
    #[error("{0}: the file ends in the middle of it")]
    CutOff(Place),
    /// All its packets are of a link type that is not read.
    #[error("link type {0} is not read: only raw IP, Ethernet, loopback and Linux cooked are")]
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

/// A frame of a capture, whatever it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its number, counted from 1.
    pub number: u64,
    /// When it was captured, since 1970.
    pub at: Duration,
    /// Bytes at its end that were not captured.
    pub missing: u32,
    /// What is in it.
    pub content: Content<'a>,
}

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// An IP packet from its header on, without a link's padding. On a link of raw IP whatever there
    /// is.
    Packet(&'a [u8]),
    /// Something else, such as ARP.
    NotIp,
    /// It is of a link type that is not read, in a file that has others as well.
    LinkType(u32),
}

/// Reads the frames of a capture, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    from: Source<R>,
    form: Form,
    buffer: Vec<u8>,
}

/// A frame whose bytes lie in the reader's buffer.
struct Located {
    at: Duration,
    missing: u32,
    packet: Result<Range<usize>, Option<u32>>,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a capture.
    ///
    /// # Errors
    /// If it is none, or of a link type that is not read.
    pub fn new(from: R) -> Result<Self, PcapError> {
        let mut from = Source::new(from);
        let form = read_form(&mut from)?;
        Ok(Self { from, form, buffer: Vec::new() })
    }

    /// The next IP packet; `None` at the end. What is no IP is passed over.
    ///
    /// # Errors
    /// If the file is damaged. Nothing useful comes afterwards.
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
    /// If the file is damaged. Nothing useful comes afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, PcapError> {
        let Some(read) = self.read()? else { return Ok(None) };
        let content = match read.packet {
            Ok(range) => Content::Packet(&self.buffer[range]),
            Err(Some(link)) => Content::LinkType(link),
            Err(None) => Content::NotIp,
        };
        Ok(Some(Frame { number: self.from.place().frame, at: read.at, missing: read.missing, content }))
    }

    fn read(&mut self) -> Result<Option<Located>, PcapError> {
        let Some(record) = self.form.next_frame(&mut self.from, &mut self.buffer)? else { return Ok(None) };
        let packet = match record.link {
            Ok(link) => packet_in(link, &self.buffer).ok_or(None),
            Err(number) => Err(Some(number)),
        };
        Ok(Some(Located { at: record.at, missing: record.missing, packet }))
    }
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

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Passes on what is buffered below.
    ///
    /// # Errors
    /// What flushing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
