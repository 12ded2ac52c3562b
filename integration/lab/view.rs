//! Commands that show the state of a running gateway.

use std::fs;

use gate64::device::pcap::Reader;
use gate64::lab::{Daemon, Deadline, Gateway, GatewayConfig, Outcome, until};
use gate64::reason::Reason;
use serde_json::{Value, json};

use super::{Site, Test, WWW, build, expect};

/// Runs a command of gate64; returns its result.
fn run(site: &Site, words: &str) -> Outcome {
    site.lab.gateway.run(&site.gate64(words)).outcome().expect("the program starts")
}

/// Standard output of a command.
fn show(site: &Site, words: &str) -> String {
    run(site, words).stdout
}

/// The same as JSON.
fn parsed(site: &Site, words: &str) -> Value {
    let text = show(site, words);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{words}: {why}: {text}"))
}

#[test]
fn zones_pool_and_drops_are_listed() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let list = |words: &str| show(&site, words);
    let json = |words: &str| parsed(&site, words);
    site.page()?;
    let zone = json("zones --json");
    assert!(zone["packets"][0].as_u64() > Some(0), "{zone}");
    expect(&list("zones"), zone["name"].as_str().expect("a name"))?;
    let pool = json("pool --json --used");
    let (row, share) = (&pool["addresses"][0], &pool["zones"][0]);
    assert_eq!((&row["hosts"], &share["hosts"]), (&1.into(), &1.into()), "{pool}");
    assert!(row["assigned"].as_u64() >= Some(16) && row["used"]["tcp"].as_u64() >= Some(1), "{pool}");
    assert_eq!(row["assigned"], share["assigned"], "workers and counters agree: {pool}");
    expect(&list("pool --address 203.0.113.255"), "zone ")?;
    // No packet may reach the loopback address.
    let _ = site.host().run("ping -c 1 -W 1 2001:db8:64::127.0.0.1").outcome();
    let lines = list("drops --json");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let all: Vec<_> = lines.collect();
    let drops = all.iter().find(|drops| drops["zone"] == zone["name"]).expect("a drop of the zone");
    assert_eq!(drops["packets"], 1, "{all:?}");
    let reason = Reason::ALL.into_iter().find(|reason| drops["reason"] == reason.name()).expect("a reason");
    expect(&list("drops"), &format!("{reason}  1 packets (lab 1)\n  {}", reason.meaning().trim()))?;
    expect(&list("drops"), reason.advice())?;
    expect(&list("drops --list --reason no_zone"), "clients")?;
    gateway.stop()
}

#[test]
fn a_dry_run_shows_what_a_reload_would_change() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let before = GatewayConfig::default();
    let gateway = site.start(&before)?;
    site.page()?;
    let file = gateway.config().to_owned();
    let text = fs::read_to_string(&file).expect("readable");
    let dry_run = |text: &str| {
        fs::write(&file, text).expect("writable");
        run(&site, "reload --dry-run --json")
    };
    let same: Value = serde_json::from_str(&dry_run(&text).stdout).expect("JSON");
    assert_eq!((&same["changes"], &same["sessions_ending"]), (&json!([]), &json!({})), "{same}");
    // Another pool4 ends all sessions; the device needs a restart.
    let other = text
        .replace("192.0.2.64/28", "192.0.2.96/28")
        .replace("workers = 1", "workers = 2")
        .replace("2001:db8:64::/96", "2001:db8:65::/96");
    let output = dry_run(&other);
    assert!(output.ok, "{output:?}");
    let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let change = |key: &str, old: &str, new: &str| json!({ "key": key, "old": old, "new": new });
    assert_eq!(
        found["changes"],
        json!([
            change("host.workers", "1", "2"),
            change("translator.pool4", "[\"192.0.2.64/28\"]", "[\"192.0.2.96/28\"]"),
            change("translator.pref64", "\"2001:db8:64::/96\"", "\"2001:db8:65::/96\""),
        ])
    );
    assert_eq!(found["needs_restart"], json!(["host.workers"]));
    assert_eq!(found["lingering"], json!(["2001:db8:64::/96 of zone lab"]));
    assert!(found["sessions_ending"]["pool4"].as_u64() >= Some(1), "{found}");
    assert_eq!(found["sessions_ending"], found["bindings_ending"]);
    // Nothing has changed.
    expect(&show(&site, "zones"), "192.0.2.64/28")?;
    expect(&site.page()?, "Hello!")?;
    let invalid = dry_run(&format!("nonsense = 1\n{text}"));
    assert!(!invalid.ok);
    expect(&invalid.stderr, "unknown key `nonsense`")?;
    expect(&site.page()?, "Hello!")?;
    gateway.stop()
}

