//! `[[static]]`: bindings made by the operator.

use std::net::{SocketAddrV4, SocketAddrV6};

use toml::Spanned;

use super::host::{Egress, INNER};
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
            let found = format!("{} and {} are already bound to each other", other.v4, other.v6);
            reader.refuse(
                entry.get_ref().outside.span(),
                found,
                "each end of a static binding once per protocol",
            );
        }
        read.push(binding);
    }
    read
}

fn one(reader: &mut Reader<'_>, told: &Static, zones: &Zones, egress: Egress) -> Option<StaticBinding> {
    let words = Proto::ALL.map(|proto| (proto.name(), proto));
    let proto = reader.word(Some(&told.protocol), Proto::Tcp, &words);
    let outside = reader.parse::<SocketAddrV4>(&told.outside, "ADDRESS:PORT, such as \"192.0.2.65:443\"");
    let inside =
        reader.parse::<SocketAddrV6>(&told.inside, "[ADDRESS]:PORT, such as \"[2001:db8:1::80]:443\"");
    let (outside, inside) = (outside?, inside?);
    for (text, port) in [(&told.outside, outside.port()), (&told.inside, inside.port())] {
        if port == 0 && proto != Proto::Icmp {
            reader.refuse(text.span(), "port 0 is no port", "1 to 65535");
        }
    }
    if !special::is_host_v4(*outside.ip()) {
        reader.refuse(
            told.outside.span(),
            format!("{} is no host's address", outside.ip()),
            "a unicast address",
        );
    }
    if let Some((interface, addr)) = pool::own(reader, Ipv4Prefix::host(*outside.ip())) {
        let found = format!("{addr} is an address of this host ({interface})");
        reader.refuse(told.outside.span(), found, "an address the host does not use");
    }
    if matches!(egress, Egress::Masquerade { .. }) && *outside.ip() != INNER {
        let found = format!("{} can't be reached with egress = \"masquerade\"", outside.ip());
        let allowed = format!("{INNER}, which stands for the host's own address there");
        reader.refuse(told.outside.span(), found, allowed);
    }
    if !zones.has_client(*inside.ip()) {
        let found = format!("{} is in no zone", inside.ip());
        reader.refuse(told.inside.span(), found, "an address within a zone's `clients`");
    }
    let v4 = Transport4::new(*outside.ip(), outside.port());
    Some(StaticBinding { proto, v6: Transport6::new(*inside.ip(), inside.port()), v4 })
}
