//! The two file formats: reads one record at a time, with its length and capture time.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::error::{PcapError, Position};
use super::link::Link;

/// Maximum length of a record in bytes; Linux captures at most 256 KiB of a packet.
pub(super) const MAX_RECORD: usize = 256 << 10;

/// The format of a file, and the state that its records depend on.
#[derive(Debug)]
pub(super) enum Format {
    Pcap { big: bool, nanos: bool, link: Link },
    Pcapng { big: bool, interfaces: Vec<Interface> },
}

/// An interface of a pcapng section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    /// Its link type, or the number of an unsupported one.
    link: Result<Link, u32>,
    /// Timestamp units per second.
    per_second: u64,
    /// Seconds added to every timestamp.
    offset: i64,
}

/// Metadata of a frame whose bytes are in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Its link type, or the number of an unsupported one.
    pub(super) link: Result<Link, u32>,
    /// Capture time, since 1970.
    pub(super) at: Duration,
    /// Number of bytes of the frame that were not captured.
    pub(super) missing: u32,
}

// Block types of pcapng.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

// Options of an interface: `if_tsresol` and `if_tsoffset`.
const RESOLUTION: u32 = 9;
const OFFSET: u32 = 14;

fn number(bytes: &[u8], at: usize, big: bool) -> u32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

/// The two 16-bit numbers at `at`.
fn pair(bytes: &[u8], at: usize, big: bool) -> (u32, u32) {
    let word = number(bytes, at, big);
    if big { (word >> 16, word & 0xffff) } else { (word & 0xffff, word >> 16) }
}

/// The file and the current position in it.
#[derive(Debug)]
pub(super) struct Source<R> {
    from: R,
    read: u64,
    position: Position,
}

impl<R: Read> Source<R> {
    pub(super) const fn new(from: R) -> Self {
        Self { from, read: 0, position: Position { frame: 0, offset: 0 } }
    }

    /// The position of the current frame.
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// Reads a header of `N` bytes; `None` if the file ends before it.
    fn head<const N: usize>(&mut self) -> Result<Option<[u8; N]>, PcapError> {
        self.position.offset = self.read;
        let mut head = [0; N];
        match self.read_full(&mut head)? {
            0 => Ok(None),
            n if n == N => Ok(Some(head)),
            _ => Err(PcapError::CutOff(self.position)),
        }
    }