/// An environment in which the gateway cannot serve: a configuration, and commands that make and undo it.
struct Broken {
    config: GatewayConfig,
    part: &'static str,
    begin: &'static str,
    end: &'static str,
}

fn broken(part: &'static str, begin: &'static str, end: &'static str) -> Broken {
    Broken { config: GatewayConfig::default(), part, begin, end }
}

fn environments() -> Vec<Broken> {
    let with = |pool: &str, dns: &str, more: &str| {
        let default = GatewayConfig::default();
        let text = |given: &str, default: String| if given.is_empty() { default } else { given.to_owned() };
        GatewayConfig {
            pool: text(pool, default.pool),
            dns: text(dns, default.dns),
            more: more.to_owned(),
            ..GatewayConfig::default()
        }
    };
    let dns = "listen = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.53\"]\n";
    let tls = "tls_listen = \"[2001:db8:1::53]:853\"\ntls_certificate = \"/nonexistent\"\ntls_key = \"/nonexistent\"";
    let key = "[binding_log]\nhosts = \"hashed\"\nkey_file = \"/nonexistent\"";
    vec![
        broken("device", "ip link add gate64 type veth peer name other64", "ip link del gate64"),
        broken(
            "firewall",
            "nft add table inet f; nft add chain inet f passing '{ type filter hook forward priority 0; policy drop; }'",
            "nft delete table inet f",
        ),
        Broken { config: with("", &format!("{dns}{tls}"), ""), ..broken("dns64", "", "") },
        Broken { config: with("", "", key), ..broken("binding log", "", "") },
        Broken { config: with("pool4 = [\"203.0.113.0/28\"]", "", ""), ..broken("addresses", "", "") },
    ]
}

/// Runs shell commands on the gateway's host.
fn shell(site: &Site, commands: &str) -> Test {
    match commands {
        "" => Ok(()),
        commands => site.lab.gateway.run("sh -c").arg(commands).text().map(drop),
    }
}

#[test]
fn a_check_succeeds_where_a_run_serves() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let check = |config: &GatewayConfig| {
        // The pool of the lab is on the link of the gateway.
        let text = config.text(site.lab.dir()).replace("[host]", "[host]\nannounce = \"proxy\"");
        fs::write(site.file("gate64.toml"), &text).expect("writable");
        (run(&site, "check --json"), text)
    };
    let (good, text) = check(&GatewayConfig::default());
    assert!(good.ok, "{good:?}");
    let gateway = Gateway::with_file(super::program(), &site.lab.gateway, site.lab.dir(), &text)?;
    let running = run(&site, "check");
    assert!(running.ok, "also while it runs: {running:?}");
    gateway.stop()?;
    for Broken { config, part, begin, end } in environments() {
        shell(&site, begin)?;
        let (checked, text) = check(&config);
        let started = Gateway::with_file(super::program(), &site.lab.gateway, site.lab.dir(), &text);
        shell(&site, end)?;
        let found: Value = serde_json::from_str(&checked.stdout).expect("JSON");
        let findings = found["findings"].as_array().expect("findings").iter();
        let errors: Vec<_> = findings.filter(|finding| finding["rating"] == "error").collect();
        assert!(!checked.ok && errors.iter().any(|error| error["part"] == part), "{part}: {checked:?}");
        assert!(started.is_err(), "{part}: `run` serves");
    }
    Ok(())
}

