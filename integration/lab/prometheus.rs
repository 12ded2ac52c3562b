//! Metrics, alert rules and dashboard, read by the real Prometheus.

use std::collections::BTreeSet;
use std::fs;

use gate64::lab::{CommandLine, Deadline, GatewayConfig, LabError, until};
use serde_json::Value;

use super::parts::{self, VALIDATOR};
use super::{Site, Test, WWW, build, expect};

/// The files in `configs/prometheus`.
const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/prometheus");

/// The expressions of all dashboard panels and alert rules, with Grafana's variables replaced.
fn expressions() -> Vec<String> {
    let text =
        fs::read_to_string(format!("{CONFIGS}/grafana-dashboard.json")).expect("a file of the project");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets
        .map(|target| {
            let text = target["expr"].as_str().expect("an expression");
            text.replace("$instance", ".*").replace("$zone", ".*").replace("$__rate_interval", "10s")
        })
        .collect()
}

/// The names of this program's metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("gate64_") || word.starts_with("process_")).collect()
}

/// The result of a query, or the whole response if it is an error.
fn ask(site: &Site, query: &str) -> Result<Value, LabError> {
    let curl = site.lab.gateway.run("curl -sS -g http://[::1]:9090/api/v1/query --data-urlencode");
    let text = curl.arg(format!("query={query}")).text()?;
    let response: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    assert_eq!(response["status"], "success", "{query}: {text}");
    Ok(response["data"]["result"].clone())
}

#[test]
fn prometheus_reads_the_metrics() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let _authority = parts::authority(&site)?;
    let _validator = parts::validator(&site, true, false)?;
    let dns = format!("listen = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"{VALIDATOR}\"]");
    let config = GatewayConfig { dns, ..GatewayConfig::default() };
    let mut gateway = site.start(&config)?;
    let router = &site.lab.gateway;
    gateway.reload(&config)?;
    expect(&site.host().text(&format!("ping -c 1 -W 5 {WWW}"))?, " 0% packet loss")?;
    expect(&site.host().text("dig +short v4.plain.lab AAAA")?, WWW)?;
    let metrics = router.text("curl -sS -g http://[::1]:6464/metrics")?;
    let check = CommandLine::new("promtool check metrics").input(metrics.clone()).outcome()?;
    assert!(check.ok && check.stderr.is_empty(), "{}{}", check.stdout, check.stderr);
    let rules = fs::read_to_string(format!("{CONFIGS}/alerts.yml")).expect("a file of the project");
    let exist = names(&metrics);
    for text in expressions().iter().chain([&rules]) {
        let unknown: Vec<_> = names(text).into_iter().filter(|name| !exist.contains(name)).collect();
        assert!(unknown.is_empty(), "no such metrics: {unknown:?} in {text}");
    }
    let config = site.file("prometheus.yml");
    let scrape = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n\
                  scrape_configs:\n- job_name: gate64\n  static_configs: [{ targets: ['[::1]:6464'] }]\n";
    fs::write(&config, format!("rule_files: ['{CONFIGS}/alerts.yml']\n{scrape}"))
        .expect("a file in the lab's directory");
    let line = format!(
        "prometheus --config.file={} --storage.tsdb.path={} --web.listen-address=[::1]:9090",
        config.display(),
        site.file("tsdb").display()
    );
    let _prometheus = router.daemon(&line, &site.file("prometheus.log"))?;
    let ready =
        || router.text("curl -sS -g http://[::1]:9090/-/ready").is_ok_and(|text| text.contains("Ready"));
    until(Deadline::ample(), "Prometheus is ready", ready)?;
    let translated = "gate64_packets_total{zone=\"lab\",direction=\"v6_to_v4\"} > 0";
    let counted =
        || ask(&site, translated).is_ok_and(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()));
    until(Deadline::ample(), "the packets are counted", counted)?;
    for text in expressions() {
        ask(&site, &text)?;
    }
    let waited = ask(&site, "histogram_quantile(0.5, sum by (le) (gate64_dns64_wait_seconds_bucket))")?;
    let seconds: f64 = waited[0]["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
    assert!(seconds.is_finite() && seconds > 0.0, "{waited}");
    let openmetrics = "process_resident_memory_bytes{job=\"gate64\"} > 1e6";
    assert_eq!(ask(&site, openmetrics)?.as_array().map(Vec::len), Some(1));
    gateway.stop()
}

#[test]
fn the_alert_rules_hold_their_tests() -> Test {
    let Some(_machine) = super::lock_machine() else { return Ok(()) };
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/prometheus_rules.yml");
    expect(&CommandLine::new("promtool test rules").arg(tests).text()?, "SUCCESS")
}
