//! Valid files and the settings they result in. `integration/configs_bad` has the invalid ones.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

/// A host with one address of each family and default routes.
pub(crate) struct FakeHost(pub(crate) Vec<OwnAddress>);

impl FakeHost {
    pub(crate) fn new() -> Self {
        let own = |addr: &str, len| OwnAddress {
            interface: "eth0".to_owned(),
            addr: addr.parse().expect("literal"),
            len,
        };
        Self(vec![own("203.0.113.1", 24), own("2001:db8:1::1", 64)])
    }
}

impl HostInfo for FakeHost {
    fn addresses(&self) -> &[OwnAddress] {
        &self.0
    }

    fn local_routes(&self) -> &[(IpAddr, u8)] {
        const ROUTES: [(IpAddr, u8); 1] = [(IpAddr::V4(Ipv4Addr::new(198, 18, 77, 0)), 24)];
        &ROUTES
    }

    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        self.0.iter().map(|own| own.addr).find(|addr| addr.is_ipv4() == to.is_ipv4())
    }

    fn cpus(&self) -> usize {
        4
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_on(text, &FakeHost::new())
}

pub(crate) fn load_on(text: &str, host: &FakeHost) -> Result<Config, ConfigError> {
    Config::parse("t.toml", text, host)
}

#[test]
fn the_smallest_file() {
    // id 6146-3.5.4-defwkp
    let without =
        "[translator]\npool4 = \"192.0.2.64/28\"\n[[zone]]\nname = \"a\"\nclients = \"2001:db8:1::/64\"\n";
    assert_eq!(load(without).expect("a good file").nat64.zones[0].pref64, [Pref64::WELL_KNOWN]);
    let config = load(include_str!("../../configs/nat64.toml")).expect("a good file");
    assert_eq!(config.zone_names, ["floor-3"]);
    assert_eq!(config.host.workers, 4);
    assert_eq!(config.nat64.address4, Ipv4Addr::new(203, 0, 113, 1));
    assert_eq!(config.nat64.address6, "2001:db8:1::1".parse::<IpAddr>().expect("literal"));
    let deny: Vec<_> = config.nat64.deny.iter().map(ToString::to_string).collect();
    assert_eq!(deny, [""; 0]);
    assert!(config.local.has_v4("203.0.113.1".parse().expect("literal")));
    assert_eq!(config.warnings, []);
}

/// A valid file with the lines that a test adds.
fn with(translator: &str, zone: &str, more: &str) -> String {
    format!(
        "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.64/28\"\n{translator}\n\
         [[zone]]\nname = \"a\"\nclients = \"2001:db8:1::/64\"\n{zone}\n{more}\n"
    )
}

/// Errors of `text`, each as `LINE:COLUMN: FOUND (ALLOWED)`.
fn errors(text: &str) -> Vec<String> {
    let error = load(text).expect_err("a bad file");
    let line = |d: &Diagnostic| format!("{}:{}: {} ({})", d.line, d.column, d.found, d.allowed);
    error.diagnostics.iter().map(line).collect()
}

#[test]
fn lifetimes_by_port_and_by_phase() {
    // ids 4787-5a, 7857-2.1, C-06, 6146-3.5.2-transmin
    let text = with(
        "",
        "",
        "[timers]\nudp_ports = { 123 = \"60s\", 53 = \"30s\" }\ntcp_transitory = \"300s\"\ntcp_closing = \"4m\"",
    );
    let config = load(&text).expect("good");
    let secs = Duration::from_secs;
    assert_eq!(config.nat64.udp_ports, [(53, secs(30)), (123, secs(60))]);
    let timers = config.nat64.timers;
    assert_eq!((timers.tcp_opening, timers.tcp_closing), (secs(300), secs(240)));
    assert_eq!(config.warnings, []);
    let short = load(&with("", "", "[timers]\ntcp_opening = \"30s\"")).expect("only a warning");
    assert_eq!(short.warnings[0].found, "`30s` is short");
    assert!(short.warnings[0].to_string().contains("\n    = advice: "), "{}", short.warnings[0]);
    let cases = [
        ("{ 5000 = \"30s\" }", "10:15: `5000` is not a well-known port (1 to 1023 (RFC 4787 REQ-5a))"),
        ("{ dns = \"30s\" }", "10:15: `dns` is not a well-known port (1 to 1023 (RFC 4787 REQ-5a))"),
        ("{ 53 = \"0s\" }", "10:20: `0s` is too short (at least 1s)"),
    ];
    for (ports, want) in cases {
        assert_eq!(errors(&with("", "", &format!("[timers]\nudp_ports = {ports}"))), [want]);
    }
}

