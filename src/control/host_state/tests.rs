//! Tests with the kernel, each in its own network namespace.

use std::process::Command;

use super::*;
use crate::config::tests::{FakeHost, load_on};
use crate::control::sysctl::{ICMP_TIMEOUT, RESERVED_PORTS};
use crate::device::own_network::{own_network, run};

/// Output of a command in the network namespace of this thread.
fn output(line: &str) -> String {
    let mut words = line.split_whitespace();
    let result = Command::new(words.next().expect("a command")).args(words).output().expect("installed");
    String::from_utf8_lossy(&result.stdout).into_owned()
}

/// All state of the host that a gateway may change.
fn host() -> String {
    let commands = ["ip addr show lan", "ip route", "ip -6 route", "ip neigh show proxy", "nft list ruleset"];
    let keys = [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/lan/accept_ra",
        "net/ipv6/conf/eth0/accept_ra",
        "net/ipv4/neigh/eth0/proxy_delay",
        "net/ipv4/ip_local_reserved_ports",
        "net/netfilter/nf_conntrack_icmp_timeout",
    ];
    let read = |key: &str| format!("{key} = {}\n", Tree::kernel().read(key).expect("a setting"));
    let texts = commands.iter().map(|c| output(c)).chain(keys.iter().map(|key| read(key)));
    // Link-local addresses appear at any time.
    texts
        .flat_map(|t| t.lines().filter(|l| !l.contains("fe80")).map(|l| format!("{l}\n")).collect::<Vec<_>>())
        .collect()
}

/// Creates a LAN, an IPv4 uplink and the gate64 device.
fn prepare() {
    for line in [
        "ip link add lan type veth peer name lanpeer",
        "ip link add eth0 type veth peer name eth0peer",
        "ip link set lan up",
        "ip link set lanpeer up",
        "ip link set eth0 up",
        "ip link set eth0peer up",
        "ip addr add 203.0.113.1/24 dev eth0",
        "ip addr add 2001:db8:1::1/64 dev lan nodad",
        "ip tuntap add gate64 mode tun",
    ] {
        run(line);
    }
}

fn config(pool: &str, more: &str) -> Config {
    let text = format!(
        "[translator]\npref64 = \"2001:db8:64::/96\"\n{pool}\n\
         [dns64]\nlisten = \"2001:db8:1::53\"\nupstreams = \"198.51.100.53\"\nassign = \"lan\"\n{more}\n\
         [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
    );
    load_on(&text, &FakeHost::new()).expect("a good file")
}

const ON_LINK: &str = "pool4 = \"203.0.113.64/30\"";
const MASQUERADE: &str = "egress = \"masquerade\"";

fn requirements(config: &Config) -> Requirements {
    Requirements::of(config, &FakeHost::new().0, &[])
}

async fn open(dir: &std::path::Path) -> HostState {
    let netlink = Netlink::open().expect("netlink");
    let index = netlink.index("gate64").await.expect("our device");
    HostState::new(netlink, Journal::open(dir).expect("a record"), Announcer::default(), "gate64", index)
}

/// Runs `test` on this thread, which is in the network namespace.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

#[test]
fn release_undoes_all_changes() {
    own_network("release_undoes_all_changes", || {
        prepare();
        let before = host();
        for pool in [ON_LINK, MASQUERADE] {
            let dir = tempfile::tempdir().expect("a directory");
            let config = config(pool, "");
            block_on(async {
                let mut host_state = open(dir.path()).await;
                host_state.apply(&config, &requirements(&config)).await.expect("ready");
                assert!(output("ip -6 route").contains("2001:db8:64::/96 via fe80::64 dev gate64"), "{pool}");
                assert!(output("ip addr show lan").contains("2001:db8:1::53/128"), "{pool}");
                assert_eq!(Tree::kernel().read("net/ipv6/conf/lan/accept_ra").expect("there"), "2");
                assert!(!output("ip addr show gate64").contains("fe80"), "no link-local address");
                let delay = Tree::kernel().read("net/ipv4/neigh/eth0/proxy_delay").expect("there");
                assert_eq!(delay == "0", pool == ON_LINK, "{pool}: {delay}");
                host_state.release(Extent::All).await;
            });
            run("ip link set gate64 down");
            assert_eq!(host(), before, "{pool}");
            assert!(!dir.path().join("changes.json").exists());
        }
    });
}

