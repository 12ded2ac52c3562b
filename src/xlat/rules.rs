//! What the operator decides about rewriting one packet.

/// What becomes of the TOS byte or traffic class (RFC 7915 §4.1, §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrafficClass {
    /// All eight bits are copied.
    #[default]
    Copy,
    /// All packets get this value.
    Set(u8),
}

/// Path MTUs to guess where a router says none (RFC 1191 §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plateaus([u16; Self::MOST]);

impl Plateaus {
    /// Most of them.
    pub const MOST: usize = 16;

    /// Those of RFC 1191, table 7-1, as far as they are above what IPv6 can do.
    pub const RFC_1191: Self = Self([65535, 32000, 17914, 8166, 4352, 2002, 1492, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// These, in any order; `None` if there are more than [`MOST`](Self::MOST).
    pub fn new(mtus: &[u16]) -> Option<Self> {
        let mut all = [0; Self::MOST];
        all.get_mut(..mtus.len())?.copy_from_slice(mtus);
        all.sort_unstable_by(|a, b| b.cmp(a));
        Some(Self(all))
    }

    /// The greatest below `len`; 0 if none is.
    pub(super) fn below(&self, len: usize) -> u16 {
        self.0.into_iter().find(|mtu| usize::from(*mtu) < len).unwrap_or(0)
    }
}

/// Choices that RFC 7915 leaves to the operator, and the MTUs of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Next-hop MTU of the IPv6 side, 1,280 to 65,535 bytes.
    pub mtu6: u16,
    /// Next-hop MTU of the IPv4 side, 68 to 65,535 bytes.
    pub mtu4: u16,
    /// A packet that may be fragmented is cut so that no fragment is longer (RFC 7915 §4); 1,280
    /// to `mtu6`.
    pub lowest_ipv6_mtu: u16,
    /// What an ICMPv4 error without an MTU may mean (RFC 7915 §4.2).
    pub plateaus: Plateaus,
    /// Traffic class of packets to the IPv6 side.
    pub traffic_class: TrafficClass,
    /// TOS of packets to the IPv4 side.
    pub tos: TrafficClass,
    /// Whether the MSS option of SYNs is lowered to what fits both MTUs.
    pub mss_clamp: bool,
    /// Whether a TCP super-packet whose segments don't fit is given a smaller segment size instead
    /// of a "too big" answer.
    pub tcp_resegment: bool,
    /// Most ICMP errors of our own per second, towards IPv6 and IPv4; 0 sends none (RFC 4443 §2.4 f).
    pub error_rate: [u32; 2],
    /// How many of them may come at once.
    pub error_burst: u32,
}

impl Default for Rules {
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
            error_rate: [100; 2],
            error_burst: 100,
        }
    }
}