#[test]
fn policies_reach_the_translator() {
    // ids 6888-4c, 7857-4, W-icmp-src, 5508-7.2, 5508-9
    let lines = "pairing = \"soft\"\nwkp_icmp_errors = true\nerror_rate = 7\nerror_rate4 = 0\n\
                filtering = \"address-and-port-dependent\"";
    let config =
        load(&with(lines, "limits = { bindings_per_second = 3 }", "[limits]\nbindings_per_second = 9"))
            .expect("good");
    assert_eq!(config.nat64.pairing, nat64::Pairing::Soft);
    assert!(config.nat64.errors_under_well_known);
    assert_eq!(config.rules.error_rate, [7, 0]);
    assert_eq!(config.nat64.filtering, [nat64::Filtering::AddressAndPortDependent; 3]);
    assert_eq!(config.nat64.zones[0].bindings_per_second, 3);
    let wrong = with("pairing = \"no\"", "limits = { bindings_per_second = -1 }", "");
    let want = ["4:11: unknown value `no` (\"strict\", \"soft\")", "8:34: -1 is out of range (0 to 1000000)"];
    assert_eq!(errors(&wrong), want);
}

#[test]
fn sessions_and_destinations_are_logged_only_if_asked() {
    // id 6888-12
    let of = |text: &str| {
        let config = load(&with("", "", text)).expect("good");
        assert_eq!(config.nat64.log_sessions, config.binding_log.sessions.is_some(), "{text}");
        (config.binding_log.sessions.map(|records| records.destinations), config.warnings.len())
    };
    assert_eq!(of(""), (None, 0));
    assert_eq!(of("[binding_log]\nsessions = true"), (Some(false), 0));
    assert_eq!(of("[binding_log]\nsessions = true\ndestinations = true"), (Some(true), 0));
    assert_eq!(of("[binding_log]\ndestinations = true"), (None, 1));
    let nowhere = load(&with("", "", "[binding_log]\nsessions = true\nfiles = false")).expect("good");
    assert!(!nowhere.nat64.log_sessions);
}

#[test]
fn upstreams_have_the_transport_of_their_scheme() {
    use crate::dns64::Via;
    let text = with(
        "",
        "",
        "[dns64]\nlisten = \"[2001:db8:1::53]\"\nupstreams = [\"192.0.2.53\", \
        \"tcp://[2001:db8:53::1]\", \"tls://192.0.2.54#dns.example\", \"tls://[2001:db8:53::2]:8853\"]",
    );
    let settings = load(&text).expect("good").dns64.expect("has it").settings;
    let addr = |text: &str| text.parse().expect("literal");
    let want = [
        (addr("192.0.2.53:53"), Via::Udp),
        (addr("[2001:db8:53::1]:53"), Via::Tcp),
        (addr("192.0.2.54:853"), Via::Tls("dns.example".to_owned())),
        (addr("[2001:db8:53::2]:8853"), Via::Tls("2001:db8:53::2".to_owned())),
    ];
    assert_eq!(settings.upstreams, want.clone().map(|(addr, _)| addr));
    assert_eq!(settings.network.via, want.into());
}

#[test]
fn a_host_without_ipv6_needs_address6() {
    let error = load_on(&with("", "", ""), &FakeHost(Vec::new())).expect_err("no source for errors");
    let found = &error.diagnostics[0].found;
    assert_eq!(found, "this host has no IPv6 address that clients can reach");
    let config =
        load_on(&with("address6 = \"2001:db8:1::1\"", "", ""), &FakeHost(Vec::new())).expect("valid");
    assert_eq!(config.nat64.address4, Ipv4Addr::new(192, 0, 0, 8), "the dummy address of RFC 7600");
}

#[test]
fn warnings_do_not_make_a_file_invalid() {
    // ids 6052-3.4-s3, 7269-ula, 7269-mtu, 6146-3.4-frag-time
    let text = with("mtu4 = 1260", "", "[timers]\ntcp_transitory = \"120s\"\nfragment = \"1s\"")
        .replace("2001:db8:64::/96", "fd00:64::/96")
        .replace("2001:db8:1::/64", "::/0");
    let config = load(&text).expect("only warnings");
    let found: Vec<_> = config.warnings.iter().map(|w| format!("{}: {}", w.line, w.found)).collect();
    let want = [
        "2: fd00:64::/96 is a unique local prefix",
        "4: an IPv4 MTU of 1260 bytes",
        "7: ::/0 includes a large part of the Internet",
        "10: `120s` is short",
        "11: `1s` is short",
    ];
    assert_eq!(found, want);
}

