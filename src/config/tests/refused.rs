//! Files that can't be used, and the exact words about them.

use super::*;

#[test]
fn a_complaint_shows_the_line_and_points_at_the_place() {
    let error = load(&with("mtu6 = 1279", "", "")).expect_err("too small");
    let want = "\
t.toml:4:8: 1279 is out of range
 4 | mtu6 = 1279
   |        ^^^^
   = allowed: 1280 to 1500";
    assert_eq!(error.to_string(), want);
}

#[test]
fn all_complaints_come_at_once_in_the_order_of_the_file() {
    let text = with("mtu4 = 60\ntos = \"x\"", "host_prefix = 129", "[timers]\nudp = \"119s\"");
    let error = load(&text).expect_err("four mistakes");
    let places: Vec<_> = error.diagnostics.iter().map(|d| (d.line, d.column)).collect();
    assert_eq!(places, [(4, 8), (5, 7), (9, 15), (11, 7)]);
    assert_eq!(error.to_string().matches("= allowed:").count(), 4);
}

#[test]
fn what_the_toml_reader_refuses() {
    let cases = [
        (with("pref46 = \"x\"", "", ""), "4:1: unknown key `pref46`; did you mean `pref64`? ("),
        (
            with("", "colour = 1", ""),
            "8:1: unknown key `colour` (`name`, `clients`, `pref64`, `pool4`, `host_prefix`, `limits`, `dns64`)",
        ),
        (
            with("", "", "[zones]"),
            "9:2: unknown key `zones`; did you mean `zone`? (`zone`, or another key that reference.toml has here)",
        ),
        (with("mss_clamp = \"yes\"", "", ""), "4:13: \"yes\" is a text (true or false, without quotes)"),
        (with("mtu6 = \"1500\"", "", ""), "4:8: \"1500\" is a text (a whole number, without quotes)"),
        (with("deny = 5", "", ""), "4:8: 5 is a number (a text or a list of texts)"),
        (
            with("", "", "[dns64]\nlisten = \"[2001:db8:1::53]\""),
            "9:1: the key `upstreams` is missing (a table with `upstreams = …`)",
        ),
        (
            "[[zone]]\nclients = \"2001:db8::/64\"\n".to_owned(),
            "1:1: the key `name` is missing (a table with `name = …`)",
        ),
        (
            with("egress = ", "", ""),
            "4:10: this is no value (a text in quotes, a number, true or false, a list or a table)",
        ),
    ];
    for (text, want) in cases {
        let found = complaints(&text);
        assert!(found[0].starts_with(want), "{found:?}\nwanted {want}");
    }
}

#[test]
fn prefixes_that_are_no_pref64() {
    // ids 6052-2.2-lens, 6052-2.2-wkplen, 6052-2.2-u-96cfg, 6052-2.2-hostbits
    let allowed = "(a unicast IPv6 prefix of length 32, 40, 48, 56, 64 or 96, or 64:ff9b::/96)";
    let cases = [
        (
            "2001:db8::/33",
            "`2001:db8::/33`: a pref64 has the length 32, 40, 48, 56, 64 or 96, not 33 (RFC 6052 §2.2)",
        ),
        ("64:ff9b::/64", "`64:ff9b::/64`: the Well-Known Prefix is 64:ff9b::/96, not /64 (RFC 6052 §2.1)"),
        (
            "2001:db8:1:2:100::/96",
            "`2001:db8:1:2:100::/96`: bits 64 to 71 of a pref64 must be zero (RFC 6052 §2.2)",
        ),
        ("2001:db8:64::1/96", "`2001:db8:64::1/96`: bits behind the prefix length are set"),
        ("fe80::/64", "`fe80::/64`: a pref64 must be a unicast prefix"),
    ];
    for (pref64, want) in cases {
        let text = with("", "", "").replace("2001:db8:64::/96", pref64);
        assert_eq!(complaints(&text), [format!("2:10: {want} {allowed}")], "{pref64}");
    }
    for len in [0, 16, 44, 72, 95, 97, 128] {
        let text = with("", "", "").replace("2001:db8:64::/96", &format!("2001::/{len}"));
        assert_eq!(complaints(&text).len(), 1, "/{len}");
    }
}

