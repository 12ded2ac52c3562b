//! Settings for the translation of one packet.

/// How the TOS byte or traffic class is translated (RFC 7915 §4.1, §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrafficClass {
    /// Copies all eight bits.
    #[default]
    Copy,
    /// Sets this value on all packets.
    Set(u8),
}

/// Plateau MTUs in bytes, for ICMP errors of routers that report no MTU (RFC 1191 §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plateaus([u16; Self::MAX]);

impl Plateaus {
    /// Maximum number of plateaus.
    pub const MAX: usize = 16;

    /// The plateaus of RFC 1191 table 7-1 that exceed the IPv6 minimum MTU.
    pub const RFC_1191: Self = Self([65535, 32000, 17914, 8166, 4352, 2002, 1492, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// Takes MTUs in any order; `None` if there are more than [`MAX`](Self::MAX).
    pub fn new(mtus: &[u16]) -> Option<Self> {
        let mut all = [0; Self::MAX];
        all.get_mut(..mtus.len())?.copy_from_slice(mtus);
        all.sort_unstable_by(|a, b| b.cmp(a));
        Some(Self(all))
    }

    /// The greatest plateau below `len` bytes; 0 if there is none.
    pub(super) fn below(&self, len: usize) -> u16 {
        self.0.into_iter().find(|mtu| usize::from(*mtu) < len).unwrap_or(0)
    }
}

/// Options that RFC 7915 leaves to the operator, and the MTUs of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RewriteRules {
    /// Next-hop MTU of the IPv6 side, 1,280 to 65,535 bytes.
    pub mtu6: u16,
    /// Next-hop MTU of the IPv4 side, 68 to 65,535 bytes.
    pub mtu4: u16,
    /// Fragment size for IPv4 packets with DF clear, 1,280 to `mtu6` bytes (RFC 7915 §4).
    pub lowest_ipv6_mtu: u16,
    /// MTUs assumed for ICMPv4 errors that report none (RFC 7915 §4.2).
    pub plateaus: Plateaus,
    /// Traffic class of packets to the IPv6 side.
    pub traffic_class: TrafficClass,
    /// TOS of packets to the IPv4 side.
    pub tos: TrafficClass,
    /// Whether the MSS option of SYNs is lowered to fit both MTUs.
    pub mss_clamp: bool,
    /// Whether a TCP super-packet whose segments exceed the MTU gets a smaller segment size. Otherwise its
    /// sender receives a Packet Too Big error.
    pub tcp_resegment: bool,
    /// Whether refusals by the deny list, by the rules of zones and by the rule of the Well-Known Prefix send no ICMP error.
    pub silent_refusals: bool,
    /// Whether a zone host receives a RST for a TCP segment of an unknown session.
    pub reset_unknown_tcp: bool,
    /// Rate limit for originated ICMP errors per second, to IPv6 and to IPv4, of all workers together; 0 sends
    /// none (RFC 4443 §2.4 f).
    pub error_rate: [u32; 2],
    /// Burst size of the rate limit, in errors of all workers together.
    pub error_burst: u32,
}

impl Default for RewriteRules {
    fn default() -> Self {
        Self {
            mtu6: 1500,
            mtu4: 1500,
            lowest_ipv6_mtu: 1280,
            plateaus: Plateaus::RFC_1191,
            traffic_class: TrafficClass::Copy,
            tos: TrafficClass::Copy,
            mss_clamp: false,
            tcp_resegment: false,
            silent_refusals: false,
            reset_unknown_tcp: true,
            error_rate: [100; 2],
            error_burst: 100,
        }
    }
}
