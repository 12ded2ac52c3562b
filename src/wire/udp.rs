//! UDP headers (RFC 768).

use super::u16_at;

/// Length of a header, in bytes.
pub const HEADER: usize = 8;
/// Offset of the length, in bytes.
pub const LENGTH: usize = 4;
/// Offset of the checksum, in bytes.
pub const CHECKSUM: usize = 6;

/// Whether `datagram` starts with a complete header and a valid length. `whole`: the datagram is not a
/// fragment, so the length must not exceed it.
pub fn is_valid(datagram: &[u8], whole: bool) -> bool {
    if datagram.len() < HEADER {
        return false;
    }
    let len = usize::from(u16_at(datagram, LENGTH));
    len >= HEADER && (!whole || len <= datagram.len())
}
