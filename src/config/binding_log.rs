//! `[binding_log]`: which host had which port when (RFC 6888 REQ-12).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::host::path;
use super::network;
use super::reader::Reader;
use super::schema::{self, Text, Texts};
use super::zones::Zones;
use crate::dns64::Via;

/// Settings of `[binding_log]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingLog {
    /// Whether each session has records, and whether they contain its destination; `None` without such records.
    pub sessions: Option<SessionRecords>,
    /// Files of JSON lines; `None` if disabled.
    pub files: Option<LogFiles>,
    /// Name of this gateway in records; `None` for the host name.
    pub node: Option<String>,
    /// File with the key of the hash that replaces hosts; `None` if records have plain addresses.
    pub host_key: Option<PathBuf>,
    /// Whether to send records to the journal.
    pub journal: bool,
    /// Syslog collectors.
    pub syslog: Vec<LogCollector>,
    /// IPFIX collectors.
    pub ipfix: Vec<LogCollector>,
    /// File with the certificate authorities for collectors with TLS.
    pub authorities: PathBuf,
}

/// What the records of sessions contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRecords {
    /// Whether they contain the destination (RFC 6888 REQ-12: not by default).
    pub destinations: bool,
}

/// A collector of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogCollector {
    /// The URL in the file.
    pub url: String,
    /// Address and port.
    pub addr: SocketAddr,
    /// Transport.
    pub via: Via,
}

/// Files of the binding log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFiles {
    /// Their directory.
    pub directory: PathBuf,
    /// Days for which a file is kept after its last record.
    pub retention_days: u16,
    /// Size in bytes at which a new file begins.
    pub file_bytes: u64,
    /// Maximum size of all files in bytes. Beyond it the oldest file is deleted before its time.
    pub total_bytes: u64,
}

impl BindingLog {
    /// Whether records have a destination.
    pub const fn is_enabled(&self) -> bool {
        self.files.is_some() || self.journal || !self.syslog.is_empty() || !self.ipfix.is_empty()
    }

    /// Whether sessions are recorded.
    pub const fn has_sessions(&self) -> bool {
        self.is_enabled() && self.sessions.is_some()
    }
}

const MIB: u64 = 1 << 20;

/// Parses the section. Without zones there are no port blocks, and no files by default.
pub(super) fn binding_log(
    reader: &mut Reader<'_>,
    file: &schema::File,
    state_dir: &Path,
    zones: &Zones,
) -> BindingLog {
    let default = schema::BindingLog::default();
    let section = file.binding_log.as_ref().unwrap_or(&default);
    let directory = match &section.directory {
        Some(text) => path(reader, Some(text), ""),
        None => state_dir.join("binding_log"),
    };
    let files = LogFiles {
        directory,
        retention_days: reader.number(section.retention_days.as_ref(), 30, 1..=3650),
        file_bytes: reader.number(section.file_mib.as_ref(), 64, 1..=65_536) * MIB,
        total_bytes: reader.number(section.total_mib.as_ref(), 4096, 2..=16_777_216) * MIB,
    };
    if let Some(total) = &section.total_mib
        && files.total_bytes < 2 * files.file_bytes
    {
        let found = format!("total_mib is {}, file_mib {}", total.get_ref(), files.file_bytes / MIB);
        reader.error(total.span(), found, "at least two files: 2 * file_mib");
    }
    BindingLog {
        sessions: session_records(reader, section),
        files: section.files.unwrap_or(!zones.zones.is_empty()).then_some(files),
        node: section.node.as_ref().map(|text| node(reader, text)),
        host_key: host_key(reader, section),
        journal: section.journal.unwrap_or(false),
        syslog: collectors(reader, section.syslog.as_ref(), [514, 514, 6514]),
        ipfix: ipfix(reader, section),
        authorities: path(reader, section.tls_authorities.as_ref(), "/etc/ssl/certs/ca-certificates.crt"),
    }
}

