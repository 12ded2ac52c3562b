//! The two file formats: where a record starts, how long it is, when it was captured.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::{LONGEST, PcapError};

/// What stands in front of the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Raw,
    Ethernet,
    Cooked,
    Cooked2,
}

impl Link {
    /// Numbers of the tcpdump.org registry; 12 and 14 are raw IP on some systems.
    const fn of(number: u32) -> Result<Self, PcapError> {
        match number {
            12 | 14 | 101 | 228 | 229 => Ok(Self::Raw),
            1 => Ok(Self::Ethernet),
            113 => Ok(Self::Cooked),
            276 => Ok(Self::Cooked2),
            other => Err(PcapError::LinkType(other)),
        }
    }
}

/// How the file is to be read.
#[derive(Debug)]
pub(super) enum Form {
    Pcap { big: bool, nanos: bool, link: Link },
    Pcapng { big: bool, interfaces: Vec<Interface> },
}

/// An interface of a pcapng section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    link: Link,
    /// Units of time in a second.
    per_second: u64,
}

/// A packet in the buffer, or a block without one.
type Record = Option<(Link, Duration)>;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

fn number(bytes: &[u8], at: usize, big: bool) -> u32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

/// Reads the file's first header.
pub(super) fn read_form(from: &mut impl Read) -> Result<Form, PcapError> {
    let mut head = [0; 24];
    from.read_exact(&mut head[..12]).map_err(|_| PcapError::Magic)?;
    if number(&head, 0, true) == SECTION {
        let big = match number(&head, 8, true) {
            0x1a2b_3c4d => true,
            0x4d3c_2b1a => false,
            _ => return Err(PcapError::Magic),
        };
        let rest = (number(&head, 4, big) as usize).checked_sub(12).filter(|len| *len <= LONGEST);
        let rest = rest.ok_or_else(|| PcapError::Length(0, number(&head, 4, big).into()))?;
        fill(from, &mut Vec::new(), rest, 0)?;
        return Ok(Form::Pcapng { big, interfaces: Vec::new() });
    }
    let (big, nanos) = match number(&head, 0, true) {
        0xa1b2_c3d4 => (true, false),
        0xd4c3_b2a1 => (false, false),
        0xa1b2_3c4d => (true, true),
        0x4d3c_b2a1 => (false, true),
        _ => return Err(PcapError::Magic),
    };
    from.read_exact(&mut head[12..]).map_err(|_| PcapError::CutOff(0))?;
    Ok(Form::Pcap { big, nanos, link: Link::of(number(&head, 20, big) & 0xffff)? })
}

/// Fills `buffer` with the next `len` bytes.
fn fill(from: &mut impl Read, buffer: &mut Vec<u8>, len: usize, record: u64) -> Result<(), PcapError> {
    buffer.clear();
    buffer.resize(len, 0);
    from.read_exact(buffer).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => PcapError::CutOff(record),
        _ => e.into(),
    })
}

/// Reads a header of `N` bytes; `None` if the file ends before it.
fn head<const N: usize>(from: &mut impl Read, record: u64) -> Result<Option<[u8; N]>, PcapError> {
    let mut head = [0; N];
    let mut have = 0;
    while have < N {
        match from.read(&mut head[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(PcapError::CutOff(record)),
            Ok(n) => have += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Some(head))
}

impl Form {
    /// Reads the next record into `buffer`, where only the packet is left; `None` at the end.
    pub(super) fn read_record(
        &mut self,
        from: &mut impl Read,
        buffer: &mut Vec<u8>,
        record: u64,
    ) -> Result<Option<Record>, PcapError> {
        match self {
            Self::Pcap { big, nanos, link } => {
                let Some(head) = head::<16>(from, record)? else { return Ok(None) };
                let len = number(&head, 8, *big);
                if len as usize > LONGEST {
                    return Err(PcapError::Length(record, len.into()));
                }
                fill(from, buffer, len as usize, record)?;
                let part = number(&head, 4, *big);
                let part = if *nanos { part } else { part.saturating_mul(1000) };
                let at =
                    Duration::from_secs(number(&head, 0, *big).into()) + Duration::from_nanos(part.into());
                Ok(Some(Some((*link, at))))
            }
            Self::Pcapng { big, interfaces } => read_block(big, interfaces, from, buffer, record),
        }
    }
}

fn read_block(
    big: &mut bool,
    interfaces: &mut Vec<Interface>,
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
    record: u64,
) -> Result<Option<Record>, PcapError> {
    let Some(head) = head::<8>(from, record)? else { return Ok(None) };
    let mut rest = 8;
    if number(&head, 0, true) == SECTION {
        // Another section, perhaps of the other byte order.
        let mut magic = [0; 4];
        from.read_exact(&mut magic).map_err(|_| PcapError::CutOff(record))?;
        *big = number(&magic, 0, true) == 0x1a2b_3c4d;
        interfaces.clear();
        rest = 12;
    }
    let total = number(&head, 4, *big);
    let len = (total as usize).checked_sub(rest + 4).filter(|len| *len <= LONGEST);
    let len = len.ok_or_else(|| PcapError::Length(record, total.into()))?;
    fill(from, buffer, len + 4, record)?;
    buffer.truncate(len);
    match number(&head, 0, *big) {
        INTERFACE => {
            // 16 bits, and 16 reserved ones.
            let word = number(buffer, 0, *big);
            let link = Link::of(if *big { word >> 16 } else { word & 0xffff })?;
            interfaces.push(Interface { link, per_second: resolution(buffer, *big) });
            Ok(Some(None))
        }
        ENHANCED => {
            let interface = interfaces.get(number(buffer, 0, *big) as usize).copied();
            let units = u64::from(number(buffer, 4, *big)) << 32 | u64::from(number(buffer, 8, *big));
            let captured = number(buffer, 12, *big) as usize;
            packet(buffer, 20, captured, record)?;
            Ok(Some(interface.map(|i| (i.link, i.time(units)))))
        }
        SIMPLE => {
            let captured = (number(buffer, 0, *big) as usize).min(len.saturating_sub(4));
            packet(buffer, 4, captured, record)?;
            Ok(Some(interfaces.first().map(|i| (i.link, Duration::ZERO))))
        }
        _ => Ok(Some(None)),
    }
}

/// Leaves only the packet in the buffer.
fn packet(buffer: &mut Vec<u8>, at: usize, len: usize, record: u64) -> Result<(), PcapError> {
    if at + len > buffer.len() {
        return Err(PcapError::Length(record, len as u64));
    }
    buffer.truncate(at + len);
    buffer.drain(..at);
    Ok(())
}

impl Interface {
    fn time(self, units: u64) -> Duration {
        let nanos = u128::from(units % self.per_second) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_secs(units / self.per_second) + Duration::from_nanos(nanos as u64)
    }
}

/// The option `if_tsresol` of an interface: units of time in a second, a million if it is absent.
fn resolution(block: &[u8], big: bool) -> u64 {
    let mut at = 8;
    while let Some(option) = block.get(at..at + 4) {
        let word = number(option, 0, big);
        let (code, len) = if big { (word >> 16, word & 0xffff) } else { (word & 0xffff, word >> 16) };
        if code == 9 {
            let value = block.get(at + 4).copied().unwrap_or(6);
            let exponent = u32::from(value & 0x7f);
            let base: u64 = if value & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(exponent).unwrap_or(1_000_000);
        }
        if code == 0 {
            break;
        }
        at += 4 + (len as usize).next_multiple_of(4);
    }
    1_000_000
}
