//! What `[dns64]` says about sockets: threads, TLS, limits, and how upstreams are spoken to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::schema::{self, Text};
use crate::dns64::{Network, Tls, Via};

/// Most threads of the resolver.
const MAX_THREADS: usize = 64;

pub(super) fn network(
    reader: &mut Reader<'_>,
    told: &schema::Dns64,
    listen: &[SocketAddr],
    via: BTreeMap<SocketAddr, Via>,
) -> Network {
    let default = Network::default();
    // One for two CPUs: packets need theirs too.
    let threads = reader.around.cpus().div_ceil(2).clamp(1, 4);
    let authorities = told.tls_authorities.as_ref().and_then(|text| path(reader, text));
    let total = told.connection_total.as_ref();
    let per_client = told.connections_per_client.as_ref();
    let (queries, responses) = (told.queries_per_second.as_ref(), told.responses_per_second.as_ref());
    Network {
        threads: reader.number(told.threads.as_ref(), threads, 1..=MAX_THREADS),
        tls: tls(reader, told, listen),
        via,
        authorities: authorities.unwrap_or(default.authorities),
        connections: reader.number(told.connections.as_ref(), default.connections, 1..=65_536),
        connections_per_client: reader.number(per_client, default.connections_per_client, 1..=65_536),
        connection_total: reader.duration(total, default.connection_total, Duration::from_secs(1), ""),
        queries_per_second: reader.number(queries, default.queries_per_second, 0..=10_000_000),
        responses_per_second: reader.number(responses, default.responses_per_second, 0..=10_000_000),
        ready_bytes: reader.number(told.ready_bytes.as_ref(), default.ready_bytes, 0..=1 << 32),
    }
}

fn path(reader: &mut Reader<'_>, text: &Text) -> Option<PathBuf> {
    let path = PathBuf::from(text.get_ref());
    if path.is_absolute() {
        return Some(path);
    }
    reader.refuse(text.span(), format!("`{}` is not an absolute path", text.get_ref()), "a path from /");
    None
}

fn tls(reader: &mut Reader<'_>, told: &schema::Dns64, plain: &[SocketAddr]) -> Option<Tls> {
    let list = told.tls_listen.as_ref()?;
    let mut listen = Vec::new();
    for text in &list.items {
        let Some(addr) = address(reader, text.get_ref(), text, 853) else { continue };
        if plain.contains(&addr) || listen.contains(&addr) || addr.ip().is_multicast() {
            let found = format!("{addr} can't be listened on for TLS");
            reader.refuse(text.span(), found, "each address once, and not the same as in `listen`");
        }
        listen.push(addr);
    }
    let (Some(certificate), Some(key)) = (&told.tls_certificate, &told.tls_key) else {
        reader.refuse(list.at.clone(), "tls_listen alone", "tls_certificate and tls_key beside it");
        return None;
    };
    let (certificate, key) = (path(reader, certificate), path(reader, key));
    Some(Tls { listen, certificate: certificate?, key: key? })
}

/// An address with an optional port.
pub(super) fn address(reader: &mut Reader<'_>, written: &str, at: &Text, port: u16) -> Option<SocketAddr> {
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    let addr = written.parse().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)));
    if addr.is_err() {
        let found = format!("`{}` is no address with a port", at.get_ref());
        reader.refuse(
            at.span(),
            found,
            "\"[2001:db8:1::53]:53\", \"198.51.100.53:53\"; the port may be left out",
        );
    }
    addr.ok()
}

/// An upstream: an address for UDP, or `tcp://ADDRESS`, `tls://ADDRESS#NAME`.
pub(super) fn upstream(reader: &mut Reader<'_>, text: &Text) -> Option<(SocketAddr, Via)> {
    let written = text.get_ref();
    if let Some(rest) = written.strip_prefix("tcp://") {
        return address(reader, rest, text, 53).map(|addr| (addr, Via::Tcp));
    }
    let Some(rest) = written.strip_prefix("tls://") else {
        return address(reader, written, text, 53).map(|addr| (addr, Via::Udp));
    };
    let (addr, name) = rest.split_once('#').unwrap_or((rest, ""));
    let addr = address(reader, addr, text, 853)?;
    let name = if name.is_empty() { addr.ip().to_string() } else { name.to_owned() };
    Some((addr, Via::Tls(name)))
}