#[test]
fn all_ipv6_routes_share_a_neighbour() {
    own_network("all_ipv6_routes_share_a_neighbour", || {
        prepare();
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(
            ON_LINK,
            "[siit]\npref64 = \"2001:db8:46::/96\"\neam = \"192.0.2.0/28 = 2001:db8:9::/124\"",
        );
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&config, &requirements(&config)).await.expect("ready");
            for route in ["2001:db8:64::/96", "2001:db8:46::/96"] {
                let found = output(&format!("ip -6 route show {route}"));
                assert!(found.contains("via fe80::64 dev gate64") && found.contains("onlink"), "{found}");
            }
            let neighbours = output("ip -6 neigh show dev gate64 nud permanent");
            let words: Vec<_> = neighbours.split_whitespace().collect();
            assert_eq!(
                (words.first(), words.last()),
                (Some(&"fe80::64"), Some(&"PERMANENT")),
                "{neighbours}"
            );
            host_state.remove_obsolete(&Requirements::default()).await;
            assert!(!output("ip -6 route").contains("gate64 proto 64"), "{}", output("ip -6 route"));
            host_state.release(Extent::All).await;
        });
        run("ip link set gate64 down");
        assert_eq!(output("ip -6 neigh show dev gate64 nud permanent"), "", "it vanishes with the device");
    });
}

#[test]
fn cleanup_undoes_the_changes_of_a_killed_gateway_once() {
    own_network("cleanup_undoes_the_changes_of_a_killed_gateway_once", || {
        prepare();
        let before = host();
        let dir = tempfile::tempdir().expect("a directory");
        for pool in [ON_LINK, MASQUERADE] {
            let config = config(pool, "");
            block_on(async {
                let mut host_state = open(dir.path()).await;
                host_state.apply(&config, &requirements(&config)).await.expect("ready");
            });
        }
        run("ip link set gate64 down");
        assert_ne!(host(), before);
        assert_ne!(crate::control::cleanup::cleanup(dir.path(), Extent::All).expect("undone"), 0);
        assert_eq!(host(), before);
        assert_eq!(crate::control::cleanup::cleanup(dir.path(), Extent::All).expect("nothing to do"), 0);
    });
}

#[test]
fn masquerade_reserves_ports_and_sets_conntrack_timeouts() {
    own_network("masquerade_reserves_ports_and_sets_conntrack_timeouts", || {
        prepare();
        run("sysctl -q -w net.ipv4.ip_local_reserved_ports=8080");
        run("nft add table ip theirs");
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(MASQUERADE, "");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&config, &requirements(&config)).await.expect("ready");
            let tree = Tree::kernel();
            assert_eq!(tree.read(RESERVED_PORTS).expect("there"), "8080,40960-65535");
            assert_eq!(tree.read(ICMP_TIMEOUT).expect("there"), "60");
            let table = output("nft list table ip gate64");
            assert!(table.contains("unreplied : 300, replied : 300"), "{table}");
            host_state.release(Extent::All).await;
            assert_eq!(tree.read(RESERVED_PORTS).expect("there"), "8080");
        });
        assert!(output("nft list tables").contains("table ip theirs"), "another program's table");
    });
}

#[test]
fn egress_ports_must_leave_ephemeral_ports() {
    own_network("egress_ports_must_leave_ephemeral_ports", || {
        prepare();
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(&format!("{MASQUERADE}\negress_ports = \"1024-65535\""), "");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            let why = host_state.apply(&config, &requirements(&config)).await.expect_err("no port left");
            assert!(why.to_string().contains("leaves no ephemeral port (32768-60999"), "{why}");
            host_state.release(Extent::All).await;
        });
    });
}

#[test]
fn checked_sysctls_name_the_command() {
    own_network("checked_sysctls_name_the_command", || {
        prepare();
        let before = host();
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(ON_LINK, "[host]\nsysctls = \"check\"");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            let why = host_state.apply(&config, &requirements(&config)).await.expect_err("not forwarding");
            let want = "net.ipv6.conf.all.forwarding is 0 and must be 1 (sysctls = \"check\" leaves it to you); \
                        type: sysctl -w net.ipv6.conf.all.forwarding=\"1\"";
            assert_eq!(why.to_string(), want);
            host_state.release(Extent::All).await;
        });
        run("ip link set gate64 down");
        assert_eq!(host(), before);
        run("sysctl -q -w net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&config, &requirements(&config)).await.expect("as it must be");
        });
    });
}

