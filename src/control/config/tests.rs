//! Files that can be used, and the exact words about those that can't.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

/// A host with two addresses, whose routes lead everywhere.
pub(crate) struct Fake(pub(crate) Vec<OwnAddress>);

impl Fake {
    pub(crate) fn new() -> Self {
        let own = |addr: &str, len| OwnAddress {
            interface: "eth0".to_owned(),
            addr: addr.parse().expect("literal"),
            len,
        };
        Self(vec![own("203.0.113.1", 24), own("2001:db8:1::1", 64)])
    }
}

impl Surroundings for Fake {
    fn addresses(&self) -> &[OwnAddress] {
        &self.0
    }

    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        self.0.iter().map(|own| own.addr).find(|addr| addr.is_ipv4() == to.is_ipv4())
    }

    fn cpus(&self) -> usize {
        4
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_on(text, &Fake::new())
}

pub(crate) fn load_on(text: &str, host: &Fake) -> Result<Config, ConfigError> {
    Config::parse("t.toml", text, host)
}

#[test]
fn the_smallest_file() {
    let config = load(include_str!("../../../configs/nat64.toml")).expect("a good file");
    assert_eq!(config.zone_names, ["floor-3"]);
    assert_eq!(config.host.workers, 4);
    assert_eq!(config.nat64.address4, Ipv4Addr::new(203, 0, 113, 1));
    assert_eq!(config.nat64.address6, "2001:db8:1::1".parse::<IpAddr>().expect("literal"));
    let deny: Vec<_> = config.nat64.deny.iter().map(ToString::to_string).collect();
    assert_eq!(deny, ["127.0.0.0/8", "169.254.0.0/16", "203.0.113.1/32"]);
    assert_eq!(config.warnings, []);
}
