//! Transport protocols of stateful translation (RFC 6146 §3.1).

/// A transport protocol with its own BIB and session table (RFC 6146 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Proto {
    /// TCP, with the state machine of RFC 6146 §3.5.2.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP queries; the identifier takes the role of the port.
    Icmp,
}

impl Proto {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// The name in metrics, logs and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}
