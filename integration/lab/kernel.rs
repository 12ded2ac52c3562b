//! Linux is both hosts: what its TCP/IP stack negotiates, measures and traces works through the gateway as
//! without one.

use std::ops::Range;
use std::path::PathBuf;

use gate64::lab::{CommandLine, Daemon, Deadline, GatewayConfig, LabError, Namespace, until};

use super::{FAR, Site, Test, WWW, build, digest, expect, program, tool, wrong};

/// The IPv4 address of the first host.
const INSIDE: &str = "192.0.2.65";
/// The translator's own addresses, to distinguish it from its kernel in a trace.
const OWN6: &str = "2001:db8:ffff::64";
const OWN4: &str = "192.0.2.3";
/// The ports of a trace: each datagram uses the next one.
const TRACED: Range<u16> = 33_434..33_450;

/// The first host's web and echo server and TCP port 4000 are published, also an echo identifier 7 and the
/// ports of a trace.
fn published() -> GatewayConfig {
    let publish = |protocol: &str, outside, inside| {
        format!(
            "[[static]]\nprotocol = \"{protocol}\"\noutside = \"{INSIDE}:{outside}\"\n\
             inside = \"[2001:db8:1::10]:{inside}\"\n"
        )
    };
    let bindings = [("tcp", 80, 80), ("udp", 3478, 3478), ("tcp", 443, 4000), ("icmp", 7, 7)].into_iter();
    let traced = TRACED.map(|port| ("udp", port, port));
    let more = bindings.chain(traced).map(|(protocol, outside, inside)| publish(protocol, outside, inside));
    let pool = format!("pool4 = [\"192.0.2.64/28\"]\naddress6 = \"{OWN6}\"\naddress4 = \"{OWN4}\"");
    GatewayConfig { pool, more: more.collect(), ..GatewayConfig::default() }
}

/// A web and an echo server on the first host.
fn serve(site: &Site) -> Result<Daemon, LabError> {
    let (at, dir) = ("[2001:db8:1::10]:80", site.file("inside"));
    std::fs::create_dir_all(&dir).map_err(|error| wrong(error.to_string()))?;
    let line = format!("{} lab web {} {at}", program().display(), dir.display());
    let mut web = site.host().daemon(&line, &site.file("inside.log"))?;
    let asked = site.host().run(&format!("curl -s -m 2 http://{at}/"));
    web.ready(Deadline::ample(), "the server inside answers", |_| {
        asked.outcome().is_ok_and(|output| output.ok)
    })?;
    Ok(web)
}

/// A file of this many bytes.
fn noise(site: &Site, bytes: usize) -> Result<PathBuf, LabError> {
    let file = site.file("noise");
    let url = format!("http://198.51.100.80/bytes/{bytes}");
    site.lab.internet.text(&format!("curl -sS -o {} {url}", file.display()))?;
    Ok(file)
}

/// Counts packets that match each rule at a hook of a namespace.
fn count(at: &Namespace, hook: &str, rules: &[(&str, &str)]) -> Test {
    let counters: String = rules.iter().map(|(name, _)| format!("counter {name} {{ }}\n")).collect();
    let rules: String = rules.iter().map(|(name, rule)| format!("{rule} counter name {name}\n")).collect();
    let chain = format!("chain {hook} {{ type filter hook {hook} priority -150;\n{rules} }}");
    at.run("nft -f -").input(format!("table inet seen {{\n{counters}{chain}\n}}")).text().map(drop)
}

/// The number of matching packets.
fn counted(at: &Namespace, name: &str) -> Result<u64, LabError> {
    let output = at.text(&format!("nft list counter inet seen {name}"))?;
    let packets = output.split_whitespace().skip_while(|word| *word != "packets").nth(1);
    packets.and_then(|number| number.parse().ok()).ok_or_else(|| wrong(format!("no number in: {output}")))
}

