//! Firewalls of the host, and its reverse path filters: judged by what they do with the packets of gate64.

use gate64::lab::{Deadline, GatewayConfig, LabError, until};

use super::reconcile::status;
use super::{Site, Test, Tested, build, expect, wrong};

/// Whether the status shows a problem with these words.
fn has_problem(site: &Site, gateway: &Tested, words: &str) -> bool {
    status(site, gateway).is_ok_and(|status| status["host"]["problems"].to_string().contains(words))
}

/// Loads a table for nft.
fn load(site: &Site, table: &str) -> Result<String, LabError> {
    site.lab.gateway.run("nft -f -").input(table.to_owned()).text()
}

/// The log of a start that fails.
fn refused(site: &Site) -> Result<String, LabError> {
    match site.start(&GatewayConfig::default()) {
        Ok(_) => Err(wrong("the gateway has started")),
        Err(why) => Ok(why.to_string()),
    }
}

#[test]
fn half_a_pair_of_rules_and_a_last_reject_are_refused() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    load(
        &site,
        "table inet test {\n\
           chain policies { iifname lan0 oifname gate64 accept; }\n\
           chain forward { type filter hook forward priority 10; policy accept;\n\
             ct state vmap { established : accept, related : accept, invalid : drop }\n\
             jump policies\n reject with icmpx admin-prohibited; }\n\
         }",
    )?;
    let log = refused(&site)?;
    expect(
        &log,
        "the chain inet test forward drops IPv4 packets of gate64 to servers; type: nft insert rule",
    )?;
    site.lab.gateway.text("nft insert rule inet test forward iifname gate64 accept")?;
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    gateway.stop()
}

#[test]
fn changes_of_firewalls_are_judged_again() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    for (chain, words) in [
        (
            "input { type filter hook input priority 0; policy drop; ct state established accept; icmpv6 type != 1 accept; }",
            "DNS queries of clients",
        ),
        (
            "rpf { type filter hook prerouting priority 0; fib saddr . iif oif missing drop; }",
            "ICMP errors of gate64",
        ),
    ] {
        load(&site, &format!("table inet test {{ chain {chain}; }}"))?;
        until(Deadline::ample(), words, || has_problem(&site, &gateway, words))?;
        site.lab.gateway.text("nft delete table inet test")?;
        until(Deadline::ample(), "no problem", || !has_problem(&site, &gateway, words))?;
    }
    site.lab.gateway.text("sysctl -q -w net.ipv4.conf.all.rp_filter=2")?;
    let words = "net.ipv4.conf.all.rp_filter is 2";
    until(Deadline::ample(), words, || has_problem(&site, &gateway, words))?;
    gateway.stop()
}
