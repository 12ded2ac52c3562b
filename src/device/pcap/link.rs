//! What stands in front of the IP header.

use std::ops::Range;

/// How packets are framed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Raw,
    Ethernet,
    Loopback,
    Cooked,
    Cooked2,
}

impl Link {
    /// Numbers of the tcpdump.org registry; 12 and 14 are raw IP on some systems.
    ///
    /// # Errors
    /// The number, if it is not read.
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

/// Where the IP packet is in a frame, cut to the length that its header says; `None` if there is
/// none. Raw IP has no padding, so that nothing is cut there and nothing judged.
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
        // The address family has another number on every system: the IP version tells as much.
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
    let said = match packet.first()? >> 4 {
        4 => word(2)?,
        6 => word(4)? + 40,
        _ => return None,
    };
    // Zero is what offloading drivers write into a super-packet; less than a header is not to be
    // believed.
    let len = if said < 20 { packet.len() } else { said.min(packet.len()) };
    Some(start..start + len)
}

/// Whether the EtherType at `at` is that of IPv4 or IPv6.
fn is_ip(frame: &[u8], at: usize) -> Option<()> {
    matches!(frame.get(at..at + 2)?, [8, 0] | [0x86, 0xdd]).then_some(())
}
