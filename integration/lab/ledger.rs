//! The ledger: sessions are recorded by name and as literals, over a restart, and `gate64 report` shows them.

use std::fs;

use gate64::lab::{GatewayConfig, LabError};
use serde_json::Value;

use super::{Site, Test, WWW, build, expect, wrong};

/// The name of [`Site::page`].
const NAME: &str = "www.v4only.example.";

fn config() -> GatewayConfig {
    let more = "[ledger]\nenabled = true\nhosts = \"plain\"".to_owned();
    GatewayConfig { more, ..GatewayConfig::default() }
}

fn report(site: &Site, words: &str) -> Result<String, LabError> {
    let path = site.file("state/ledger.sqlite");
    site.lab.gateway.text(&site.gate64(&format!("report --ledger {} {words}", path.display())))
}

#[test]
fn sessions_are_recorded_by_name_and_as_literals() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    // Without a query, the address is a literal.
    let gateway = site.start(&config())?;
    site.host().text(&format!("curl -sS -m 5 http://[{WWW}]/"))?;
    gateway.stop()?;
    // The restored session stays a literal, and is not counted twice.
    let gateway = site.start(&config())?;
    for _ in 0..3 {
        site.page()?;
    }
    gateway.stop()?;
    let gateway = site.start(&config())?;
    gateway.stop()?;
    let json = report(&site, "--format json")?;
    let found: Value = serde_json::from_str(&json).map_err(|why| wrong(format!("{why}: {json}")))?;
    let zone = &found["zones"][0];
    assert_eq!(zone["zone"], "lab", "{json}");
    assert_eq!(
        (&zone["translated"]["sessions"], &zone["literals"]["sessions"]),
        (&4.into(), &1.into()),
        "{json}"
    );
    let rows = zone["ipv4_names"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = rows.iter().find(|row| row["name"] == NAME).ok_or_else(|| wrong(json.clone()))?;
    assert_eq!((&name["sessions"], &name["hosts"]), (&3.into(), &1.into()), "{json}");
    assert_eq!(name["ipv6_support"], "ipv4_only", "{json}");
    let bytes = |row: &Value| row["bytes_out"].as_u64().unwrap_or(0) + row["bytes_in"].as_u64().unwrap_or(0);
    assert_eq!(bytes(&zone["translated"]), bytes(name) + bytes(&zone["literals"]), "{json}");
    assert_eq!((&zone["hosts"]["dns64_only"], &zone["verdict"]), (&1.into(), &"not_yet".into()), "{json}");

    let page = site.file("report.html");
    report(&site, &format!("--lang vi --out {}", page.display()))?;
    expect(&fs::read_to_string(page).map_err(|why| wrong(why.to_string()))?, NAME)?;
    expect(&report(&site, "--format csv")?, &format!("lab,name,{NAME},ipv4_only,"))
}
