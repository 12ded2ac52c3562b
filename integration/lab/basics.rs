//! The laboratory itself, and a page by name.

use gate64::lab::{GatewayConfig, Run};

use super::{Test, WWW, build, expect};

#[test]
fn the_laboratory_stands_and_leaves_nothing() -> Test {
    let Some(site) = build(2, Some(1400))? else { return Ok(()) };
    let page = site.lab.internet.text("curl -s http://203.0.113.80/")?;
    expect(&page, "Hello! To this server you are 203.0.113.1 port")?;
    let names: Vec<_> = site.lab.hosts.iter().map(|host| host.name().to_owned()).collect();
    drop(site);
    let left = Run::new("ip netns list").text()?;
    assert!(names.iter().all(|name| !left.contains(name)), "{left}");
    Ok(())
}

#[test]
fn a_page_by_name() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    expect(&site.page()?, "Hello! To this server you are 192.0.2.")?;
    let native = site.host().text("curl -sS -m 5 http://www.dual.example/")?;
    expect(&native, "you are 2001:db8:1::10 port")?;
    gateway.stop()
}

#[test]
fn names_of_every_kind() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let cases = [
        ("www.v4only.example AAAA", WWW),
        ("+tcp www.v4only.example AAAA", WWW),
        ("shop.example AAAA", WWW),
        ("www.dual.example AAAA", "2001:db8:80::80"),
        ("www.v4only.example A", "198.51.100.80"),
        ("ipv4only.arpa AAAA", "2001:db8:64::c000:aa"),
    ];
    for (question, answer) in cases {
        let said = site.host().text(&format!("dig +short +time=3 {question}"))?;
        assert!(said.lines().any(|line| line == answer), "{question}: {said}");
    }
    // The server asks from elsewhere: in no zone, so it gets no answer.
    let said =
        site.lab.internet.run("dig +time=1 +tries=1 @2001:db8:1::53 www.v4only.example AAAA").outcome()?;
    assert!(!said.ok || !said.stdout.contains("status: NOERROR"), "{}", said.stdout);
    gateway.stop()
}
