//! The zone file of a test domain, in master file format (RFC 1035).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A global IPv4 address, which every pref64 may embed, the well-known one included: a root server's.
pub(super) const V4: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);
/// That server's IPv6 address.
pub(super) const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30);
/// A private address, which the well-known prefix may not embed (RFC 6052 §3.1).
pub(super) const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 64, 64, 64);
/// TTL of records and of negative answers, in seconds.
pub(super) const TTL: u32 = 300;
pub(super) const DENIAL: u32 = 60;
/// Number of A records of `big`, too many for a datagram.
pub(super) const MANY: u8 = 60;

/// The zone file with `domain` as its origin.
pub(super) fn text(domain: &str) -> String {
    let origin = domain.trim_end_matches('.');
    let mut text = format!(
        "; The zone {origin} for `gate64 dns64-check SERVER --domain {origin}`.\n\
         ; Replace {ns} by the address of your name server.\n\
         $ORIGIN {origin}.\n$TTL {TTL}\n\
         @ IN SOA ns hostmaster 1 3600 600 86400 {DENIAL}\n\
         @ IN NS ns\n\
         ns IN A {ns}\n\
         v4only IN A {V4}\n\
         dual IN A {V4}\n\
         dual IN AAAA {V6}\n\
         nothing IN TXT \"no address\"\n\
         mapped IN A {V4}\n\
         mapped IN AAAA ::ffff:{V4}\n\
         mixed IN A {V4}\n\
         mixed IN AAAA ::ffff:{V4}\n\
         mixed IN AAAA {V6}\n\
         private IN A {PRIVATE}\n\
         alias IN CNAME alias2\n\
         alias2 IN CNAME v4only\n\
         tree IN DNAME branch\n\
         www.branch IN A {V4}\n\
         svc IN HTTPS 1 . ipv4hint={V4}\n",
        ns = Ipv4Addr::new(192, 0, 2, 53),
    );
    for last in 1..=MANY {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "big IN A 198.41.1.{last}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_has_its_origin_and_its_names() {
        let text = text("dns64.example.");
        assert!(text.contains("$ORIGIN dns64.example.\n"));
        assert_eq!(text.lines().filter(|line| line.starts_with("big IN A ")).count(), usize::from(MANY));
        for name in ["v4only", "dual", "nothing", "mapped", "mixed", "private", "alias", "tree", "svc"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} IN "))), "{name}");
        }
    }
}
