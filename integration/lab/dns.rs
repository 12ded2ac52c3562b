//! The DNS64 with real servers: authoritative servers, a validator, a faulty upstream. Clients are dig, kdig
//! and curl.

use gate64::lab::{Deadline, GatewayConfig, LabError, until};

use super::parts::{self, MOCK, MOCK6, VALIDATOR};
use super::{Site, Test, Tested, WWW, build, expect, program, wrong};

/// A gateway with these lines in `[dns64]`.
fn gateway(site: &Site, dns: &str) -> Result<Tested, LabError> {
    site.start(&config(dns))
}

fn config(dns: &str) -> GatewayConfig {
    let dns = format!("listen = [\"[2001:db8:1::53]:53\"]\n{dns}");
    GatewayConfig { dns, ..GatewayConfig::default() }
}

/// The output of dig on the first host.
fn dig(site: &Site, question: &str) -> Result<String, LabError> {
    site.host().text(&format!("dig +time=5 +tries=1 {question}"))
}

/// Queries AAAA and compares the addresses.
fn addresses(site: &Site, question: &str, wanted: &[&str]) -> Test {
    let output = dig(site, &format!("+short {question} AAAA"))?;
    let mut found: Vec<_> =
        output.lines().filter(|line| line.contains(':') && !line.starts_with(';')).collect();
    found.sort_unstable();
    if found == wanted { Ok(()) } else { Err(wrong(format!("{question}: {output}"))) }
}

#[test]
fn forged_denials_are_not_synthesized() -> Test {
    // ids 6147-5.5-1, 6147-5.5-2, 6147-5.1.2-rcode, 8683-5-validate
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _authority = parts::authority(&site)?;
    let dns = format!("upstreams = [\"{VALIDATOR}\"]\ntrust_ad = true");
    for ede in [true, false] {
        let _validator = parts::validator(&site, ede, false)?;
        let gateway = gateway(&site, &dns)?;
        for zone in ["plain.lab", "secure.lab"] {
            addresses(&site, &format!("v4.{zone}"), &[WWW])?;
            addresses(&site, &format!("alias.{zone}"), &[WWW])?;
            addresses(&site, &format!("dual.{zone}"), &["2001:db8:80::80"])?;
            addresses(&site, &format!("+dnssec dual.{zone}"), &["2001:db8:80::80"])?;
        }
        for bogus in ["forged.secure.lab", "v4.old.lab"] {
            let output = dig(&site, &format!("{bogus} AAAA"))?;
            expect(&output, "status: SERVFAIL")?;
            addresses(&site, bogus, &[])?;
        }
        let output = dig(&site, "+adflag v4.secure.lab A")?;
        expect(&output, " ad;").or_else(|_| expect(&output, " ad "))?;
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn faulty_upstreams_are_survived() -> Test {
    // ids 6147-5.1.3-timeout, 6147-5.1.2-rcode, 6147-5.4-trunc
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let gateway = gateway(&site, &format!("upstreams = [\"{MOCK}\"]"))?;
    for name in
        ["a.lab", "b.drop.lab", "c.late.lab", "d.cut.lab", "e.lie.lab", "f.fail.lab", "g.careless.lab"]
    {
        addresses(&site, name, &[WWW])?;
    }
    addresses(&site, "h.dual.lab", &["2001:db8:80::80"])?;
    expect(&dig(&site, "i.gone.lab AAAA")?, "status: NXDOMAIN")?;
    let small = dig(&site, "+ignore +bufsize=1232 j.big.lab AAAA")?;
    expect(&small, " tc ")?;
    expect(&small, "ANSWER: 0")?;
    expect(&dig(&site, "j.big.lab AAAA")?, "ANSWER: 60")?;
    let [_, _, _, tcp] = parts::counted(&site)?;
    assert!(tcp >= 3, "truncated, malformed and large answers are queried again over TCP: {tcp}");
    gateway.stop()
}

#[test]
fn a_thousand_client_queries_are_one_upstream_query() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let gateway = gateway(
        &site,
        &format!(
            "upstreams = [\"{MOCK}\"]\nthreads = 2\nresponses_per_second = 0\nresponse_bytes_per_second = 0"
        ),
    )?;
    let list = site.file("questions");
    let lines = "one.late.lab AAAA\n".repeat(1_000);
    std::fs::write(&list, lines).map_err(|error| wrong(error.to_string()))?;
    let before = parts::counted(&site)?;
    let output = site
        .host()
        .text(&format!("dnsperf -s 2001:db8:1::53 -f inet6 -d {} -n 1 -c 20 -q 200 -t 10", list.display()))?;
    expect(&output, "Queries completed:    1000 (100.00%)")?;
    let after = parts::counted(&site)?;
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 1]);
    gateway.stop()
}

