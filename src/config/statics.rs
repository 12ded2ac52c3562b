//! `[[static]]`: static bindings.

use std::net::{SocketAddrV4, SocketAddrV6};

use toml::Spanned;

use super::egress::{Egress, INNER};
use super::pool;
use super::reader::Reader;
use super::schema::Static;
use super::zones::Zones;
use crate::addr::Proto;
use crate::addr::{Ipv4Prefix, Transport4, Transport6, special};
use crate::nat64::StaticBinding;

pub(super) fn statics(
    reader: &mut Reader<'_>,
    list: &[Spanned<Static>],
    zones: &Zones,
    egress: Egress,
) -> Vec<StaticBinding> {
    let mut read: Vec<StaticBinding> = Vec::new();
    for entry in list {
        let Some(binding) = one(reader, entry.get_ref(), zones, egress) else { continue };
        let twice =
            |b: &&StaticBinding| b.proto == binding.proto && (b.v4 == binding.v4 || b.v6 == binding.v6);
        if let Some(other) = read.iter().find(twice) {
            let found = format!("{} and {} already have a static binding", other.v4, other.v6);
            reader.error(
                entry.get_ref().outside.span(),
                found,
                "each address and port in one static binding per protocol",
            );
        }
        read.push(binding);
    }
    read
}

fn one(reader: &mut Reader<'_>, entry: &Static, zones: &Zones, egress: Egress) -> Option<StaticBinding> {
    let words = Proto::ALL.map(|proto| (proto.name(), proto));
    let proto = reader.word(Some(&entry.protocol), Proto::Tcp, &words);
    let outside = reader.parse::<SocketAddrV4>(&entry.outside, "ADDRESS:PORT, such as \"192.0.2.65:443\"");
    let inside =
        reader.parse::<SocketAddrV6>(&entry.inside, "[ADDRESS]:PORT, such as \"[2001:db8:1::80]:443\"");
    let (outside, inside) = (outside?, inside?);
    for (text, port) in [(&entry.outside, outside.port()), (&entry.inside, inside.port())] {
        if port == 0 && proto != Proto::Icmp {
            reader.error(text.span(), "port 0 is not usable", "1 to 65535");
        }
    }
    if !special::is_host_v4(*outside.ip()) {
        reader.error(
            entry.outside.span(),
            format!("{} is not a host address", outside.ip()),
            "a unicast address",
        );
    }
    if let Some((interface, addr)) = pool::own(reader, Ipv4Prefix::host(*outside.ip())) {
        let found = format!("{addr} is an address of this host ({interface})");
        reader.error(entry.outside.span(), found, "an address that this host does not use");
    }
    if matches!(egress, Egress::Masquerade { .. }) && *outside.ip() != INNER {
        let found = format!("{} is unreachable with egress = \"masquerade\"", outside.ip());
        let allowed = format!("{INNER}, which represents the address of this host");
        reader.error(entry.outside.span(), found, allowed);
    }
    if !zones.has_client(*inside.ip()) {
        let found = format!("{} is in no zone", inside.ip());
        reader.error(entry.inside.span(), found, "an address within a zone's `clients`");
    }
    let v4 = Transport4::new(*outside.ip(), outside.port());
    Some(StaticBinding { proto, v6: Transport6::new(*inside.ip(), inside.port()), v4 })
}
