//! How the ledger names hosts: not at all, by a keyed hash, or by address.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::{HostIdentities, Ledger};
use crate::observe::binding_log::Hosts;

/// Bytes of a new key.
const KEY: usize = 32;

/// Opens the key of the hash, and creates it if it is the default one and missing. `None` if host identities are off.
///
/// # Errors
/// The key cannot be read or created.
pub(super) fn open(settings: &Ledger) -> io::Result<Option<Hosts>> {
    match &settings.hosts {
        HostIdentities::Off => Ok(None),
        HostIdentities::Plain => Hosts::open(None).map(Some),
        HostIdentities::Hashed(path) => {
            if *path == settings.default_key() {
                create(path)?;
            }
            Hosts::open(Some(path)).map(Some)
        }
    }
}

/// Creates a key that only the owner can read, unless there is one.
fn create(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        file => file?,
    };
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(|why| io::Error::other(why.to_string()))?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(digits.as_bytes())
}