#[test]
fn clients_of_every_kind() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let (certificate, key) = parts::certificate(&site)?;
    let (certificate, key) = (certificate.display(), key.display());
    let gateway = gateway(
        &site,
        &format!(
            "upstreams = [\"{MOCK}\"]\ntls_listen = [\"[2001:db8:1::53]:853\"]\n\
             tls_certificate = \"{certificate}\"\ntls_key = \"{key}\""
        ),
    )?;
    let tls = format!("+tls-ca={certificate} +tls-host=dns.example");
    for how in ["", "+tcp", "+keepopen +tcp", &tls] {
        let question = if how.contains("keepopen") { "a.lab AAAA b.lab AAAA" } else { "a.lab AAAA" };
        let output = site.host().text(&format!("kdig @2001:db8:1::53 +timeout=5 +short {how} {question}"))?;
        expect(&output, WWW)?;
    }
    // curl resolves through getaddrinfo.
    expect(&site.host().text("curl -sS -m 10 http://www.lab/")?, "Hello! To this server you are 192.0.2.")?;
    let output = site.host().text("kdig @2001:db8:1::53 +timeout=5 +cookie=0123456789abcdef a.lab AAAA")?;
    expect(&output, "COOKIE: 0123456789ABCDEF01")?;
    gateway.stop()
}

#[test]
fn upstreams_over_every_transport() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let _authority = parts::authority(&site)?;
    let _validator = parts::validator(&site, true, false)?;
    let (certificate, _) = (site.file("dns.crt"), ());
    let ways = [
        (format!("upstreams = [\"[{MOCK6}]:53\"]"), "a.lab"),
        (format!("upstreams = [\"tcp://{MOCK}\"]"), "b.lab"),
        (
            format!(
                "upstreams = [\"tls://{VALIDATOR}#dns.example\"]\ntls_authorities = \"{}\"",
                certificate.display()
            ),
            "v4.plain.lab",
        ),
        // The first is unreachable, the second refuses.
        (format!("upstreams = [\"198.51.100.99\", \"198.51.100.80\", \"{MOCK}\"]"), "c.lab"),
    ];
    for (dns, name) in ways {
        let gateway = gateway(&site, &dns)?;
        addresses(&site, name, &[WWW]).map_err(|error| wrong(format!("{dns}: {error}")))?;
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn an_unreachable_upstream_is_left_at_once() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    // A router answers with ICMP "host unreachable".
    site.lab.internet.ip("route add unreachable 198.51.100.98/32")?;
    let gateway = gateway(&site, &format!("upstreams = [\"198.51.100.98\", \"{MOCK}\"]\nattempt = \"4s\""))?;
    // One name only: the router limits its ICMP errors.
    addresses(&site, "+time=2 a.lab", &[WWW])?;
    let status = site.lab.gateway.text(&site.gate64("status"))?;
    expect(&status, &format!("{MOCK}:53  in use"))?;
    gateway.stop()
}

#[test]
fn a_reload_that_removes_dns64_answers_pending_queries() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    // An upstream that never answers: the query waits for `total`.
    site.lab.internet.ip("route add blackhole 198.51.100.97/32")?;
    let mut gateway = gateway(&site, "upstreams = [\"198.51.100.97\"]\ntotal = \"3s\"")?;
    let log = site.file("dig.log");
    let mut query = site.host().daemon("dig +time=8 +tries=1 a.lab AAAA", &log)?;
    until(Deadline::ample(), "an upstream query", || {
        let output = site.lab.gateway.text("curl -sS -g http://[::1]:6464/metrics").unwrap_or_default();
        output
            .lines()
            .any(|line| line.contains("upstream_queries") && line.contains('{') && !line.ends_with(" 0"))
    })?;
    gateway.reload(&GatewayConfig { dns: String::new(), ..GatewayConfig::default() })?;
    assert!(query.is_running(), "the query was over before the reload");
    until(Deadline::ample(), "an answer", || !query.is_running())?;
    expect(&query.log(), "status: SERVFAIL")?;
    gateway.stop()?;
    Ok(())
}

#[test]
fn one_socket_answers_from_every_address() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let config = GatewayConfig {
        dns: format!("listen = [\"[::]:53\"]\nupstreams = [\"{MOCK}\"]"),
        ..GatewayConfig::default()
    };
    let gateway = site.start(&config)?;
    for server in ["2001:db8:1::53", "2001:db8:1::1"] {
        addresses(&site, &format!("@{server} a.lab"), &[WWW])?;
    }
    gateway.stop()
}