#[test]
fn the_doctor_names_what_mends_each_problem() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    let healthy = run(&site, "doctor --seconds 1");
    eprintln!("{}", healthy.stdout);
    assert!(healthy.ok, "{healthy:?}");
    for part in
        // The kernel's own packets of a new device can be dropped in this second.
        ["ok       upstreams", "ok       gateway", "ok       pool4", " drops  ", "ok       memory"]
    {
        expect(&healthy.stdout, part)?;
    }
    gateway.stop()?;
    let stopped = run(&site, "doctor --json");
    assert!(!stopped.ok);
    let found: Value = serde_json::from_str(&stopped.stdout).expect("JSON");
    let findings = found["findings"].as_array().expect("findings");
    let gateway = findings.iter().find(|finding| finding["part"] == "gateway").expect("a finding");
    assert_eq!(
        (&gateway["rating"], &gateway["remedy"]),
        (&"error".into(), &"systemctl start gate64; journalctl -u gate64".into())
    );
    // Upstream resolvers that do not answer, and a file that is refused.
    let silent = "listen = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.99\"]".to_owned();
    let gateway = site.start(&GatewayConfig { dns: silent, ..GatewayConfig::default() })?;
    let doctor = run(&site, "doctor --seconds 0");
    assert!(!doctor.ok, "{doctor:?}");
    expect(&doctor.stdout, "198.51.100.99:53 does not answer over UDP")?;
    fs::write(gateway.config(), "nonsense").expect("writable");
    expect(&run(&site, "doctor --seconds 0").stdout, "the file is refused")?;
    gateway.stop()
}

/// Waits until the log of a trace has this text.
fn wait_for(trace: &Daemon, text: &str) -> Test {
    until(Deadline::ample(), &format!("`{text}` in the trace"), || trace.log().contains(text))
}

#[test]
fn a_trace_shows_what_became_of_packets() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig { workers: 2, ..GatewayConfig::default() })?;
    let trace = |words: &str, log: &str| {
        let line = site.lab.gateway.run(&site.gate64(&format!("trace {words}")));
        Daemon::start(&line, &site.file(log))
    };
    let text = trace("--host 2001:db8:1::10 --protocol icmp", "trace.txt")?;
    let ping = || site.host().run(&format!("ping -c 1 -W 1 {WWW}")).outcome();
    until(Deadline::ample(), "a forwarded packet", || ping().is_ok() && text.log().contains(": forwarded"))?;
    wait_for(&text, ": sent")?;
    let _ = site.host().run("ping -c 1 -W 1 2001:db8:64::127.0.0.1").outcome();
    wait_for(&text, "dropped ")?;
    // Another trace ends it, and writes a file.
    let file = site.file("trace.pcapng");
    let second = trace(&format!("--dropped --zone lab -w {}", file.display()), "second.txt")?;
    let has_comment = || {
        let _ = site.host().run("ping -c 1 -W 1 2001:db8:64::127.0.0.1").outcome();
        fs::read(&file).is_ok_and(|bytes| bytes.windows(8).any(|bytes| bytes == b"dropped "))
    };
    until(Deadline::ample(), "a dropped packet in the file", has_comment)?;
    let mut text = text;
    until(Deadline::ample(), "the first trace ends", || !text.is_running())?;
    let bytes = fs::read(&file).expect("readable");
    let mut reader = Reader::new(&bytes[..]).expect("a pcapng file");
    assert!(reader.next_frame().expect("valid").is_some());
    let invalid = run(&site, "trace --zone nowhere");
    expect(&invalid.stderr, "no zone has the name `nowhere`")?;
    drop(second);
    expect(&site.page()?, "Hello!")?;
    gateway.stop()
}