#[test]
fn a_sysctl_that_another_program_changed_stays() {
    own_network("a_sysctl_that_another_program_changed_stays", || {
        prepare();
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(ON_LINK, "");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&config, &requirements(&config)).await.expect("ready");
            run("sysctl -q -w net.ipv6.conf.eth0.accept_ra=0");
            host_state.release(Extent::All).await;
        });
        assert_eq!(Tree::kernel().read("net/ipv6/conf/eth0/accept_ra").expect("there"), "0");
        assert_eq!(Tree::kernel().read("net/ipv6/conf/lan/accept_ra").expect("there"), "1");
    });
}

#[test]
fn existing_addresses_and_proxies_stay() {
    own_network("existing_addresses_and_proxies_stay", || {
        prepare();
        run("ip addr add 2001:db8:1::53/128 dev lan nodad");
        run("ip neigh add proxy 203.0.113.65 dev eth0");
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(ON_LINK, "");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&config, &requirements(&config)).await.expect("ready");
            assert_eq!(output("ip neigh show proxy").lines().count(), 4);
            host_state.release(Extent::All).await;
        });
        assert_eq!(output("ip neigh show proxy").trim(), "203.0.113.65 dev eth0 proxy");
        assert!(output("ip addr show lan").contains("2001:db8:1::53/128"));
    });
}

#[test]
fn grow_is_all_or_nothing_and_shrink_removes_the_rest() {
    own_network("grow_is_all_or_nothing_and_shrink_removes_the_rest", || {
        prepare();
        let dir = tempfile::tempdir().expect("a directory");
        let first = config(ON_LINK, "");
        let second = config("pool4 = [\"203.0.113.66/31\", \"192.0.2.64/28\"]", "");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            host_state.apply(&first, &requirements(&first)).await.expect("ready");
            let (routes, proxies) = (output("ip route"), output("ip neigh show proxy"));
            // A foreign route conflicts with one of gate64.
            run("ip route add 192.0.2.64/28 via 203.0.113.2");
            let why = host_state
                .add_missing(&requirements(&second), Sysctls::Set)
                .await
                .expect_err("a route of somebody else");
            assert!(why.to_string().contains("another route to 192.0.2.64/28"), "{why}");
            run("ip route del 192.0.2.64/28 via 203.0.113.2");
            assert_eq!((output("ip route"), output("ip neigh show proxy")), (routes, proxies));
            host_state.add_missing(&requirements(&second), Sysctls::Set).await.expect("free now");
            host_state.remove_obsolete(&requirements(&second)).await;
            let routes = output("ip route");
            assert!(
                routes.contains("192.0.2.64/28 dev gate64") && !routes.contains("203.0.113.64/30"),
                "{routes}"
            );
            assert_eq!(output("ip neigh show proxy").lines().count(), 2);
            host_state.release(Extent::All).await;
            assert_eq!(output("ip neigh show proxy"), "");
        });
    });
}

#[test]
fn a_dropping_firewall_is_reported() {
    own_network("a_dropping_firewall_is_reported", || {
        prepare();
        run("nft add table ip filter");
        run("nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
        let dir = tempfile::tempdir().expect("a directory");
        let checked = config(ON_LINK, "");
        let ignored = config(ON_LINK, "[host]\nfirewall = \"ignore\"");
        block_on(async {
            let mut host_state = open(dir.path()).await;
            let why =
                host_state.apply(&checked, &requirements(&checked)).await.expect_err("dropped").to_string();
            assert!(why.contains("type: nft insert rule ip filter FORWARD iifname gate64 accept"), "{why}");
            host_state.apply(&ignored, &requirements(&ignored)).await.expect("applied");
            host_state.release(Extent::All).await;
            run("nft insert rule ip filter FORWARD iifname gate64 accept");
            let mut host_state = open(dir.path()).await;
            host_state.remove_obsolete(&Requirements::default()).await;
            run("ip link set gate64 down");
            host_state.apply(&checked, &requirements(&checked)).await.expect("a rule names the device");
            host_state.release(Extent::All).await;
        });
    });
}