fn session_records(reader: &mut Reader<'_>, section: &schema::BindingLog) -> Option<SessionRecords> {
    let has_sessions = section.sessions.unwrap_or(false);
    let destinations = section.destinations.as_ref().filter(|value| *value.get_ref());
    if let Some(value) = destinations.filter(|_| !has_sessions) {
        reader.warn(
            value.span(),
            "destinations has no effect",
            "sessions = true: only they have destinations",
        );
    }
    has_sessions.then_some(SessionRecords { destinations: destinations.is_some() })
}

/// IPFIX records contain the host as an address (RFC 8158 §4.6), so a hash has no place there.
fn ipfix(reader: &mut Reader<'_>, section: &schema::BindingLog) -> Vec<LogCollector> {
    let hashed = section.hosts.as_ref().is_some_and(|hosts| hosts.get_ref() == "hashed");
    if let Some(list) = section.ipfix.as_ref().filter(|list| hashed && !list.items.is_empty()) {
        reader.error(
            list.at.clone(),
            "ipfix with hosts = \"hashed\"",
            "hosts = \"plain\", or syslog instead of ipfix",
        );
    }
    collectors(reader, section.ipfix.as_ref(), [4739, 4739, 4740])
}

/// Parses collectors; `ports` are the default ports of UDP, TCP and TLS.
fn collectors(reader: &mut Reader<'_>, list: Option<&Texts>, ports: [u16; 3]) -> Vec<LogCollector> {
    let mut read: Vec<LogCollector> = Vec::new();
    for text in list.map_or(&[][..], |list| &list.items) {
        let url = text.get_ref();
        let allowed = "\"udp://192.0.2.10\", \"tcp://[2001:db8::10]:6514\" or \"tls://192.0.2.10#NAME\"";
        let (rest, default, via) = match url.split_once("://") {
            Some(("udp", rest)) => (rest, ports[0], Via::Udp),
            Some(("tcp", rest)) => (rest, ports[1], Via::Tcp),
            Some(("tls", rest)) => (rest, ports[2], Via::Tls(String::new())),
            Some(_) | None => {
                reader.error(text.span(), format!("`{url}` is not the URL of a collector"), allowed);
                continue;
            }
        };
        let (addr, name) = rest.split_once('#').unwrap_or((rest, ""));
        let Some(addr) = network::address(reader, addr, text, default) else { continue };
        let via = match via {
            Via::Tls(_) if name.is_empty() => Via::Tls(addr.ip().to_string()),
            Via::Tls(_) => Via::Tls(name.to_owned()),
            Via::Udp | Via::Tcp => via,
        };
        if read.iter().any(|other| other.addr == addr && other.via == via) {
            reader.error(text.span(), format!("{url} twice"), "each collector once");
        }
        read.push(LogCollector { url: url.clone(), addr, via });
    }
    read
}

/// Parses the name of this gateway: the HOSTNAME of RFC 5424 §6.2.4.
fn node(reader: &mut Reader<'_>, text: &Text) -> String {
    let name = text.get_ref();
    if name.is_empty() || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let found = format!("`{name}` is not a valid node name");
        reader.error(text.span(), found, "1 to 255 printable characters without space (RFC 5424 §6.2.4)");
    }
    name.clone()
}

fn host_key(reader: &mut Reader<'_>, section: &schema::BindingLog) -> Option<PathBuf> {
    let hashed = reader.word(section.hosts.as_ref(), false, &[("plain", false), ("hashed", true)]);
    match (&section.key_file, &section.hosts) {
        (Some(text), _) if hashed => Some(path(reader, Some(text), "")),
        (Some(text), _) => {
            reader.warn(text.span(), "key_file has no effect", "hosts = \"hashed\"");
            None
        }
        (None, Some(text)) if hashed => {
            let allowed = "hosts = \"hashed\" together with key_file";
            reader.error(text.span(), "hosts = \"hashed\" without key_file", allowed);
            None
        }
        (None, _) => None,
    }
}