    /// Fills `buffer` with the next `len` bytes.
    fn fill(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<(), PcapError> {
        buffer.clear();
        buffer.resize(len, 0);
        if self.read_full(buffer)? == len { Ok(()) } else { Err(PcapError::CutOff(self.position)) }
    }

    /// Reads until `into` is full or the file ends. Returns the number of bytes.
    fn read_full(&mut self, into: &mut [u8]) -> Result<usize, PcapError> {
        let mut have = 0;
        while have < into.len() {
            match self.from.read(&mut into[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.read += have as u64;
        Ok(have)
    }

    const fn invalid_length(&self, len: u64) -> PcapError {
        PcapError::Length(self.position, len)
    }
}

/// Reads the file header.
pub(super) fn read_format(from: &mut Source<impl Read>) -> Result<Format, PcapError> {
    let first = from.head::<12>().map_err(|_| PcapError::Magic)?.ok_or(PcapError::Magic)?;
    if number(&first, 0, true) == SECTION {
        let big = byte_order(&first[8..]).ok_or(PcapError::Magic)?;
        skip_section(from, number(&first, 4, big))?;
        return Ok(Format::Pcapng { big, interfaces: Vec::new() });
    }
    let (big, nanos) = match number(&first, 0, true) {
        0xa1b2_c3d4 => (true, false),
        0xd4c3_b2a1 => (false, false),
        0xa1b2_3c4d => (true, true),
        0x4d3c_b2a1 => (false, true),
        _ => return Err(PcapError::Magic),
    };
    let mut rest = Vec::new();
    from.fill(&mut rest, 12)?;
    let link = Link::of(number(&rest, 8, big) & 0xffff).map_err(PcapError::LinkType)?;
    Ok(Format::Pcap { big, nanos, link })
}

/// Whether a section is big-endian; `None` if the magic number is wrong.
fn byte_order(magic: &[u8]) -> Option<bool> {
    match number(magic, 0, true) {
        0x1a2b_3c4d => Some(true),
        0x4d3c_2b1a => Some(false),
        _ => None,
    }
}

/// Skips the rest of a section header, of whose `total` bytes 12 have been read.
fn skip_section(from: &mut Source<impl Read>, total: u32) -> Result<(), PcapError> {
    let rest = (total as usize).checked_sub(12).filter(|len| *len <= MAX_RECORD);
    let rest = rest.ok_or_else(|| from.invalid_length(total.into()))?;
    from.fill(&mut Vec::new(), rest)
}

impl Format {
    /// Reads the next frame; `None` at the end. Afterwards `buffer` contains exactly its bytes.
    pub(super) fn next_frame(
        &mut self,
        from: &mut Source<impl Read>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Record>, PcapError> {
        from.position.frame += 1;
        match self {
            Self::Pcap { big, nanos, link } => {
                let Some(head) = from.head::<16>()? else { return Ok(None) };
                let (len, wire) = (number(&head, 8, *big), number(&head, 12, *big));
                if len as usize > MAX_RECORD {
                    return Err(from.invalid_length(len.into()));
                }
                from.fill(buffer, len as usize)?;
                let fraction = number(&head, 4, *big);
                let fraction = if *nanos { fraction } else { fraction.saturating_mul(1000) };
                let at = Duration::from_secs(number(&head, 0, *big).into())
                    + Duration::from_nanos(fraction.into());
                Ok(Some(Record { link: Ok(*link), at, missing: wire.saturating_sub(len) }))
            }
            Self::Pcapng { big, interfaces } => loop {
                match read_block(big, interfaces, from, buffer)? {
                    Block::End => return Ok(None),
                    Block::Frame(record) => return Ok(Some(record)),
                    Block::Other => {}
                }
            },
        }
    }
}

/// A block of a pcapng.
enum Block {
    Frame(Record),
    Other,
    End,
}

fn read_block(
    big: &mut bool,
    interfaces: &mut Vec<Interface>,
    from: &mut Source<impl Read>,
    buffer: &mut Vec<u8>,
) -> Result<Block, PcapError> {
    let Some(head) = from.head::<8>()? else { return Ok(Block::End) };
    if number(&head, 0, true) == SECTION {
        // A new section may have the other byte order.
        from.fill(buffer, 4)?;
        *big = byte_order(buffer).ok_or_else(|| from.invalid_length(number(&head, 4, true).into()))?;
        interfaces.clear();
        skip_section(from, number(&head, 4, *big))?;
        return Ok(Block::Other);
    }
    let total = number(&head, 4, *big);
    let len = (total as usize).checked_sub(12).filter(|len| *len <= MAX_RECORD);
    let len = len.ok_or_else(|| from.invalid_length(total.into()))?;
    from.fill(buffer, len + 4)?;
    if number(buffer, len, *big) != total {
        // A block starts and ends with its length.
        return Err(from.invalid_length(number(buffer, len, *big).into()));
    }
    buffer.truncate(len);
    let frame = match number(&head, 0, *big) {
        INTERFACE => {
            interfaces.push(Interface::read(buffer, *big));
            return Ok(Block::Other);
        }
        ENHANCED => packet_block(buffer, *big, number(buffer, 0, *big), interfaces),
        OBSOLETE_PACKET => packet_block(buffer, *big, pair(buffer, 0, *big).0, interfaces),
        SIMPLE => {
            let wire = number(buffer, 0, *big);
            let captured = (wire as usize).min(len.saturating_sub(4));
            interfaces.first().and_then(|interface| {
                keep(buffer, 4, captured)?;
                let missing = wire - captured as u32;
                Some(Record { link: interface.link, at: Duration::ZERO, missing })
            })
        }
        _ => return Ok(Block::Other),
    };
    frame.map(Block::Frame).ok_or_else(|| from.invalid_length(total.into()))
}

/// The frame of an enhanced or obsolete packet block, which differ only in the first word. `None` if
/// the lengths or the interface number are invalid.
fn packet_block(buffer: &mut Vec<u8>, big: bool, interface: u32, interfaces: &[Interface]) -> Option<Record> {
    let interface = interfaces.get(interface as usize)?;
    let units = u64::from(number(buffer, 4, big)) << 32 | u64::from(number(buffer, 8, big));
    let (captured, wire) = (number(buffer, 12, big), number(buffer, 16, big));
    keep(buffer, 20, captured as usize)?;
    Some(Record { link: interface.link, at: interface.time(units), missing: wire.saturating_sub(captured) })
}

/// Removes all but these bytes from the buffer; `None` if there are fewer.
fn keep(buffer: &mut Vec<u8>, at: usize, len: usize) -> Option<()> {
    buffer.get(at..at.checked_add(len)?)?;
    buffer.truncate(at + len);
    buffer.drain(..at);
    Some(())
}

impl Interface {
    /// Reads an interface description block: link type, timestamp resolution and offset.
    fn read(block: &[u8], big: bool) -> Self {
        let (link, _) = pair(block, 0, big);
        let mut interface = Self { link: Link::of(link), per_second: 1_000_000, offset: 0 };
        let mut at = 8;
        while let Some(value) = block.get(at + 4..) {
            let (code, len) = pair(block, at, big);
            match code {
                0 => break,
                RESOLUTION => {
                    let exponent = value.first().copied().unwrap_or(6);
                    let base: u64 = if exponent & 0x80 == 0 { 10 } else { 2 };
                    interface.per_second =
                        base.checked_pow((exponent & 0x7f).into()).unwrap_or(interface.per_second);
                }
                OFFSET => {
                    let (first, second) = (number(value, 0, big), number(value, 4, big));
                    let (high, low) = if big { (first, second) } else { (second, first) };
                    interface.offset = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                _ => {}
            }
            at += 4 + (len as usize).next_multiple_of(4);
        }
        interface
    }

    fn time(self, units: u64) -> Duration {
        let nanos = u128::from(units % self.per_second) * 1_000_000_000 / u128::from(self.per_second);
        let secs = (units / self.per_second).saturating_add_signed(self.offset);
        Duration::from_secs(secs) + Duration::from_nanos(nanos as u64)
    }
}