#[test]
fn a_client_outside_finds_a_path_mtu_of_the_ipv6_side() -> Test {
    // id 7915-1.4-router
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    // The host's MSS does not reflect the small MTU, so that path MTU discovery is needed.
    site.lab.gateway.ip("link set lan0 mtu 1400")?;
    host.ip("link set eth0 mtu 1400")?;
    host.ip("-6 route change default via 2001:db8:1::1 advmss 1440")?;
    let _server = serve(&site)?;
    let file = noise(&site, 4 << 20)?;
    for offloads in [true, false] {
        let gateway = site.start(&GatewayConfig { offloads, ..published() })?;
        internet.ip("route flush cache")?;
        internet.text(&format!("curl -sS -m 15 -T {} http://{INSIDE}/up/up", file.display()))?;
        assert_eq!(digest(&file)?, digest(&site.file("inside/up"))?);
        expect(&internet.ip(&format!("route get {INSIDE}"))?, "mtu 1380")?;
        // Datagrams that fit, that their sender fragments, and that were always fragmented.
        let output = tool(internet, &format!("probe --bind 0.0.0.0:0 --sizes 1340-1480 {INSIDE}:3478"))
            .limit(60)
            .text()?;
        expect(&output, "sizes 1340 to 1480: 0 wrong")?;
        let output =
            tool(internet, &format!("probe --bind 0.0.0.0:0 --sizes 8192-8196 {INSIDE}:3478")).text()?;
        expect(&output, "sizes 8192 to 8196: 0 wrong")?;
        gateway.stop()?;
    }
    Ok(())
}

/// The gateway's kernel has two addresses there, and replies from either.
fn hop(from: &str) -> String {
    from.trim_end_matches(':').replace("2001:db8:1::53", "2001:db8:1::1")
}

/// The responders to pings with growing hop limits, up to the target.
fn pinged(at: &Namespace, words: &str, target: &str) -> Result<Vec<String>, LabError> {
    let mut hops = Vec::new();
    for limit in 1..10 {
        let output = at.run(&format!("ping -n -c 1 -W 5 -t {limit} {words} {target}")).outcome()?;
        let answers = output.stdout.lines().find_map(|line| {
            line.strip_prefix("From ").or_else(|| line.split_once(" bytes from ").map(|(_, rest)| rest))
        });
        let from = answers.and_then(|rest| rest.split_whitespace().next());
        hops.push(from.map_or_else(|| "no reply".to_owned(), hop));
        if output.ok {
            break;
        }
    }
    Ok(hops)
}

/// The same with datagrams to closed ports; a hop twice in a row is listed once.
fn traced(at: &Namespace, words: &str, target: &str) -> Result<Vec<String>, LabError> {
    let output = at.run(&format!("tracepath -n -m 10 {words} {target}")).limit(40).text()?;
    eprintln!("{output}");
    let answers = output.lines().filter_map(|line| line.split_once(":  "));
    let from = answers.filter_map(|(_, rest)| rest.split_whitespace().next());
    let mut hops: Vec<_> = from.filter(|from| from.contains(['.', ':'])).map(hop).collect();
    hops.dedup();
    Ok(hops)
}

#[test]
fn traces_show_every_hop_both_ways() -> Test {
    // ids 7915-4.1-ttl1, 7915-5.1-hl1, 7915-4.1-ttl-dec, 7915-5.1-hl-dec
    let Some(site) = build(1, Some(1500))? else { return Ok(()) };
    let far = site.lab.far.as_ref().ok_or_else(|| wrong("no far server"))?;
    for router in [&site.lab.gateway, &site.lab.internet, far, site.host()] {
        router.sysctl(&["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"])?;
    }
    site.lab.internet.ip("route add 203.0.113.160 via 192.0.2.2")?;
    // Hops: the gateway's kernel, the translator, the kernel again, the provider, the server.
    let out = ["2001:db8:1::1", OWN6, "2001:db8:64::c000:202", "2001:db8:64::c000:201", FAR];
    // In the other direction the kernel's second reply comes from IPv6: its source is the binding's address,
    // or without a binding the translator's.
    let inward = ["203.0.113.1", "192.0.2.2", OWN4, INSIDE];
    let mapped = ["203.0.113.1", "192.0.2.2", OWN4, OWN4, "203.0.113.160"];
    let gateway = site.start(&published())?;
    assert_eq!(pinged(site.host(), "", FAR)?, out);
    assert_eq!(traced(site.host(), "", FAR)?, out);
    assert_eq!(pinged(far, "-e 7", INSIDE)?, [&inward[..], &[INSIDE]].concat());
    assert_eq!(traced(far, &format!("-p {}", TRACED.start), INSIDE)?, inward);
    gateway.stop()?;
    let more = "[siit]\neam = [\"203.0.113.160 = 2001:db8:1::10\"]".to_owned();
    let gateway = site.start(&GatewayConfig { more, ..published() })?;
    assert_eq!(pinged(site.host(), "", FAR)?, out);
    assert_eq!(traced(site.host(), "", FAR)?, out);
    assert_eq!(pinged(far, "", "203.0.113.160")?, mapped);
    assert_eq!(traced(far, "", "203.0.113.160")?, [&mapped[..3], &mapped[4..]].concat());
    gateway.stop()
}

