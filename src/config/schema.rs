//! The TOML file as serde types: keys and kinds of values only. The other modules of `config` interpret the
//! values; no type of this module is used outside `config`.
//!
//! `configs/reference.toml` explains every key; a test compares the two.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::shape::{List, TextOr, WordOrNumber};

/// A string with its position in the file.
pub(crate) type Text = Spanned<String>;
/// An integer with its position in the file.
pub(crate) type Number = Spanned<i64>;
/// A string, or an array of strings.
pub(crate) type Texts = List<String>;

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) translator: Option<Spanned<Translator>>,
    pub(crate) siit: Option<Spanned<Siit>>,
    pub(crate) timers: Option<Timers>,
    pub(crate) limits: Option<Limits>,
    pub(crate) dns64: Option<Spanned<Dns64>>,
    pub(crate) host: Option<Host>,
    pub(crate) observe: Option<Observe>,
    pub(crate) health: Option<Health>,
    pub(crate) binding_log: Option<BindingLog>,
    pub(crate) ledger: Option<Ledger>,
    #[serde(default)]
    pub(crate) zone: Vec<Spanned<Zone>>,
    #[serde(default, rename = "static")]
    pub(crate) statics: Vec<Spanned<Static>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Translator {
    pub(crate) pref64: Option<Texts>,
    pub(crate) pool4: Option<List<PoolEntry>>,
    pub(crate) egress: Option<Text>,
    pub(crate) egress_ports: Option<Text>,
    pub(crate) wkp_private: Option<Spanned<bool>>,
    pub(crate) wkp_icmp_errors: Option<bool>,
    pub(crate) deny: Option<Texts>,
    pub(crate) filtering: Option<Spanned<PerProtocol>>,
    pub(crate) unsolicited_syn: Option<Text>,
    pub(crate) inbound_refresh: Option<bool>,
    pub(crate) parity: Option<bool>,
    pub(crate) pairing: Option<Text>,
    pub(crate) mtu6: Option<Number>,
    pub(crate) mtu4: Option<Number>,
    pub(crate) lowest_ipv6_mtu: Option<Spanned<WordOrNumber>>,
    pub(crate) plateaus: Option<Spanned<Vec<Number>>>,
    pub(crate) traffic_class: Option<Spanned<WordOrNumber>>,
    pub(crate) tos: Option<Spanned<WordOrNumber>>,
    pub(crate) mss_clamp: Option<bool>,
    pub(crate) tcp_resegment: Option<bool>,
    pub(crate) refusals: Option<Text>,
    pub(crate) unknown_tcp: Option<Text>,
    pub(crate) error_rate: Option<Number>,
    pub(crate) error_rate6: Option<Number>,
    pub(crate) error_rate4: Option<Number>,
    pub(crate) error_burst: Option<Number>,
    pub(crate) address6: Option<Text>,
    pub(crate) address4: Option<Text>,
    pub(crate) linger: Option<Text>,
}

