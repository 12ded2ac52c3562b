//! An independent check of every output: etherparse parses it and verifies its checksums.

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gate64::wire::buf::Checksum;

/// The error in an output packet. `good` says whether its transport checksum must be right; fragments and
/// partial checksums are not verified.
pub(crate) fn judge(bytes: &[u8], checksum: Checksum, good: bool) -> Result<(), String> {
    let sliced = SlicedPacket::from_ip(bytes).map_err(|e| format!("etherparse can't read it: {e}"))?;
    let whole = match sliced.net.as_ref() {
        Some(NetSlice::Ipv4(v4)) => {
            let header = v4.header().to_header();
            if header.calc_header_checksum() != header.header_checksum {
                return Err("the IPv4 header checksum is wrong".into());
            }
            if usize::from(header.total_len) != bytes.len() {
                return Err(format!("total length {} of {} bytes", header.total_len, bytes.len()));
            }
            !v4.payload().fragmented
        }
        Some(NetSlice::Ipv6(v6)) => {
            let len = usize::from(v6.header().payload_length()) + 40;
            if len != bytes.len() {
                return Err(format!("payload length {} of {} bytes", len - 40, bytes.len()));
            }
            !v6.payload().fragmented
        }
        _ => return Err("etherparse sees no IP packet".into()),
    };
    if !whole || checksum == Checksum::Partial {
        return Ok(());
    }
    match transport_of(&sliced) {
        Some(right) if right != good => {
            Err(format!("its checksum is {}, but must not be", if right { "right" } else { "wrong" }))
        }
        _ => Ok(()),
    }
}

/// Whether the transport checksum of a whole packet is right; `None` if it has none or can't be parsed.
pub(crate) fn transport_is_right(bytes: &[u8]) -> Option<bool> {
    let sliced = SlicedPacket::from_ip(bytes).ok()?;
    let whole = match sliced.net.as_ref()? {
        NetSlice::Ipv4(v4) => !v4.payload().fragmented,
        NetSlice::Ipv6(v6) => !v6.payload().fragmented,
        _ => false,
    };
    whole.then(|| transport_of(&sliced)).flatten()
}

/// `None` if there is no transport checksum.
fn transport_of(sliced: &SlicedPacket<'_>) -> Option<bool> {
    let net = sliced.net.as_ref()?;
    let right = match (net, sliced.transport.as_ref()?) {
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let sum =
                header.calc_checksum_ipv4_raw(ip.header().source(), ip.header().destination(), udp.payload());
            sum.ok()? == header.checksum
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let sum =
                header.calc_checksum_ipv6_raw(ip.header().source(), ip.header().destination(), udp.payload());
            sum.ok()? == header.checksum
        }
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).ok()? == tcp.checksum()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).ok()? == tcp.checksum()
        }
        (NetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => {
            Sum16BitWords::new().add_slice(icmp.slice()).ones_complement() == 0
        }
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            icmp.is_checksum_valid(ip.header().source(), ip.header().destination())
        }
        _ => return None,
    };
    Some(right)
}
