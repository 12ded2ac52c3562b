//! Hosts in records: plain, or as a keyed hash.

use std::io;
use std::path::Path;

use ring::hmac;

use crate::addr::HostKey;

/// Minimum length of a key in bytes.
const MIN_KEY: usize = 16;
/// Bytes of the hash in records.
const HASH: usize = 16;

/// How records name hosts.
#[derive(Debug)]
pub(in crate::observe) enum Hosts {
    /// By address or prefix.
    Plain,
    /// By a hash of that, with a key.
    Hashed(Box<hmac::Key>),
}

impl Hosts {
    /// Hashes with the key in a file; without one, hosts are plain.
    ///
    /// # Errors
    /// The file is unreadable or its key too short.
    pub(in crate::observe) fn open(key_file: Option<&Path>) -> io::Result<Self> {
        let Some(path) = key_file else { return Ok(Self::Plain) };
        let failed = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let content = std::fs::read(path).map_err(|why| failed(why.to_string()))?;
        let key = content.strip_suffix(b"\n").unwrap_or(&content);
        if key.len() < MIN_KEY {
            return Err(failed(format!("the key has {} bytes; at least {MIN_KEY}", key.len())));
        }
        Ok(Self::Hashed(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key))))
    }

    /// The name of a host: its address if all bits belong to the host, else its prefix; or the hash of that text.
    pub(in crate::observe) fn name(&self, host: HostKey) -> String {
        let plain = match host.prefix.len() {
            128 => host.prefix.addr().to_string(),
            _ => host.prefix.to_string(),
        };
        match self {
            Self::Plain => plain,
            Self::Hashed(key) => {
                let hash = hmac::sign(key, plain.as_bytes());
                let digits = hash.as_ref()[..HASH].iter().map(|byte| format!("{byte:02x}"));
                std::iter::once("hmac-sha256:".to_owned()).chain(digits).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::ZoneId;

    fn host(addr: &str, len: u8) -> HostKey {
        HostKey::new(ZoneId(0), addr.parse().expect("an address"), len)
    }

    #[test]
    fn hosts_have_their_address_or_prefix() {
        let plain = Hosts::open(None).expect("no file");
        assert_eq!(plain.name(host("2001:db8:1::5", 128)), "2001:db8:1::5");
        assert_eq!(plain.name(host("2001:db8:1::5", 64)), "2001:db8:1::/64");
    }

    #[test]
    fn hashes_are_those_of_openssl() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "0123456789abcdef\n").expect("written");
        let hashed = Hosts::open(Some(&path)).expect("a key");
        // printf 2001:db8:1::5 | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(hashed.name(host("2001:db8:1::5", 128)), "hmac-sha256:b7bb58305ff17072b7c036eb6a261eb5");
        std::fs::write(&path, "short").expect("written");
        let refused = Hosts::open(Some(&path)).expect_err("too short").to_string();
        assert!(refused.ends_with("key: the key has 5 bytes; at least 16"), "{refused}");
    }
}
