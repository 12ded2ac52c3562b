//! Socket settings of `[dns64]`: threads, TLS, limits, and the transport of each upstream.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::schema::{self, Text};
use crate::dns64::{Network, ServerName, Tls, Via};

/// Maximum number of resolver threads.
const MAX_THREADS: usize = 64;

pub(super) fn network(
    reader: &mut Reader<'_>,
    section: &schema::Dns64,
    listen: &[SocketAddr],
    via: BTreeMap<SocketAddr, Via>,
) -> Network {
    let default = Network::default();
    // Half the CPUs: the workers need the rest.
    let threads = reader.host.cpus().div_ceil(2).clamp(1, 4);
    let authorities = section.tls_authorities.as_ref().and_then(|text| path(reader, text));
    let total = section.connection_total.as_ref();
    let per_client = section.connections_per_client.as_ref();
    let (queries, responses) = (section.queries_per_second.as_ref(), section.responses_per_second.as_ref());
    let bytes = section.response_bytes_per_second.as_ref();
    Network {
        threads: reader.number(section.threads.as_ref(), threads, 1..=MAX_THREADS),
        tls: tls(reader, section, listen),
        via,
        authorities: authorities.unwrap_or(default.authorities),
        connections: reader.number(section.connections.as_ref(), default.connections, 1..=65_536),
        connections_per_client: reader.number(per_client, default.connections_per_client, 1..=65_536),
        connection_total: reader.duration(total, default.connection_total, Duration::from_secs(1), ""),
        queries_per_second: reader.number(queries, default.queries_per_second, 0..=10_000_000),
        responses_per_second: reader.number(responses, default.responses_per_second, 0..=10_000_000),
        response_bytes_per_second: reader.number(bytes, default.response_bytes_per_second, 0..=100_000_000),
        answer_cache_bytes: reader.number(
            section.answer_cache_bytes.as_ref(),
            default.answer_cache_bytes,
            0..=1 << 32,
        ),
    }
}

fn path(reader: &mut Reader<'_>, text: &Text) -> Option<PathBuf> {
    let path = PathBuf::from(text.get_ref());
    if path.is_absolute() {
        return Some(path);
    }
    reader.error(
        text.span(),
        format!("`{}` is not an absolute path", text.get_ref()),
        "a path that begins with /",
    );
    None
}

fn tls(reader: &mut Reader<'_>, section: &schema::Dns64, plain: &[SocketAddr]) -> Option<Tls> {
    let list = section.tls_listen.as_ref()?;
    let mut listen = Vec::new();
    for text in &list.items {
        let Some(addr) = address(reader, text.get_ref(), text, 853) else { continue };
        if plain.contains(&addr) || listen.contains(&addr) || addr.ip().is_multicast() {
            let found = format!("{addr} is not usable for TLS");
            reader.error(text.span(), found, "unicast addresses, each once, and not in `listen`");
        }
        listen.push(addr);
    }
    let name = section.tls_name.as_ref().and_then(|text| server_name(reader, text));
    let (Some(certificate), Some(key)) = (&section.tls_certificate, &section.tls_key) else {
        reader.error(
            list.at.clone(),
            "tls_listen without a certificate",
            "tls_listen together with tls_certificate and tls_key",
        );
        return None;
    };
    let (certificate, key) = (path(reader, certificate), path(reader, key));
    Some(Tls { listen, name, certificate: certificate?, key: key? })
}

fn server_name(reader: &mut Reader<'_>, text: &Text) -> Option<ServerName> {
    let name = ServerName::new(text.get_ref());
    if name.is_none() {
        let found = format!("`{}` is not the name of a server", text.get_ref());
        reader.error(text.span(), found, "a domain name such as \"dns.example.com\", as in the certificate");
    }
    name
}

/// Parses an address with an optional port.
pub(super) fn address(reader: &mut Reader<'_>, written: &str, at: &Text, port: u16) -> Option<SocketAddr> {
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    let addr = written.parse().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)));
    if addr.is_err() {
        let found = format!("`{}` is not an address with a port", at.get_ref());
        reader.error(at.span(), found, "\"[2001:db8:1::53]:53\", \"198.51.100.53:53\"; the port is optional");
    }
    addr.ok()
}

/// Like [`address`]; a server cannot have port 0.
fn server(reader: &mut Reader<'_>, written: &str, at: &Text, default: u16) -> Option<SocketAddr> {
    let addr = address(reader, written, at, default)?;
    if addr.port() == 0 {
        reader.error(
            at.span(),
            "an upstream resolver cannot have port 0",
            "1 to 65535; the port is optional",
        );
        return None;
    }
    Some(addr)
}

/// Parses an upstream: `ADDRESS` for UDP, `tcp://ADDRESS`, or `tls://ADDRESS#NAME`.
pub(super) fn upstream(reader: &mut Reader<'_>, text: &Text) -> Option<(SocketAddr, Via)> {
    let written = text.get_ref();
    if let Some(rest) = written.strip_prefix("tcp://") {
        return server(reader, rest, text, 53).map(|addr| (addr, Via::Tcp));
    }
    let Some(rest) = written.strip_prefix("tls://") else {
        return server(reader, written, text, 53).map(|addr| (addr, Via::Udp));
    };
    let (addr, name) = rest.split_once('#').unwrap_or((rest, ""));
    let addr = server(reader, addr, text, 853)?;
    let name = if name.is_empty() { addr.ip().to_string() } else { name.to_owned() };
    Some((addr, Via::Tls(name)))
}