#[test]
fn what_the_zones_get_wrong() {
    // id 6146-3-pref
    let second = |zone: &str| format!("[[zone]]\nname = \"b\"\nclients = \"2001:db8:2::/64\"\n{zone}");
    let cases = [
        (
            with("", "", "[[zone]]\nname = \"b\"\nclients = [\"2001:db8:2::/64\", \"2001:db8:1::/64\"]"),
            "11:31: 2001:db8:1::/64 is already a client prefix (each client prefix in one zone, once)",
        ),
        (
            with("", "", "[[zone]]\nname = \"a\"\nclients = \"2001:db8:2::/64\""),
            "10:8: a second zone named `a` (each name once)",
        ),
        (
            with("", "", "").replace("name = \"a\"", "name = \"a b\""),
            "6:8: `a b` is no name for a zone (1 to 63 letters, digits, `-`, `_` and `.`)",
        ),
        (
            with("", "", "").replace("\"2001:db8:1::/64\"", "[]"),
            "7:11: a zone without clients (IPv6 addresses or prefixes, such as \"2001:db8:1::/64\")",
        ),
        (
            with("", "", "").replace("2001:db8:1::/64", "2001:db8:64::/112"),
            "7:11: the client prefix 2001:db8:64::/112 lies in the pref64 2001:db8:64::/96 (client prefixes outside every pref64)",
        ),
        (with("", "limits = { blocks_per_host = 0 }", ""), "8:30: 0 is out of range (1 to 65535)"),
        (
            with("", "", &second("pref64 = \"2001:db8:64::/64\"")),
            "12:10: 2001:db8:64::/64 overlaps the pref64 2001:db8:64::/96 (pref64s that share no address)",
        ),
        (
            with("", "", &second("pool4 = \"192.0.2.72/30\"")),
            "12:9: 192.0.2.72/30 overlaps 192.0.2.64/28 of another zone's pool4 (zones share a whole pool4 or nothing of it)",
        ),
        (
            with("", "", "").replace("pool4 = \"192.0.2.64/28\"", ""),
            "6:8: zone `a` has no pool4 (pool4 in [translator] or in the zone, or egress = \"masquerade\")",
        ),
        (
            "[translator]\npool4 = \"192.0.2.64/28\"\naddress6 = \"2001:db8:1::1\"\n".to_owned(),
            "1:1: there is no zone (at least one [[zone]] with `name` and `clients`, or [siit])",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(complaints(&text), [want]);
    }
}

#[test]
fn what_pool4_gets_wrong() {
    let masquerade = "egress = \"masquerade\"";
    let form = "(an address or prefix, with ports if not all may be used: \"192.0.2.64/28\", \
                \"203.0.113.1:32768-65535\", { addresses = \"…\", ports = \"…\" })";
    let ports = "(FIRST-LAST with 1 <= FIRST <= LAST <= 65535)";
    let own = "(addresses the host does not use; to share the host's own address, leave pool4 out and \
               write egress = \"masquerade\")";
    let cases = [
        ("\"203.0.113.0/28\"", format!("3:9: 203.0.113.1 is an address of this host (eth0) {own}")),
        ("\"203.0.113.1:32768-65535\"", format!("3:9: 203.0.113.1 is an address of this host (eth0) {own}")),
        ("\"192.0.2.1:2000-1000\"", format!("3:9: `2000-1000`: the port range is upside down {ports}")),
        ("\"192.0.2.1:0-1000\"", format!("3:9: port 0 is no port {ports}")),
        ("\"192.0.2.1/28\"", format!("3:9: `192.0.2.1/28`: bits behind the prefix length are set {form}")),
        ("\"127.0.0.0/28\"", "3:9: 127.0.0.0/28 holds no addresses of hosts (unicast addresses outside 0/8, 127/8, 224/4 and 240/4)".to_owned()),
        ("[]", format!("3:9: pool4 is empty {form}")),
        ("[\"192.0.2.0/30\", \"192.0.2.2\"]", "3:26: 192.0.2.2/32 overlaps 192.0.2.0/30 of the same pool4 (each address and port once)".to_owned()),
        ("{ addresses = \"192.0.2.1\", ports = \"9-1\" }", format!("3:44: `9-1`: the port range is upside down {ports}")),
        (
            "\"192.0.2.64/28\"\negress = \"masquerade\"",
            "3:9: pool4 beside egress = \"masquerade\" (either pool4, or egress = \"masquerade\", which takes its ports from egress_ports)".to_owned(),
        ),
    ];
    for (pool, want) in cases {
        let text = with("", "", "").replace("\"192.0.2.64/28\"", pool);
        assert_eq!(complaints(&text), [want], "{pool}");
    }
    let text = with("egress_ports = \"2000-3000\"", "", "");
    assert_eq!(
        complaints(&text),
        [
            "4:16: egress_ports without egress = \"masquerade\" (egress = \"masquerade\" beside it, or neither)"
        ]
    );
    let text = with("egress_ports = \"80-3000\"", "", "").replace("pool4 = \"192.0.2.64/28\"", masquerade);
    assert_eq!(
        complaints(&text),
        ["4:16: 80-3000 takes ports from the host's own services (ports from 1024 on)"]
    );
}

#[test]
fn timers_below_the_floors_of_rfc_6146() {
    // ids 6146-3.5.1-timer-min, 6146-3.5.2-estmin, 6146-3.5.3-timer
    let cases = [
        ("udp = \"119s\"", "10:7: `119s` is too short (at least 120s (RFC 6146 §4, UDP_MIN))"),
        (
            "tcp_established = \"7199s\"",
            "10:19: `7199s` is too short (at least 7200s (RFC 6146 §4, TCP_EST))",
        ),
        ("icmp = \"59s\"", "10:8: `59s` is too short (at least 60s (RFC 6146 §4, ICMP_DEFAULT))"),
        (
            "unsolicited_syn = \"5s\"",
            "10:19: `5s` is too short (at least 6s (RFC 6146 §4, TCP_INCOMING_SYN))",
        ),
        (
            "udp = \"300\"",
            "10:7: `300` is no time (a number and a unit, such as \"800ms\", \"300s\", \"5m\" or \"2h\")",
        ),
    ];
    for (line, want) in cases {
        assert_eq!(complaints(&with("", "", &format!("[timers]\n{line}"))), [want]);
    }
}

#[test]
fn what_static_bindings_get_wrong() {
    let one = |protocol: &str, outside: &str, inside: &str| {
        let entry =
            format!("[[static]]\nprotocol = \"{protocol}\"\noutside = \"{outside}\"\ninside = \"{inside}\"");
        with("", "", &entry)
    };
    let inside = "[2001:db8:1::80]:443";
    let cases = [
        (
            one("sctp", "192.0.2.65:443", inside),
            "10:12: `sctp` is no word for this key (\"tcp\", \"udp\", \"icmp\")",
        ),
        (
            one("tcp", "192.0.2.65", inside),
            "11:11: `192.0.2.65`: invalid IPv4 socket address syntax (ADDRESS:PORT, such as \"192.0.2.65:443\")",
        ),
        (
            one("tcp", "192.0.2.65:443", "[2001:db8:9::80]:443"),
            "12:10: 2001:db8:9::80 is in no zone (an address within a zone's `clients`)",
        ),
        (
            one("tcp", "203.0.113.1:443", inside),
            "11:11: 203.0.113.1 is an address of this host (eth0) (an address the host does not use)",
        ),
        (one("udp", "192.0.2.65:0", inside), "11:11: port 0 is no port (1 to 65535)"),
    ];
    for (text, want) in cases {
        assert_eq!(complaints(&text), [want]);
    }
    let twice = format!(
        "{}\n[[static]]\nprotocol = \"tcp\"\noutside = \"192.0.2.65:443\"\ninside = \"[2001:db8:1::81]:443\"",
        one("tcp", "192.0.2.65:443", inside)
    );
    assert_eq!(
        complaints(&twice),
        [
            "16:11: 192.0.2.65:443 and [2001:db8:1::80]:443 are already bound to each other (each end of a static binding once per protocol)"
        ]
    );
}

#[test]
fn what_dns64_gets_wrong() {
    let dns = |listen: &str, upstreams: &str, more: &str| {
        with("", "", &format!("[dns64]\nlisten = \"{listen}\"\nupstreams = \"{upstreams}\"\n{more}"))
    };
    let good = ("[2001:db8:1::53]:53", "198.51.100.53");
    let cases = [
        (
            dns("[2001:db8:64::53]:53", good.1, ""),
            "10:10: 2001:db8:64::53 lies in the pref64 2001:db8:64::/96 (an address outside every pref64)",
        ),
        (
            dns("[ff02::1]:53", good.1, ""),
            "10:10: ff02::1 is not an address to listen on (unicast addresses, or \"[::]\" for all of them)",
        ),
        (
            dns(good.0, "tls://dns.example", ""),
            "11:13: `tls://dns.example` is no address with a port (\"[2001:db8:1::53]:53\", \"198.51.100.53:53\"; the port may be left out)",
        ),
        (
            dns(good.0, "X", "").replace("\"X\"", "[\"198.51.100.53\", \"tcp://198.51.100.53\"]"),
            "11:31: 198.51.100.53:53 a second time, and otherwise (one way to speak to each upstream)",
        ),
        (
            dns(good.0, good.1, "tls_listen = \"[2001:db8:1::53]:853\""),
            "12:14: tls_listen alone (tls_certificate and tls_key beside it)",
        ),
        (dns(good.0, good.1, "threads = 0"), "12:11: 0 is out of range (1 to 64)"),
        (
            dns("dns.example:53", good.1, ""),
            "10:10: `dns.example:53` is no address with a port (\"[2001:db8:1::53]:53\", \"198.51.100.53:53\"; the port may be left out)",
        ),
        (
            dns(good.0, "2001:db8:1::53", ""),
            "11:13: [2001:db8:1::53]:53 is an address gate64 itself listens on (resolvers other than this one)",
        ),
        (
            dns(good.0, good.1, "assign = \"an interface\""),
            "12:10: `an interface` is no name for an interface (1 to 15 printable characters without space, `/`, `:`, `%` and `\"`)",
        ),
        (
            dns(good.0, good.1, "discovery_ttl = \"59s\""),
            "12:17: `59s` is too short (at least 60s (RFC 7050 §5))",
        ),
        (
            dns(good.0, good.1, "with_do = \"maybe\""),
            "12:11: `maybe` is no word for this key (\"auto\", \"never\", \"unsigned-only\", \"validated\")",
        ),
        (
            dns(good.0, good.1, "total = \"500ms\""),
            "12:9: `500ms` in all, but one attempt may take longer (at least `attempt`, which is 1s)",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(complaints(&text), [want]);
    }
}

#[test]
fn what_the_rest_gets_wrong() {
    // id 7915-4.1-frag-mtucfg-min
    let cases = [
        (
            with("filtering = \"open\"", "", ""),
            "4:13: `open` is no word for this key (\"endpoint-independent\", \"address-dependent\", \"address-and-port-dependent\")",
        ),
        (
            with("filtering = { udp = \"open\" }", "", ""),
            "4:21: `open` is no word for this key (\"endpoint-independent\", \"address-dependent\", \"address-and-port-dependent\")",
        ),
        (with("tos = 256", "", ""), "4:7: 256 is out of range (\"copy\", or a number from 0 to 255)"),
        (
            with("address6 = \"2001:db8:64::1\"", "", ""),
            "4:12: 2001:db8:64::1 lies in the pref64 2001:db8:64::/96 (an address outside every pref64 (RFC 7915 §5.4))",
        ),
        (
            with("address4 = \"127.0.0.1\"", "", ""),
            "4:12: 127.0.0.1 is no host's address (a unicast address)",
        ),
        (with("lowest_ipv6_mtu = 1279", "", ""), "4:19: 1279 is out of range (\"auto\", or 1280 to 1500)"),
        (with("", "", "[host]\nworkers = 0"), "10:11: 0 is out of range (1 to 64)"),
        (
            with("", "", "[host]\nstate_dir = \"state\""),
            "10:13: `state` is not an absolute path (a path from /)",
        ),
        (
            with("", "", "[host]\nannounce = \"bgp\""),
            "10:12: `bgp` is no word for this key (\"auto\", \"routed\", \"proxy\")",
        ),
        (
            with("", "", "[observe]\nmetrics = \"6464\""),
            "10:11: `6464`: invalid socket address syntax (\"[::1]:6464\", another address with a port, or \"off\")",
        ),
        (with("", "", "[limits]\nsessions = 0"), "10:12: 0 is out of range (1 to 100000000)"),
    ];
    for (text, want) in cases {
        assert_eq!(complaints(&text), [want]);
    }
}
