//! Link-layer headers in front of the IP header.

use std::ops::Range;

/// The supported link types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Raw,
    Ethernet,
    Loopback,
    Cooked,
    Cooked2,
}

impl Link {
    /// The link type with this number of the tcpdump.org registry. 12 and 14 are raw IP on some systems.
    ///
    /// # Errors
    /// The number, if it is not supported.
    pub(super) const fn of(number: u32) -> Result<Self, u32> {
        match number {
            12 | 14 | 101 | 228 | 229 => Ok(Self::Raw),
            1 => Ok(Self::Ethernet),
            0 | 108 => Ok(Self::Loopback),
            113 => Ok(Self::Cooked),
            276 => Ok(Self::Cooked2),
            other => Err(other),
        }
    }
}

/// The range of the IP packet in a frame, cut to the length in its header; `None` for another protocol.
/// Raw IP has no padding and is neither cut nor checked.
pub(super) fn packet_in(link: Link, frame: &[u8]) -> Option<Range<usize>> {
    let start = match link {
        Link::Raw => return Some(0..frame.len()),
        Link::Ethernet => {
            let mut at = 12;
            while matches!(frame.get(at..at + 2)?, [0x81 | 0x91, 0] | [0x88, 0xa8]) {
                at += 4;
            }
            is_ip(frame, at)?;
            at + 2
        }
        // The address family's number differs between systems; the IP version decides below.
        Link::Loopback => 4,
        Link::Cooked => {
            is_ip(frame, 14)?;
            16
        }
        Link::Cooked2 => {
            is_ip(frame, 0)?;
            20
        }
    };
    let packet = frame.get(start..)?;
    let word =
        |at: usize| packet.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    let header_says = match packet.first()? >> 4 {
        4 => word(2)?,
        6 => word(4)? + 40,
        _ => return None,
    };
    // Drivers with segmentation offload write 0 into a super-packet. Lengths below a header are ignored.
    let len = if header_says < 20 { packet.len() } else { header_says.min(packet.len()) };
    Some(start..start + len)
}

/// Whether the EtherType at `at` is that of IPv4 or IPv6.
fn is_ip(frame: &[u8], at: usize) -> Option<()> {
    matches!(frame.get(at..at + 2)?, [8, 0] | [0x86, 0xdd]).then_some(())
}
