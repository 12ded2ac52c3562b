//! Reverse names: ip6.arpa and in-addr.arpa (RFC 6147 §5.3.1).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::wire;

/// The address of an uncompressed name in ip6.arpa. `None` for other names, and unless there are 32
/// nibbles.
pub(super) fn ip6_arpa(name: &[u8]) -> Option<Ipv6Addr> {
    let mut labels = wire::labels(name);
    let mut bits = 0u128;
    for index in 0..32 {
        let [digit] = labels.next()? else { return None };
        let nibble = char::from(*digit).to_digit(16)?;
        bits |= u128::from(nibble) << (4 * index);
    }
    let arpa = labels.next()?.eq_ignore_ascii_case(b"ip6") && labels.next()?.eq_ignore_ascii_case(b"arpa");
    (arpa && labels.next().is_none()).then(|| Ipv6Addr::from_bits(bits))
}

/// The address of an uncompressed name in in-addr.arpa. `None` for other names.
pub(super) fn of_in_addr_arpa(name: &[u8]) -> Option<Ipv4Addr> {
    let mut labels = wire::labels(name);
    let mut octets = [0; 4];
    for octet in octets.iter_mut().rev() {
        *octet = core::str::from_utf8(labels.next()?).ok()?.parse().ok()?;
    }
    let addr = Ipv4Addr::from(octets);
    // Rejects other spellings, such as leading zeros.
    name.eq_ignore_ascii_case(&in_addr_arpa(addr)).then_some(addr)
}

/// The reverse name of an IPv4 address, uncompressed.
pub(super) fn in_addr_arpa(addr: Ipv4Addr) -> Vec<u8> {
    let mut name = Vec::with_capacity(30);
    for octet in addr.octets().into_iter().rev() {
        let text = octet.to_string();
        // At most three digits.
        name.push(text.len() as u8);
        name.extend_from_slice(text.as_bytes());
    }
    name.extend_from_slice(b"\x07in-addr\x04arpa\x00");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> Vec<u8> {
        let mut name = Vec::new();
        for label in text.split('.') {
            name.push(u8::try_from(label.len()).expect("short"));
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        name
    }

    #[test]
    fn names_of_ipv6_addresses() {
        // ids 6147-5.3.1-strip, 6147-5.3.1-badnibbles
        let good = "1.2.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0";
        let want: Ipv6Addr = "64:ff9b::c000:221".parse().expect("literal");
        assert_eq!(ip6_arpa(&encode(&format!("{good}.ip6.arpa"))), Some(want));
        assert_eq!(ip6_arpa(&encode(&format!("{}.IP6.Arpa", good.to_uppercase()))), Some(want));
        let bad = [
            format!("{}.ip6.arpa", &good[2..]),
            format!("0.{good}.ip6.arpa"),
            format!("{}.ip6.arpa", good.replacen('1', "g", 1)),
            format!("{}.ip6.arpa", good.replacen('1', "11", 1)),
            format!("{good}.ip6.arpa.example"),
            format!("{good}.ip4.arpa"),
            good.to_owned(),
            "ip6.arpa".to_owned(),
        ];
        for text in bad {
            assert_eq!(ip6_arpa(&encode(&text)), None, "{text}");
        }
    }

    #[test]
    fn names_of_ipv4_addresses() {
        let got = in_addr_arpa(Ipv4Addr::new(192, 0, 2, 33));
        assert_eq!(got, encode("33.2.0.192.in-addr.arpa"));
        assert_eq!(of_in_addr_arpa(&encode("33.2.0.192.IN-addr.arpa")), Some(Ipv4Addr::new(192, 0, 2, 33)));
        for text in ["033.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "1.33.2.0.192.in-addr.arpa", "a.b"] {
            assert_eq!(of_in_addr_arpa(&encode(text)), None, "{text}");
        }
    }
}
