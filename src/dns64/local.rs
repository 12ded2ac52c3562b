//! Local records: from the configuration file and hosts files.

mod answer;

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::wire;

/// Names answered locally. The reverse name of an address is the first one configured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalRecords {
    names: BTreeMap<Box<[u8]>, Vec<IpAddr>>,
    addresses: BTreeMap<IpAddr, Box<[u8]>>,
}

impl LocalRecords {
    /// Adds an address of a name such as `printer.example`. `false` if `name` is not a name.
    pub fn add(&mut self, name: &str, addr: IpAddr) -> bool {
        let Some(name) = wire::name_of(name) else { return false };
        let known = self.names.entry(name.clone().into()).or_default();
        if !known.contains(&addr) {
            known.push(addr);
        }
        self.addresses.entry(addr).or_insert_with(|| name.into());
        true
    }

    /// Adds the lines of a hosts file: an address, then names. Skips addresses with a scope, which are
    /// valid on one host only. Returns the numbers of malformed lines.
    pub fn add_hosts(&mut self, text: &str) -> Vec<usize> {
        let mut bad = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(first) = words.next().filter(|first| !first.contains('%')) else { continue };
            let Ok(addr) = first.parse::<IpAddr>() else {
                bad.push(number + 1);
                continue;
            };
            if words.map(|name| self.add(name, addr)).filter(|good| !good).count() > 0 {
                bad.push(number + 1);
            }
        }
        bad
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `name` (uncompressed, lowercase) is local.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.names.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files_are_read() {
        let mut local = LocalRecords::default();
        let text = "127.0.0.1 localhost\n# nothing\n\n10.0.0.5\tprinter Printer.example # here\n\
                    fe80::1%eth0 router\nnonsense x\n2001:db8::5 printer..example ok.example\n";
        assert_eq!(local.add_hosts(text), [6, 7]);
        let of = |name: &str| local.names.get(&*wire::name_of(name).expect("a name")).map(Vec::len);
        assert_eq!([of("printer"), of("printer.example"), of("ok.example")], [Some(1), Some(1), Some(1)]);
        assert_eq!((of("router"), local.len()), (None, 4));
    }
}
