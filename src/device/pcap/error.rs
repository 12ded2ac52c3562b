//! Why reading a capture failed, and where.

use std::{fmt, io};

/// A position in a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Number of the current frame, from 1 as in Wireshark.
    pub frame: u64,
    /// Offset of its record in bytes.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}, at byte {} of the file", self.frame, self.offset)
    }
}

/// Why reading a capture failed.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The magic number is not one of a capture.
    #[error("neither pcap nor pcapng")]
    Magic,
    /// A length field is invalid.
    #[error("{0}: the file is damaged, {1} is an impossible length")]
    Length(Position, u64),
    /// The file ends within a record.
    #[error("{0}: the file ends in the middle of it")]
    CutOff(Position),
    /// The link type of a pcap is not supported.
    #[error("link type {0} is not supported: only raw IP, Ethernet, loopback and Linux cooked are")]
    LinkType(u32),
}
