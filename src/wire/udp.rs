//! UDP headers (RFC 768).

use super::u16_at;

/// Length of a header.
pub const HEADER: usize = 8;
/// Where the length stands.
pub const LENGTH: usize = 4;
/// Where the checksum stands.
pub const CHECKSUM: usize = 6;

/// Whether `datagram` starts with a whole header whose length is possible. `whole` says that the
/// datagram is not a fragment, so that the length must not exceed it.
pub fn is_valid(datagram: &[u8], whole: bool) -> bool {
    if datagram.len() < HEADER {
        return false;
    }
    let len = usize::from(u16_at(datagram, LENGTH));
    len >= HEADER && (!whole || len <= datagram.len())
}
