//! Writes pcapng (draft-ietf-opsawg-pcapng) of raw IP packets with comments.

use std::io::{self, Write};

/// Link type of raw IPv4 and IPv6 packets.
const LINKTYPE_RAW: u16 = 101;

/// Block types.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// Options.
const COMMENT: u16 = 1;
const RESOLUTION: u16 = 9;

/// A pcapng file that is written.
#[derive(Debug)]
pub(super) struct Writer<W>(W);

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    /// Length of the whole packet.
    pub(super) len: u32,
    /// Its first bytes.
    pub(super) bytes: &'a [u8],
    /// What happened to it.
    pub(super) comment: &'a str,
}

impl<W: Write> Writer<W> {
    /// Begins a file with one interface.
    ///
    /// # Errors
    /// The error of writing.
    pub(super) fn new(to: W) -> io::Result<Self> {
        let mut writer = Self(to);
        // Byte order, version 1.0, and a section of unknown length.
        let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        writer.block(SECTION, &section)?;
        let mut interface = [&LINKTYPE_RAW.to_le_bytes()[..], &[0; 6]].concat();
        // Nanoseconds.
        add_option(&mut interface, RESOLUTION, &[9]);
        end_options(&mut interface);
        writer.block(INTERFACE, &interface)?;
        Ok(writer)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// The error of writing.
    pub(super) fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let numbers = [0, (packet.at >> 32) as u32, packet.at as u32, packet.bytes.len() as u32, packet.len];
        let mut body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        body.extend(packet.bytes);
        pad(&mut body);
        add_option(&mut body, COMMENT, packet.comment.as_bytes());
        end_options(&mut body);
        self.block(PACKET, &body)?;
        // Readers such as `tail -f | tshark` see each packet at once.
        self.0.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let len = (body.len() as u32 + 12).to_le_bytes();
        self.0.write_all(&[&kind.to_le_bytes()[..], &len, body, &len].concat())
    }
}

fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Comments are short.
    body.extend([code.to_le_bytes(), (value.len() as u16).to_le_bytes()].concat());
    body.extend(value);
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Pads to 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::pcap::Reader;
    use std::time::Duration;

    #[test]
    fn what_is_written_can_be_read() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).expect("in memory");
        let first = [&[0x60; 40][..], &[7; 3]].concat();
        for (bytes, len) in [(&first, 43), (&vec![0x45; 20], 1500)] {
            let at = 1_700_000_000_123_456_789;
            writer.write(&Packet { at, len, bytes, comment: "dropped: no_zone" }).expect("in memory");
        }
        let mut reader = Reader::new(&file[..]).expect("a section");
        let packet = reader.next_packet().expect("valid").expect("a packet");
        assert_eq!((packet.at, packet.bytes), (Duration::from_nanos(1_700_000_000_123_456_789), &first[..]));
        let frame = reader.next_frame().expect("valid").expect("a packet");
        assert_eq!(frame.missing, 1480);
        assert!(reader.next_frame().expect("valid").is_none());
        assert!(file.windows(16).any(|bytes| bytes == b"dropped: no_zone"));
    }
}
