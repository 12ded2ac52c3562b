//! `egress` of `[translator]`: how packets reach the IPv4 Internet.

use std::net::Ipv4Addr;

use super::pool;
use super::reader::Reader;
use super::schema;
use crate::addr::{Ipv4Prefix, PortRange};
use crate::nat64::Masquerade;

/// The pool4 address with `egress = "masquerade"`, from the range for host-internal use (RFC 7335).
pub const INNER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// Default of `egress_ports`: leaves the ephemeral ports 32768-40959 to this host.
const EGRESS_PORTS: PortRange = match PortRange::new(40_960, 65_535) {
    Some(ports) => ports,
    None => PortRange::ALL,
};

/// How packets reach the IPv4 Internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Egress {
    /// pool4 is routed to this host, or on-link.
    Routed,
    /// pool4 is [`INNER`]; the kernel replaces it by the address of this host.
    Masquerade {
        /// Ports of this host that clients use.
        ports: PortRange,
    },
}

/// How zone hosts address each other with masquerading: by `address4` if that is an address of this host, as it is
/// by default.
pub(super) fn masquerade(reader: &Reader<'_>, egress: Egress, address4: Ipv4Addr) -> Option<Masquerade> {
    let is_own = || pool::own(reader, Ipv4Prefix::host(address4)).is_some();
    match egress {
        Egress::Masquerade { .. } if is_own() => Some(Masquerade { inner: INNER, public: address4 }),
        Egress::Masquerade { .. } | Egress::Routed => None,
    }
}

pub(super) fn egress(reader: &mut Reader<'_>, section: &schema::Translator) -> Egress {
    let words = [("routed", false), ("masquerade", true)];
    let masquerade = reader.word(section.egress.as_ref(), false, &words);
    if !masquerade {
        if let Some(text) = &section.egress_ports {
            let found = "egress_ports without egress = \"masquerade\"";
            reader.error(text.span(), found, "both egress = \"masquerade\" and egress_ports, or neither");
        }
        return Egress::Routed;
    }
    let Some(text) = &section.egress_ports else { return Egress::Masquerade { ports: EGRESS_PORTS } };
    let ports = pool::read_ports(reader, Some(text)).unwrap_or(EGRESS_PORTS);
    if ports.first() < 1024 {
        let found = format!("{ports} includes ports of services on this host");
        reader.error(text.span(), found, "ports 1024 and higher");
    }
    Egress::Masquerade { ports }
}