#[test]
fn an_ipv4_listen_address_is_a_warning() {
    let dns = "[dns64]\nlisten = [\"192.0.2.53\", \"2001:db8:1::53\"]\nupstreams = \"198.51.100.53\"";
    let config = load(&with("", "", dns)).expect("only a warning");
    let found: Vec<_> = config.warnings.iter().map(|warning| warning.found.as_str()).collect();
    assert_eq!(found, ["192.0.2.53 serves no client"]);
}

#[test]
fn a_pref64_within_a_subnet_of_the_host_is_a_warning() {
    let text = with("", "", "")
        .replace("2001:db8:64::/96", "2001:db8:1:0:0:64::/96")
        .replace("2001:db8:1::/64", "2001:db8:2::/64");
    let config = load(&text).expect("only a warning");
    assert_eq!(
        config.warnings[0].found,
        "2001:db8:1::64:0:0/96 is within the subnet 2001:db8:1::/64 of eth0"
    );
}

#[test]
fn zones_share_a_pool_or_have_their_own() {
    let zone = |name: &str, n: u8, more: &str| {
        format!("[[zone]]\nname = \"{name}\"\nclients = \"2001:db8:{n}::/64\"\n{more}\n")
    };
    let more = zone("b", 2, "pool4 = [\"192.0.2.64/28\"]")
        + &zone("c", 3, "pool4 = \"198.51.100.7:1024-2047\"\nhost_prefix = 64\npref64 = \"64:ff9b::/96\"")
        + &zone("d", 4, "limits = { blocks_per_host = 3 }");
    let config = load(&with("", "", &more)).expect("good");
    let nat64 = &config.nat64;
    let pools: Vec<_> = nat64.zones.iter().map(|z| z.pool).collect();
    assert_eq!(pools, [0, 0, 1, 0]);
    assert_eq!(nat64.pools.len(), 2);
    assert_eq!(nat64.zones[2].host_len, 64);
    assert_eq!(nat64.zones[2].pref64, [Pref64::WELL_KNOWN]);
    let ports: Vec<_> = nat64.zones.iter().map(|z| z.ports_per_host).collect();
    assert_eq!(ports, [2048, 2048, 2048, 768]);
}

#[test]
fn masquerade_has_one_address_and_the_configured_ports() {
    let text = with("egress_ports = \"50000-59999\"", "", "")
        .replace("pool4 = \"192.0.2.64/28\"", "egress = \"masquerade\"");
    let config = load(&text).expect("good");
    let ports = crate::addr::PortRange::new(50_000, 59_999).expect("a range");
    assert_eq!(config.egress, Egress::Masquerade { ports });
    let inner = crate::addr::Ipv4Prefix::host(INNER);
    assert_eq!(config.nat64.pools, [nat64::Pool { ranges: vec![(inner, ports)] }]);
}

#[test]
fn zones_keep_their_numbers_across_a_reload() {
    let zone = |name: &str, n: u8| format!("[[zone]]\nname = \"{name}\"\nclients = \"2001:db8:{n}::/64\"\n");
    let dns = "[dns64]\nlisten = \"2001:db8:1::53\"\nupstreams = \"198.51.100.53\"\n";
    let before = load(&with("", "", &(zone("b", 2) + &zone("c", 3) + dns))).expect("good");
    let mut after = load(&with("", "", &(zone("d", 4) + &zone("c", 3) + dns))).expect("good");
    after.keep_zone_numbers(&before);
    let numbers: Vec<_> = after.nat64.zones.iter().map(|z| z.id.0).collect();
    assert_eq!((after.zone_names.join(" ").as_str(), numbers), ("a d c", vec![0, 1, 2]));
    let in_dns: Vec<_> = after.dns64.expect("there").settings.zones.iter().map(|z| z.id.0).collect();
    assert_eq!(in_dns, [0, 1, 2]);
}

