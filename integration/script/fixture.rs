//! The settings that scenarios start from.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::addr::{Ipv4Prefix, PortRange, Pref64, WorkerId, ZoneId};
use gate64::nat64::{self, Limits, Pool, Zone};
use gate64::siit::{self, ErrorSources, Inside, Untranslatable, WellKnown, ZeroChecksum};
use gate64::translator::Settings;
use gate64::xlat::{self, Object};

/// Fixture N1 of the requirements.
pub(crate) fn fixture() -> Settings {
    let zone = Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec!["2001:db8:64::/96".parse().expect("literal")],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: 1000,
        bindings_per_second: 0,
    };
    let limits = Limits {
        sessions: 4096,
        bindings: 4096,
        blocks: 512,
        hosts: 256,
        fragment_bytes: 256 << 10,
        unsolicited_syns: 100,
        unsolicited_syns_per_source: 10,
        events: 256,
    };
    Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 64,
        owner_seed: 46,
        local: Default::default(),
        rules: xlat::RewriteRules::default(),
        siit: None,
        nat64: nat64::Settings {
            zones: vec![zone],
            pools: vec![Pool { ranges: vec![("203.0.113.1/32".parse().expect("literal"), PortRange::ALL)] }],
            limits,
            address6: Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
            address4: Ipv4Addr::new(192, 0, 2, 254),
            ..nat64::Settings::default()
        },
    }
}

/// The explicit mappings of RFC 7757 figure 1.
const FIGURE_1: [&str; 6] = [
    "192.0.2.1 = 2001:db8:aaaa::",
    "192.0.2.2/32 = 2001:db8:bbbb::b/128",
    "192.0.2.16/28 = 2001:db8:cccc::/124",
    "192.0.2.128/26 = 2001:db8:dddd::/64",
    "192.0.2.192/29 = 2001:db8:eeee:8::/62",
    "192.0.2.224/31 = 64:ff9b::/127",
];

/// `fixture s1`, `s2` or `clat`: default settings with mappings only.
pub(crate) fn named(name: &str) -> Result<Settings, String> {
    let mappings = match name {
        "s1" => siit::Settings {
            pref64: Some("2001:db8:64::/96".parse().expect("literal")),
            hosts: vec!["192.0.2.32/28".parse().expect("literal")],
            udp_zero_checksum: ZeroChecksum::Drop,
            ..siit::Settings::default()
        },
        "s2" => siit::Settings {
            pref64: Some(Pref64::WELL_KNOWN),
            eams: FIGURE_1.iter().map(|text| text.parse().expect("literal")).collect(),
            well_known: WellKnown::Any,
            udp_zero_checksum: ZeroChecksum::Drop,
            error_sources: ErrorSources {
                pool4: vec![Ipv4Prefix::host(Ipv4Addr::new(198, 51, 100, 1))],
                ..ErrorSources::default()
            },
            ..siit::Settings::default()
        },
        // RFC 6877 appendix A.
        "clat" => siit::Settings {
            pref64: Some("2001:db8:1234::/96".parse().expect("literal")),
            hosts: vec!["192.168.1.0/24".parse().expect("literal")],
            hosts_pref64: Some("2001:db8:aaaa::/96".parse().expect("literal")),
            inside: Inside::V4,
            well_known: WellKnown::Private,
            error_sources: ErrorSources {
                untranslatable: Untranslatable::Dummy,
                object: Some(Object::Node),
                ..ErrorSources::default()
            },
            ..siit::Settings::default()
        },
        other => return Err(format!("no fixture `{other}`")),
    };
    let mut settings = Settings { siit: Some(mappings), ..fixture() };
    settings.nat64.zones.clear();
    settings.nat64.pools.clear();
    Ok(settings)
}