impl Translator {
    /// Whether clients may reach private addresses under the Well-Known Prefix.
    pub(crate) fn allows_private_destinations(&self) -> bool {
        self.wkp_private.as_ref().is_some_and(|value| *value.get_ref())
    }
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timers {
    pub(crate) udp: Option<Text>,
    pub(crate) udp_ports: Option<BTreeMap<Spanned<String>, Text>>,
    pub(crate) tcp_established: Option<Text>,
    pub(crate) tcp_transitory: Option<Text>,
    pub(crate) tcp_opening: Option<Text>,
    pub(crate) tcp_closing: Option<Text>,
    pub(crate) icmp: Option<Text>,
    pub(crate) unsolicited_syn: Option<Text>,
    pub(crate) fragment: Option<Text>,
    #[serde(alias = "port_rest")]
    pub(crate) port_quarantine: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) sessions: Option<Number>,
    pub(crate) bindings: Option<Number>,
    pub(crate) blocks: Option<Number>,
    pub(crate) hosts: Option<Number>,
    #[serde(alias = "hold_bytes")]
    pub(crate) fragment_bytes: Option<Number>,
    pub(crate) unsolicited_syns: Option<Number>,
    pub(crate) unsolicited_syns_per_source: Option<Number>,
    pub(crate) events: Option<Number>,
    pub(crate) blocks_per_host: Option<Number>,
    pub(crate) sessions_per_host: Option<Number>,
    pub(crate) bindings_per_second: Option<Number>,
    pub(crate) sessions_per_second: Option<Number>,
    pub(crate) sessions_burst: Option<Number>,
    pub(crate) first_block: Option<Number>,
    pub(crate) new_hosts_per_second: Option<Number>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dns64 {
    pub(crate) listen: Texts,
    pub(crate) upstreams: Texts,
    pub(crate) assign: Option<Text>,
    pub(crate) enabled: Option<bool>,
    pub(crate) synthesize: Option<Text>,
    pub(crate) ignore_aaaa_for: Option<Texts>,
    pub(crate) never_for: Option<Texts>,
    pub(crate) exclude_aaaa: Option<Texts>,
    pub(crate) never_translate_ipv4: Option<Texts>,
    pub(crate) with_do: Option<Text>,
    pub(crate) translator_down: Option<Text>,
    pub(crate) trust_ad: Option<bool>,
    pub(crate) discovery_ttl: Option<Text>,
    pub(crate) aaaa_wait: Option<Text>,
    pub(crate) attempt: Option<Text>,
    pub(crate) attempts: Option<Number>,
    pub(crate) total: Option<Text>,
    pub(crate) tcp_idle: Option<Text>,
    pub(crate) in_flight: Option<Number>,
    pub(crate) in_flight_per_client: Option<Number>,
    pub(crate) threads: Option<Number>,
    pub(crate) tls_listen: Option<Texts>,
    pub(crate) tls_name: Option<Text>,
    pub(crate) tls_certificate: Option<Text>,
    pub(crate) tls_key: Option<Text>,
    pub(crate) tls_authorities: Option<Text>,
    pub(crate) connections: Option<Number>,
    pub(crate) connections_per_client: Option<Number>,
    pub(crate) connection_total: Option<Text>,
    pub(crate) queries_per_second: Option<Number>,
    pub(crate) responses_per_second: Option<Number>,
    pub(crate) response_bytes_per_second: Option<Number>,
    #[serde(alias = "ready_bytes")]
    pub(crate) answer_cache_bytes: Option<Number>,
    pub(crate) cache_bytes: Option<Number>,
    pub(crate) cache_stale: Option<Text>,
    pub(crate) stale_wait: Option<Text>,
    pub(crate) cache_failure: Option<Text>,
    pub(crate) ledger_names: Option<Number>,
    pub(crate) ledger_links: Option<Number>,
    pub(crate) hosts: Option<Texts>,
    #[serde(default)]
    pub(crate) forward: Vec<Forward>,
    #[serde(default)]
    pub(crate) record: Vec<Record>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    pub(crate) domains: Texts,
    pub(crate) upstreams: Texts,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) name: Text,
    pub(crate) addresses: Texts,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    pub(crate) device: Option<Text>,
    pub(crate) mtu: Option<Number>,
    pub(crate) workers: Option<Number>,
    pub(crate) offloads: Option<bool>,
    pub(crate) steering: Option<bool>,
    pub(crate) overload_filter: Option<Text>,
    pub(crate) announce: Option<Text>,
    pub(crate) unreachable_routes: Option<bool>,
    pub(crate) sysctls: Option<Text>,
    pub(crate) firewall: Option<Text>,
    pub(crate) memory: Option<Text>,
    pub(crate) state_dir: Option<Text>,
    pub(crate) drain: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observe {
    pub(crate) metrics: Option<Text>,
    pub(crate) admin: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    pub(crate) file: Option<Text>,
    pub(crate) on_healthy: Option<Spanned<Vec<Text>>>,
    pub(crate) on_unhealthy: Option<Spanned<Vec<Text>>>,
    pub(crate) probes: Option<Texts>,
    pub(crate) probe_interval: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindingLog {
    pub(crate) sessions: Option<bool>,
    pub(crate) destinations: Option<Spanned<bool>>,
    pub(crate) files: Option<bool>,
    pub(crate) directory: Option<Text>,
    pub(crate) retention_days: Option<Number>,
    pub(crate) file_mib: Option<Number>,
    pub(crate) total_mib: Option<Number>,
    pub(crate) node: Option<Text>,
    pub(crate) hosts: Option<Text>,
    pub(crate) key_file: Option<Text>,
    pub(crate) journal: Option<bool>,
    pub(crate) syslog: Option<Texts>,
    pub(crate) ipfix: Option<Texts>,
    pub(crate) tls_authorities: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) enabled: Option<bool>,
    pub(crate) retention_days: Option<Number>,
    pub(crate) total_mib: Option<Number>,
    pub(crate) hosts: Option<Text>,
    pub(crate) key_file: Option<Text>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zone {
    pub(crate) name: Text,
    pub(crate) programme: Option<Text>,
    pub(crate) clients: Texts,
    pub(crate) pref64: Option<Texts>,
    pub(crate) pool4: Option<List<PoolEntry>>,
    pub(crate) pool_share: Option<Number>,
    pub(crate) host_prefix: Option<Number>,
    pub(crate) site_prefix: Option<Number>,
    pub(crate) limits: Option<ZoneLimits>,
    #[serde(default)]
    pub(crate) host: Vec<ZoneHost>,
    #[serde(default)]
    pub(crate) rule: Vec<Spanned<Rule>>,
    pub(crate) dns64: Option<ZoneDns64>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) action: Text,
    pub(crate) to: Option<Texts>,
    pub(crate) ports: Option<List<WordOrNumber>>,
    pub(crate) protocol: Option<Texts>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZoneHost {
    pub(crate) address: Text,
    pub(crate) blocks: Option<Number>,
    pub(crate) sessions: Option<Number>,
    pub(crate) bindings_per_second: Option<Number>,
    pub(crate) sessions_per_second: Option<Number>,
    pub(crate) sessions_burst: Option<Number>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZoneLimits {
    pub(crate) blocks_per_host: Option<Number>,
    pub(crate) sessions_per_host: Option<Number>,
    pub(crate) bindings_per_second: Option<Number>,
    pub(crate) sessions_per_second: Option<Number>,
    pub(crate) sessions_burst: Option<Number>,
    pub(crate) zone_sessions_per_second: Option<Number>,
    pub(crate) zone_sessions_burst: Option<Number>,
    pub(crate) first_block: Option<Number>,
    pub(crate) new_hosts_per_second: Option<Number>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZoneDns64 {
    pub(crate) enabled: Option<bool>,
    pub(crate) synthesize: Option<Text>,
    pub(crate) ignore_aaaa_for: Option<Texts>,
    pub(crate) never_for: Option<Texts>,
    pub(crate) exclude_aaaa: Option<Texts>,
    pub(crate) never_translate_ipv4: Option<Texts>,
    pub(crate) with_do: Option<Text>,
    pub(crate) translator_down: Option<Text>,
    #[serde(default)]
    pub(crate) range: Vec<DnsRange>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct DnsRange {
    pub(crate) ipv4: Text,
    pub(crate) pref64: Text,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Static {
    pub(crate) protocol: Text,
    pub(crate) outside: Text,
    pub(crate) inside: Text,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolTable {
    pub(crate) addresses: Text,
    pub(crate) ports: Option<Text>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Siit {
    pub(crate) eam: Option<List<EamEntry>>,
    pub(crate) pref64: Option<Text>,
    pub(crate) hosts: Option<Texts>,
    pub(crate) hosts_pref64: Option<Text>,
    pub(crate) inside: Option<Text>,
    pub(crate) hairpin: Option<Text>,
    pub(crate) udp_zero_checksum: Option<Text>,
    pub(crate) wkp: Option<Text>,
    pub(crate) untranslatable_source: Option<Text>,
    pub(crate) error_pool4: Option<Texts>,
    pub(crate) error_pool6: Option<Texts>,
    pub(crate) error_object: Option<Text>,
    pub(crate) routes: Option<Texts>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct EamTable {
    pub(crate) v4: Text,
    pub(crate) v6: Text,
}

/// An explicit address mapping: `"IPV4 = IPV6"`, or a table.
pub(crate) type EamEntry = TextOr<EamTable>;

/// An address or prefix with an optional port range: `"ADDRESS[:PORTS]"`, or a table.
pub(crate) type PoolEntry = TextOr<PoolTable>;

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct EachProtocol {
    pub(crate) tcp: Option<Text>,
    pub(crate) udp: Option<Text>,
    pub(crate) icmp: Option<Text>,
}

/// One keyword for all protocols, or one for each.
pub(crate) type PerProtocol = TextOr<EachProtocol>;