#[test]
fn workers_share_the_limits() {
    let config =
        load(&with("", "", "[limits]\nsessions = 10\nunsolicited_syns_per_source = 7")).expect("good");
    let settings = config.worker(WorkerId(1), 3, 5, 6);
    assert_eq!(
        (settings.worker, settings.workers, settings.seed, settings.owner_seed),
        (WorkerId(1), 3, 5, 6)
    );
    assert_eq!(settings.nat64.limits.sessions, 4);
    assert_eq!(settings.nat64.limits.unsolicited_syns_per_source, 7);
    assert_eq!(settings.nat64.zones, config.nat64.zones);
}

#[test]
fn lowest_ipv6_mtu_is_a_number_or_mtu6() {
    // ids 6m-mtu, 7915-4.1-frag-mtucfg-min, 7756-4.1
    let lowest = |line: &str| load(&with(line, "", "")).expect("good").rules.lowest_ipv6_mtu;
    assert_eq!(lowest(""), 1280);
    assert_eq!(lowest("lowest_ipv6_mtu = 1400"), 1400);
    assert_eq!(lowest("lowest_ipv6_mtu = \"auto\""), 1500);
    assert_eq!(lowest("mtu6 = 1420\nlowest_ipv6_mtu = \"auto\""), 1420);
    let cases = [
        ("lowest_ipv6_mtu = 1279", "4:19: 1279 is out of range (\"auto\", or 1280 to 1500)"),
        ("lowest_ipv6_mtu = 1501", "4:19: 1501 is out of range (\"auto\", or 1280 to 1500)"),
        ("lowest_ipv6_mtu = \"path\"", "4:19: `path` is not an MTU (\"auto\", or 1280 to 1500)"),
    ];
    for (line, want) in cases {
        assert_eq!(errors(&with(line, "", "")), [want]);
    }
}

#[test]
fn only_the_operator_allows_private_addresses_under_the_well_known_prefix() {
    // ids W-plat-keep, W-plat-default, W-plat
    let private = |line: &str| load(&with(line, "", "")).expect("good").nat64.private_under_well_known;
    assert!(!private(""));
    assert!(!private("wkp_private = false"));
    assert!(private("wkp_private = true"));
}

#[test]
fn access_that_is_too_wide_is_a_warning() {
    // ids W-acl, W-oneprefix
    let warnings = |text: &str| -> Vec<String> {
        let config = load(text).expect("only warnings");
        config.warnings.iter().map(|w| format!("{}:{}: {}", w.line, w.column, w.found)).collect()
    };
    let open = "wkp_private = true";
    assert_eq!(warnings(&with(open, "", "")), ["4:15: clients can reach all private addresses"]);
    assert_eq!(warnings(&with(&format!("{open}\ndeny = \"10.0.0.0/8\""), "", "")), [""; 0]);
    let two = "[\"2001:db8:64::/96\", \"64:ff9b::/96\"]";
    let text = with("", "", "").replace("\"2001:db8:64::/96\"", two);
    assert_eq!(warnings(&text), ["2:10: the zone has 2 prefixes"]);
}

#[test]
fn plateaus() {
    let many = format!("plateaus = {:?}", [1492; 17]);
    let cases = [
        ("plateaus = [1492, 67]", "4:19: 67 is out of range (68 to 65535)"),
        (many.as_str(), "4:12: 17 plateaus (at most 16 path MTUs)"),
    ];
    for (line, want) in cases {
        assert_eq!(errors(&with(line, "", "")), [want]);
    }
    let rules = load(&with("plateaus = [1400, 9000]", "", "")).expect("good").rules;
    assert_eq!(rules.plateaus, crate::xlat::Plateaus::new(&[9000, 1400]).expect("few"));
}

#[test]
fn former_names_of_keys_are_accepted() {
    let dns = "[dns64]\nlisten = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.53\"]\n";
    let text = |port: &str, fragment: &str, answer: &str| {
        let tables = format!("[timers]\n{port} = \"7s\"\n[limits]\n{fragment} = 70000\n{dns}{answer} = 5\n");
        with("", "", &tables)
    };
    let load = |text: &str| load_on(text, &FakeHost::new());
    let old = load(&text("port_rest", "hold_bytes", "ready_bytes")).expect("the former names");
    let new = load(&text("port_quarantine", "fragment_bytes", "answer_cache_bytes")).expect("the names");
    assert_eq!(old, new);
    assert_eq!(new.nat64.timers.quarantine, Duration::from_secs(7));
    assert_eq!(new.nat64.limits.fragment_bytes, 70_000);
}