#[test]
fn tcp_options_are_negotiated_end_to_end() -> Test {
    // ids 7915-4.1-tc-copy, 7915-5.1-tos-copy
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    for end in [internet, host] {
        end.sysctl(&["net.ipv4.tcp_ecn=1", "net.ipv4.tcp_sack=1", "net.ipv4.tcp_timestamps=1"])?;
    }
    // A congested router on either side of the translator.
    let rules = "table inet congested { chain congest { type filter hook prerouting priority -150;\n\
                 iifname lan0 ip6 ecn ect0 ip6 ecn set ce\niifname wan ip ecn ect0 ip ecn set ce\n}; }";
    site.lab.gateway.run("nft -f -").input(rules).text()?;
    let gateway = site.start(&GatewayConfig::default())?;
    let slow = format!("curl -sS --limit-rate 10k -o /dev/null http://[{WWW}]/bytes/4194304");
    let _connection = host.daemon(&slow, &site.file("slow.log"))?;
    for end in [internet, host] {
        let mut output = String::new();
        let waited = until(Deadline::ample(), "congestion is signalled", || {
            output = end.text("ss -tino state established").unwrap_or_default();
            output.contains(" delivered_ce:")
        });
        eprintln!("{output}");
        waited?;
        for word in [" ts ", " sack ", " ecn ", " ecnseen ", " wscale:"] {
            expect(&output, word)?;
        }
    }
    gateway.stop()
}

/// The value of a TCP counter of a kernel.
fn statistic(at: &Namespace, name: &str) -> Result<u64, LabError> {
    let output = at.text("cat /proc/net/netstat")?;
    let mut lines = output.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let found = names.split(' ').zip(numbers.split(' ')).find(|(known, _)| *known == name);
    found.and_then(|(_, number)| number.parse().ok()).ok_or_else(|| wrong(format!("no {name}")))
}

#[test]
fn losses_are_reported_by_selective_acknowledgments() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    for end in [internet, host] {
        let rules = "table inet lossy { chain lose { type filter hook input priority -150;\n\
                     meta l4proto tcp meta length > 1000 numgen inc mod 17 == 16 drop\n}; }";
        end.run("nft -f -").input(rules).text()?;
    }
    noise(&site, 16 << 20)?;
    exchange(&site, &GatewayConfig::default().pool)?;
    for end in [internet, host] {
        assert!(statistic(end, "TCPSackRecovery")? > 0, "{}", end.name());
        assert_eq!(statistic(end, "TCPRenoRecovery")?, 0, "{}", end.name());
    }
    Ok(())
}

#[test]
fn the_mss_passes_or_is_clamped() -> Test {
    // id 6m-mss
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    // The host's MSS exceeds the IPv4 side, and the server's the IPv6 side.
    host.ip("link set eth0 mtu 9000")?;
    noise(&site, 1 << 20)?;
    let rules = [
        ("whole", "tcp flags & syn != 0 tcp option maxseg size > 1440"),
        ("clamped", "tcp flags & syn != 0 tcp option maxseg size 1440"),
        ("refused", "icmp type destination-unreachable"),
        ("refused6", "icmpv6 type packet-too-big"),
    ];
    for end in [internet, host] {
        count(end, "input", &rules)?;
    }
    // With clamping no packet is too long.
    exchange(&site, &format!("{}\nmss_clamp = true", GatewayConfig::default().pool))?;
    for end in [internet, host] {
        // A SYN may be retransmitted.
        assert!(counted(end, "clamped")? >= 2, "{}", end.name());
        for name in ["whole", "refused", "refused6"] {
            assert_eq!(counted(end, name)?, 0, "{name} at {}", end.name());
        }
    }
    exchange(&site, &GatewayConfig::default().pool)?;
    for end in [internet, host] {
        assert!(counted(end, "whole")? > 0, "{}", end.name());
    }
    Ok(())
}