#[test]
fn a_random_name_flood_evicts_and_starves_no_client() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let limits = "cache_bytes = 400000\nanswer_cache_bytes = 65536\nin_flight = 64\nqueries_per_second = 0\nthreads = 1";
    let gateway = gateway(&site, &format!("upstreams = [\"{MOCK}\"]\n{limits}"))?;
    let (flooder, quiet) = (&site.lab.hosts[0], &site.lab.hosts[1]);
    let list = |file: &str, labels: &str| -> Result<String, LabError> {
        let path = site.file(file);
        let lines: String = (0..4_000).map(|n| format!("n{n}.{labels}.lab AAAA\n")).collect();
        std::fs::write(&path, lines).map_err(|error| wrong(error.to_string()))?;
        Ok(format!("dnsperf -s 2001:db8:1::53 -f inet6 -t 2 -d {}", path.display()))
    };
    let ask = |name: &str| -> Test {
        expect(&quiet.text(&format!("dig +time=5 +tries=1 +short {name} AAAA"))?, WWW)
    };
    let wanted: Vec<_> = (0..20).map(|n| format!("wanted{n}.lab")).collect();
    wanted.iter().try_for_each(|name| ask(name))?;
    flooder.run(&format!("{} -n 1 -q 16", list("cold", "flood")?)).limit(60).text()?;
    let before = parts::counted(&site)?;
    wanted.iter().try_for_each(|name| ask(name))?;
    let after = parts::counted(&site)?;
    assert_eq!(before[..2], after[..2], "the quiet host's names are still cached");
    // No query here is answered at once, so that the flood fills the table of pending queries.
    let _flood =
        flooder.daemon(&format!("{} -l 60 -q 1000", list("late", "late")?), &site.file("flood.log"))?;
    until(Deadline::after(20), "a flood", || {
        let output = site.lab.gateway.text("curl -sS -g http://[::1]:6464/metrics").unwrap_or_default();
        output.lines().any(|line| line.contains("outcome=\"busy") && !line.ends_with(" 0"))
    })?;
    (0..10).try_for_each(|n| ask(&format!("new{n}.lab")))?;
    gateway.stop()
}

#[test]
fn explain_uses_the_configured_transports() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _mock = parts::mock(&site)?;
    let _authority = parts::authority(&site)?;
    let _validator = parts::validator(&site, true, false)?;
    let dns = format!(
        "upstreams = [\"tls://{VALIDATOR}#dns.example\"]\ntls_authorities = \"{}\"\n[[dns64.forward]]\n\
         domains = [\"cut.lab\"]\nupstreams = [\"{MOCK}\"]",
        site.file("dns.crt").display()
    );
    let gateway = gateway(&site, &dns)?;
    for (name, words) in [
        ("alias.plain.lab", ["CNAME v4.plain.lab.", "-> 198.51.100.80 synthesized as", "synthesized_nodata"]),
        ("dual.plain.lab", ["upstreams)", "2001:db8:80::80 used", "native"]),
        ("forged.secure.lab", ["SERVFAIL", "EDE", "bogus"]),
        ("a.cut.lab", ["a forward zone", "-> 198.51.100.80 synthesized as", "synthesized_nodata"]),
    ] {
        let output = site.lab.gateway.text(&site.gate64(&format!("explain {name}")))?;
        eprintln!("{output}");
        words.iter().try_for_each(|word| expect(&output, word))?;
    }
    // A failure that the gateway remembers, another type, and DO.
    expect(&dig(&site, "forged.secure.lab AAAA")?, "status: SERVFAIL")?;
    let output = site.lab.gateway.text(&site.gate64("explain forged.secure.lab --type a --do"))?;
    eprintln!("{output}");
    for words in
        ["forged.secure.lab. A with DO for client", "remembers", "AAAA: SERVFAIL; not queried again for"]
    {
        expect(&output, words)?;
    }
    gateway.stop()
}

#[test]
fn dns64_check_passes_on_gate64() -> Test {
    // ids 8880-7.1-a, 8880-7.1-aaaa, 8880-7.1-other, 8880-7.1-sub, 8880-7.2.1-ip6ptr
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _authority = parts::authority(&site)?;
    let _mock = parts::mock(&site)?;
    let _validator = parts::validator(&site, true, false)?;
    let dns = format!(
        "upstreams = [\"{VALIDATOR}\"]\n[[dns64.forward]]\ndomains = [\"drop.lab\"]\nupstreams = [\"{MOCK}\"]"
    );
    let gateway = gateway(&site, &dns)?;
    let check = |server: &str, broken: &str| {
        let words = format!("dns64-check {server} --domain check.lab {broken} --timeout 12000");
        site.host().run(&format!("{} {words}", program().display())).limit(120).outcome()
    };
    let ours = check("2001:db8:1::53", "--broken a.drop.lab")?;
    eprintln!("{}{}", ours.stdout, ours.stderr);
    assert_eq!(ours.code, Some(0), "{}", ours.stdout);
    for check in [
        "discovery of designated resolvers",
        "the ip6.arpa name above it exists",
        "two queries at once on a connection",
        "and half-closed",
    ] {
        expect(&ours.stdout, check)?;
    }
    gateway.stop()?;
    Ok(())
}

#[test]
fn dns64_check_runs_on_other_servers() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _authority = parts::authority(&site)?;
    let _unbound = parts::validator(&site, true, true)?;
    let words = format!("dns64-check {VALIDATOR} --domain check.lab");
    let output = site.lab.internet.run(&format!("{} {words}", program().display())).limit(120).outcome()?;
    // The findings are not asserted, only that it ends and prints some.
    eprintln!("{}{}", output.stdout, output.stderr);
    expect(&output.stdout, "RFC 7050")
}
