//! Bytes in scenario notation, for error messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::wire::buf::{Checksum, Offload, Segmentation};

use super::build::transport;

/// One line of scenario notation for the bytes.
pub(crate) fn describe(bytes: &[u8], offload: Offload) -> String {
    let mut line = packet(bytes);
    match offload.segmentation {
        Segmentation::None => {}
        Segmentation::Tcp { size, .. } | Segmentation::Udp { size } => line += &format!(" gso={size}"),
    }
    if offload.checksum == Checksum::Partial {
        line += " csum=partial";
    }
    line
}

/// The first difference between two packets, as bytes.
pub(crate) fn difference(expected: &[u8], got: &[u8]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let part = &bytes[same.min(bytes.len())..(same + 12).min(bytes.len())];
        part.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
    };
    format!(
        "{} and {} bytes, different from byte {same} on: {} .. against {} ..",
        expected.len(),
        got.len(),
        around(expected),
        around(got)
    )
}

fn word(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(w) => u16::from_be_bytes([w[0], w[1]]),
        None => 0,
    }
}

fn packet(bytes: &[u8]) -> String {
    let (addrs, tail) = match bytes.first().map(|b| b >> 4) {
        Some(4) if bytes.len() >= 20 => ip4(bytes),
        Some(6) if bytes.len() >= 40 => ip6(bytes),
        _ => return format!("raw {}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    };
    let [src, dst] = addrs;
    let Some((protocol, at)) = transport(bytes) else {
        return format!("(later fragment) {src} > {dst}{tail}");
    };
    let (a, b) = (word(bytes, at), word(bytes, at + 2));
    let left = bytes.len().saturating_sub(at);
    let octet = |n: usize| bytes.get(at + n).copied().unwrap_or(0);
    match protocol {
        17 => format!("udp {src}.{a} > {dst}.{b}{tail} data={}", left.saturating_sub(8)),
        6 => {
            let flags: String = "FSRPAUEC"
                .chars()
                .enumerate()
                .filter(|(n, _)| octet(13) >> n & 1 == 1)
                .map(|(_, c)| c)
                .collect();
            let header = usize::from(octet(12) >> 4) * 4;
            format!("tcp {src}.{a} > {dst}.{b} {flags}{tail} data={}", left.saturating_sub(header))
        }
        1 | 58 if matches!(octet(0), 8 | 0 | 128 | 129) => {
            let reply = if matches!(octet(0), 0 | 129) { "-reply" } else { "" };
            format!(
                "echo{reply} {src} > {dst} id={}{tail} data={}",
                word(bytes, at + 4),
                left.saturating_sub(8)
            )
        }
        1 | 58 => {
            let name = if protocol == 1 { "icmp4" } else { "icmp6" };
            let info = u32::from(word(bytes, at + 4)) << 16 | u32::from(word(bytes, at + 6));
            let inner = bytes.get(at + 8..).filter(|inner| !inner.is_empty());
            let inner = inner.map_or(String::new(), |inner| format!(" {{ {} }}", packet(inner)));
            format!("{name} {}/{} {src} > {dst} word={info:#x}{tail}{inner}", octet(0), octet(1))
        }
        other => format!("proto {other} {src} > {dst}{tail} data={left}"),
    }
}

fn ip4(bytes: &[u8]) -> ([String; 2], String) {
    let addr = |at: usize| {
        let octets: [u8; 4] = bytes[at..at + 4].try_into().unwrap_or_default();
        Ipv4Addr::from(octets).to_string()
    };
    let bits = word(bytes, 6);
    let mut tail = format!(" ttl={} ipid={:#x}", bytes[8], word(bytes, 4));
    if bytes[1] != 0 {
        tail += &format!(" tos={:#x}", bytes[1]);
    }
    if bits & 0x4000 != 0 {
        tail += " df";
    }
    if bits & 0x3fff != 0 {
        let len = bytes.len() - usize::from(bytes[0] & 15) * 4;
        let more = if bits & 0x2000 != 0 { " (more)" } else { "" };
        tail += &format!(" frag={:#x}:{}+{len}{more}", word(bytes, 4), (bits & 0x1fff) * 8);
    }
    ([addr(12), addr(16)], tail)
}

fn ip6(bytes: &[u8]) -> ([String; 2], String) {
    let addr = |at: usize| {
        let octets: [u8; 16] = bytes[at..at + 16].try_into().unwrap_or_default();
        Ipv6Addr::from(octets).to_string()
    };
    let mut tail = format!(" hl={}", bytes[7]);
    let class = word(bytes, 0) >> 4 & 0xff;
    if class != 0 {
        tail += &format!(" tc={class:#x}");
    }
    if bytes[6] == 44 && bytes.len() >= 48 {
        let bits = word(bytes, 42);
        let id = u32::from(word(bytes, 44)) << 16 | u32::from(word(bytes, 46));
        let more = if bits & 1 != 0 { " (more)" } else { "" };
        tail += &format!(" frag={id:#x}:{}+{}{more}", bits & 0xfff8, bytes.len() - 48);
    }
    ([addr(8), addr(24)], tail)
}
