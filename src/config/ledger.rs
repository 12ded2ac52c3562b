//! `[ledger]`: which names and hosts still need IPv4.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::host::path;
use super::reader::Reader;
use super::schema;

/// Settings of `[ledger]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Whether the ledger is kept.
    pub is_enabled: bool,
    /// The database.
    pub file: PathBuf,
    /// Days for which entries are kept.
    pub retention_days: u16,
    /// Maximum size of the database in bytes. Beyond it the oldest day is deleted before its time.
    pub total_bytes: u64,
    /// How hosts are identified.
    pub hosts: HostIdentities,
    /// Programme whose targets apply, by zone.
    pub programmes: BTreeMap<String, String>,
}

/// How the ledger identifies hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostIdentities {
    /// Not at all: it counts no hosts.
    Off,
    /// By a hash with the key in this file.
    Hashed(PathBuf),
    /// By address or prefix.
    Plain,
}

impl Ledger {
    /// The file of the key that is created if it is missing.
    pub fn default_key(&self) -> PathBuf {
        self.file.with_file_name("ledger.key")
    }
}

/// Parses the section.
pub(super) fn ledger(reader: &mut Reader<'_>, file: &schema::File, state_dir: &Path) -> Ledger {
    let default = schema::Ledger::default();
    let section = file.ledger.as_ref().unwrap_or(&default);
    let words = [("off", 0), ("hashed", 1), ("plain", 2)];
    let hosts = reader.word(section.hosts.as_ref(), 1, &words);
    let key = match &section.key_file {
        Some(text) => {
            if hosts != 1 {
                reader.warn(text.span(), "key_file has no effect", "hosts = \"hashed\"");
            }
            path(reader, Some(text), "")
        }
        None => state_dir.join("ledger.key"),
    };
    Ledger {
        is_enabled: section.enabled.unwrap_or(false),
        file: state_dir.join("ledger.sqlite"),
        retention_days: reader.number(section.retention_days.as_ref(), 400, 1..=3650),
        total_bytes: reader.number(section.total_mib.as_ref(), 1024, 1..=1_048_576) << 20,
        hosts: match hosts {
            0 => HostIdentities::Off,
            1 => HostIdentities::Hashed(key),
            _ => HostIdentities::Plain,
        },
        programmes: programmes(reader, file),
    }
}

/// Parses `programme` of the zones: the name of a file without `.toml`.
fn programmes(reader: &mut Reader<'_>, file: &schema::File) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for zone in file.zone.iter().map(toml::Spanned::get_ref) {
        let Some(text) = &zone.programme else { continue };
        let name = text.get_ref();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(is_name) {
            let found = format!("`{name}` is not the name of a programme");
            reader.error(text.span(), found, "1 to 63 lowercase letters, digits and `-`, as in \"vn-3369\"");
        }
        all.insert(zone.name.get_ref().clone(), name.clone());
    }
    all
}
