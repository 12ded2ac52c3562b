//! Health: the command, the HTTP endpoints and the hooks.

use gate64::lab::{Deadline, GatewayConfig, until};

use super::{Test, build, expect, program};

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
    let health =
        router.run(&format!("{} health --config {}", program().display(), gateway.config().display()));
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
