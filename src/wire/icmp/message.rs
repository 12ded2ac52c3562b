//! Types of ICMP messages, and the parsed ICMP error.

/// Length of the header of every translated message, in bytes.
pub const HEADER: usize = 8;
/// Offset of the checksum, in bytes.
pub const CHECKSUM: usize = 2;
/// Offset of the identifier of an echo, in bytes.
pub const IDENTIFIER: usize = 4;

/// ICMPv4 types.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (deprecated by RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER: u8 = 12;

    /// Whether this type is an error. No error is sent about an error (RFC 1812 §4.3.2.7).
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER)
    }
}

/// ICMPv6 types.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER: u8 = 4;
    /// Echo request.
    pub const ECHO: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Redirect (RFC 4861).
    pub const REDIRECT: u8 = 137;

    /// Whether this type is an error or a redirect. No error is sent about either (RFC 4443 §2.4 e).
    pub const fn is_error(kind: u8) -> bool {
        kind < ECHO || kind == REDIRECT
    }
}

/// A parsed ICMP error with valid layout and checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError<Q> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Second 32-bit word: MTU, pointer, or length attribute.
    pub info: u32,
    /// The quoted packet.
    pub quoted: Q,
    /// Offset of the RFC 4884 extension, in bytes from the start of the outer packet.
    pub extension_at: usize,
    /// Length of the extension in bytes; 0 if there is none.
    pub extension_len: usize,
}
