//! Health (the command, the HTTP endpoints, the hooks), and lists of sessions and hosts.

use gate64::lab::{Deadline, GatewayConfig, until};

use super::lifecycle::port_of;
use super::{Test, build, expect};

#[test]
fn a_gateway_without_upstream_resolvers_is_not_ready() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (file, log) = (site.file("ready"), site.file("hooks"));
    let hook = |word: &str| format!("[\"/bin/sh\", \"-c\", \"echo {word} >> {}\"]", log.display());
    let more = format!(
        "[health]\nfile = \"{}\"\non_healthy = {}\non_unhealthy = {}",
        file.display(),
        hook("up"),
        hook("down")
    );
    // Nobody answers there.
    let dns = "listen = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.99\"]".to_owned();
    let gateway = site.start(&GatewayConfig { dns, more, ..GatewayConfig::default() })?;
    let router = &site.lab.gateway;
    let health = router.run(&site.gate64("health"));
    let http = |path: &str| {
        let line = format!("curl -sS -g -o /dev/null -w %{{http_code}} http://[::1]:6464{path}");
        router.text(&line).unwrap_or_default()
    };
    assert!(health.outcome()?.ok, "ready before the first query");
    until(Deadline::ample(), "the hook", || std::fs::read_to_string(&log).is_ok_and(|text| text == "up\n"))?;
    assert!(file.exists());
    assert_eq!((http("/healthz"), http("/readyz")), ("200".to_owned(), "200".to_owned()));
    until(Deadline::ample(), "a failed check", || {
        let _ = site.host().run("dig +time=1 +tries=1 www.example AAAA").outcome();
        health.outcome().is_ok_and(|output| !output.ok)
    })?;
    expect(&health.outcome()?.stdout, "failed    dns64    no upstream resolver answers: 198.51.100.99:53")?;
    assert_eq!((http("/healthz"), http("/readyz")), ("200".to_owned(), "503".to_owned()));
    until(Deadline::ample(), "the hook", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text == "up\ndown\n")
    })?;
    assert!(!file.exists());
    gateway.stop()
}

#[test]
fn sessions_and_hosts_are_listed() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let list = |words: &str| site.lab.gateway.text(&site.gate64(words)).unwrap_or_default();
    let port = port_of(&site.page()?)?;
    until(Deadline::ample(), "the session is listed", || list("sessions").contains("198.51.100.80:80"))?;
    let all = list("sessions --protocol tcp");
    expect(&all, &format!("[2001:db8:1::10]:{port}"))?;
    let one = list(&format!("sessions --json --port {port} --host 2001:db8:1::/64 --server 198.51.100.80"));
    let session: serde_json::Value = serde_json::from_str(&one).expect("one session");
    assert_eq!(session["client"]["address"], "2001:db8:1::10");
    assert!(session["bytes"][1].as_u64() > Some(0), "{one}");
    for none in ["--server 198.51.100.81", "--host 2001:db8:1::11", "--protocol icmp", "--silent 9999"] {
        expect(&list(&format!("sessions {none}")), "0 sessions")?;
    }
    expect(&list("hosts --top 1"), "2001:db8:1::10 ")?;
    expect(&list("hosts"), "1 hosts")?;
    let binding = list(&format!("bib --json --port {port} --protocol tcp --zone lab"));
    let binding: serde_json::Value = serde_json::from_str(&binding).expect("one binding");
    assert_eq!(
        (&binding["client"]["address"], &binding["static"]),
        (&"2001:db8:1::10".into(), &false.into())
    );
    expect(&list("bib --host 2001:db8:1::11"), "0 bindings")?;
    gateway.stop()
}
