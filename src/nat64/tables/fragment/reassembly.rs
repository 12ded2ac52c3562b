//! The headers of a reassembled datagram.

/// Turns the header of a fragment into that of the whole IPv4 packet (RFC 791).
pub(in crate::nat64) fn header4(packet: &mut [u8], header: usize) {
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[6..8].fill(0);
    packet[10..12].fill(0);
    let words = packet[..header].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    packet[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

/// Turns the headers in front of the data at `header` into those of an atomic fragment. The last of them is
/// the Fragment header.
pub(in crate::nat64) fn headers6(packet: &mut [u8], header: usize) {
    let len = (packet.len() - 40) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet[header - 6..header - 4].fill(0);
}
