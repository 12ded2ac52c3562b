//! Transport protocols of stateful translation (RFC 6146 §3.1).

named_enum! {
    /// A transport protocol with its own BIB and session table (RFC 6146 §3.1).
    pub enum Proto {
        /// TCP, with the state machine of RFC 6146 §3.5.2.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// ICMP queries; the identifier takes the role of the port.
        Icmp = "icmp",
    }
}