/// The first host downloads a file and uploads one.
fn exchange(site: &Site, pool: &str) -> Test {
    let gateway = site.start(&GatewayConfig { pool: pool.to_owned(), ..GatewayConfig::default() })?;
    let (down, noise) = (site.file("down"), site.file("noise"));
    let (to, from) = (down.display(), noise.display());
    site.host().text(&format!(
        "curl -sS -m 15 -o {to} http://[{WWW}]/bytes/{}",
        noise.metadata().map_or(0, |file| file.len())
    ))?;
    site.host().text(&format!("curl -sS -m 15 -T {from} http://[{WWW}]/up/up"))?;
    let sent = digest(&noise)?;
    assert_eq!([digest(&down)?, digest(&site.file("up"))?], [sent.clone(), sent]);
    gateway.stop()
}

#[test]
fn ipv4_options_and_routing_headers_are_skipped() -> Test {
    // ids 7915-4.1-opts-ignored, 7915-5.1-ext-skip
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (gateway, internet, host) = (&site.lab.gateway, &site.lab.internet, site.host());
    let running = site.start(&published())?;
    for option in ["-R", "-T tsonly", "-T tsandaddr"] {
        let output = internet.text(&format!("ping -n -c 1 -W 5 -e 7 {option} {INSIDE}"))?;
        expect(&output, "1 received")?;
    }
    // Via a segment routing node that leaves the header in place after the last segment.
    gateway.sysctl(&["net.ipv6.conf.all.seg6_enabled=1", "net.ipv6.conf.lan0.seg6_enabled=1"])?;
    host.ip(&format!(
        "-6 route add {WWW}/128 encap seg6 mode inline segs 2001:db8:1::1 dev eth0 via 2001:db8:1::1"
    ))?;
    count(gateway, "forward", &[("routed", "oifname gate64 rt seg-left 0")])?;
    host.text(&format!("ping -c 1 -W 5 {WWW}"))?;
    expect(&host.text(&format!("curl -sS -m 5 http://[{WWW}]/"))?, "you are 192.0.2.")?;
    let output = tool(host, &format!("probe --sizes 1-20 [{WWW}]:3478")).text()?;
    expect(&output, "sizes 1 to 20: 0 wrong")?;
    assert!(counted(gateway, "routed")? > 20);
    running.stop()
}

#[test]
fn simultaneous_open() -> Test {
    // ids 5382-2, 6146-3.5.2-simopen
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    let syn = "tcp flags & (syn | ack) == syn";
    count(&site.lab.gateway, "forward", &[("waiting", &format!("oifname gate64 {syn}"))])?;
    for end in [internet, host] {
        count(end, "input", &[("opening", syn)])?;
    }
    let gateway = site.start(&published())?;
    // While the gateway is stopped, both SYNs wait for it: neither end has seen the other's.
    let signal = |name| CommandLine::new(&format!("kill -{name} {}", gateway.pid())).text();
    signal("STOP")?;
    let open = |at: &Namespace, words: &str, log: &str| {
        at.daemon(&format!("curl -sS -N --http0.9 -m 15 {words}"), &site.file(log))
    };
    let inside = open(host, &format!("--local-port 4000 http://[{WWW}]:5000/inside"), "inside")?;
    let outside = open(
        internet,
        &format!("--interface 198.51.100.80 --local-port 5000 http://{INSIDE}:443/outside"),
        "outside",
    )?;
    let both = || counted(&site.lab.gateway, "waiting").is_ok_and(|count| count >= 2);
    let waited = until(Deadline::ample(), "both SYNs wait", both);
    for end in [internet, host] {
        assert_eq!(counted(end, "opening")?, 0);
    }
    signal("CONT")?;
    waited?;
    // Each receives what the other sends.
    until(Deadline::ample(), "each hears the other", || {
        inside.log().contains("GET /outside") && outside.log().contains("GET /inside")
    })?;
    for end in [internet, host] {
        assert!(counted(end, "opening")? > 0, "{}", end.name());
    }
    gateway.stop()
}
