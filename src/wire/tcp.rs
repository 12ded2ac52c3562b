//! TCP headers (RFC 9293 §3.1).

use core::fmt;

use super::u16_at;

/// Length of a header without options, in bytes.
pub const HEADER: usize = 20;
/// Offset of the sequence number, in bytes.
pub const SEQUENCE: usize = 4;
/// Offset of the acknowledgment number, in bytes.
pub const ACKNOWLEDGMENT: usize = 8;
/// Offset of the flags, in bytes.
pub const FLAGS: usize = 13;
/// Offset of the checksum, in bytes.
pub const CHECKSUM: usize = 16;

/// The flags of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Aborts a connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The union with `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// These flags without `flags`.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// Whether the combination is valid: at most one of SYN, FIN and RST, and at least one flag other than ECE
    /// and CWR.
    pub const fn are_valid(self) -> bool {
        let opens_or_ends = self.0 & (Self::SYN.0 | Self::FIN.0 | Self::RST.0);
        opens_or_ends.count_ones() <= 1 && self.0 & 0x3f != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in "FSRPAUEC".chars().enumerate() {
            if self.0 & 1 << bit != 0 {
                write!(f, "{letter}")?;
            }
        }
        write!(f, "({:#04x})", self.0)
    }
}

/// Length of the TCP header at the start of `segment` with options, in bytes; `None` if it is truncated or
/// invalid.
pub fn header_len(segment: &[u8]) -> Option<usize> {
    let fixed = segment.first_chunk::<HEADER>()?;
    let len = usize::from(fixed[12] >> 4) * 4;
    (HEADER..=segment.len()).contains(&len).then_some(len)
}

/// Offset of the MSS option's value in a complete TCP header, in bytes.
pub fn mss_at(header: &[u8]) -> Option<usize> {
    const END: u8 = 0;
    const PADDING: u8 = 1;
    const MSS: u8 = 2;
    let mut at = HEADER;
    while at < header.len() {
        match header[at] {
            END => return None,
            PADDING => at += 1,
            kind => {
                let len = usize::from(*header.get(at + 1)?);
                if len < 2 || at + len > header.len() {
                    return None;
                }
                if kind == MSS && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
    None
}

/// The MSS option of a complete TCP header, in bytes.
pub fn mss(header: &[u8]) -> Option<u16> {
    mss_at(header).map(|at| u16_at(header, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(options);
        bytes[12] = (bytes.len() as u8 / 4) << 4;
        bytes
    }

    #[test]
    fn header_lengths() {
        assert_eq!(header_len(&header(&[])), Some(20));
        assert_eq!(header_len(&header(&[1; 40])), Some(60));
        assert_eq!(header_len(&[0; 19]), None);
        let mut short = header(&[]);
        short[12] = 0x40;
        assert_eq!(header_len(&short), None);
        short[12] = 0x60;
        assert_eq!(header_len(&short), None);
    }

    #[test]
    fn the_mss_option_is_found_at_any_position() {
        let cases: [(&[u8], Option<u16>); 7] = [
            (&[2, 4, 5, 0xb4], Some(1460)),
            (&[1, 2, 4, 5, 0xb4, 0, 0, 0], Some(1460)),
            (&[4, 2, 2, 4, 5, 0xb4, 0, 0], Some(1460)),
            (&[0, 2, 4, 5], None),
            (&[8, 0, 2, 4], None),
            (&[8, 10, 2, 4], None),
            (&[1, 1, 1, 2], None),
        ];
        for (options, want) in cases {
            assert_eq!(mss(&header(options)), want, "{options:?}");
        }
    }

    #[test]
    fn invalid_flag_combinations() {
        let valid = [Flags::SYN, Flags::SYN.with(Flags::ACK), Flags::FIN.with(Flags::ACK), Flags::RST];
        assert!(valid.iter().all(|f| f.are_valid()));
        let invalid = [Flags(0), Flags::SYN.with(Flags::FIN), Flags::SYN.with(Flags::RST), Flags::CWR];
        assert!(!invalid.iter().any(|f| f.are_valid()));
    }
}
