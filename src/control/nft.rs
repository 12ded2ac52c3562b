//! nftables, by the program `nft`: the table for `egress = "masquerade"`, and the whole ruleset.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::addr::PortRange;
use crate::addr::Proto;
use crate::config::INNER;
use crate::nat64::{StaticBinding, Timers};

/// Why an nft command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftError {
    /// The program could not be run.
    #[error("cannot run nft: {0}; egress = \"masquerade\" needs the package nftables")]
    Run(std::io::Error),
    /// nft rejected the command.
    #[error("nft: {0}")]
    Refused(String),
}

async fn nft(arguments: &[&str], input: &str) -> Result<String, NftError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NftError::Run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If nft has ended, its standard error has the reason.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused(errors.lines().next().unwrap_or("no reason given").to_owned()))
}

/// Name of the table for a device. nft allows fewer characters than the kernel.
pub(crate) fn table_of(device: &str) -> String {
    if device == "gate64" {
        return device.to_owned();
    }
    let plain: String = device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("gate64_{plain}")
}

/// Whether [`table_of`] gives a device this table.
pub(super) fn is_table(name: &str) -> bool {
    let of_device = |rest: &str| {
        (1..libc::IFNAMSIZ).contains(&rest.len())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name == "gate64" || name.strip_prefix("gate64_").is_some_and(of_device)
}

/// Creates or replaces a table in one transaction.
///
/// # Errors
/// nft cannot be run, or rejects the script.
pub(crate) async fn apply(script: &str) -> Result<(), NftError> {
    nft(&["-f", "-"], script).await.map(drop)
}

/// Whether a table of the family `ip` exists.
///
/// # Errors
/// nft cannot be run.
pub(crate) async fn exists(table: &str) -> Result<bool, NftError> {
    match nft(&["list", "table", "ip", table], "").await {
        Ok(_) => Ok(true),
        Err(NftError::Refused(_)) => Ok(false),
        Err(why) => Err(why),
    }
}

/// Removes a table of the family `ip`; a missing table is not an error.
///
/// # Errors
/// nft cannot be run, or rejects the script.
pub(crate) async fn remove(table: &str) -> Result<(), NftError> {
    nft(&["-f", "-"], &format!("table ip {table} {{}}\ndelete table ip {table}\n")).await.map(drop)
}

/// The script of the table that masquerades [`INNER`] as the address of this host.
///
/// Outbound, ports do not change: they are reserved on this host, and there is one inner address. Inbound, all
/// packets to these ports reach the translator, with or without a conntrack entry. So the translator alone
/// decides mapping and filtering. The conntrack timeouts are at least those of the translator.
pub(crate) fn masquerade(
    table: &str,
    device: &str,
    ports: PortRange,
    statics: &[StaticBinding],
    timers: &Timers,
) -> String {
    let transit = timers.tcp_opening.max(timers.tcp_closing).as_secs();
    let established = timers.tcp_established.as_secs() + transit;
    let udp = timers.udp.as_secs();
    let inward = [Proto::Tcp, Proto::Udp].map(|proto| {
        let mut listed = vec![ports.to_string()];
        let mut extra: Vec<u16> = statics
            .iter()
            .filter(|s| s.proto == proto && s.v4.addr == INNER && !ports.contains(s.v4.port))
            .map(|s| s.v4.port)
            .collect();
        extra.sort_unstable();
        listed.extend(extra.iter().map(u16::to_string));
        let (proto, ports) = (proto.name(), listed.join(", "));
        format!(
            "    iifname != \"{device}\" fib daddr type local {proto} dport {{ {ports} }} dnat to {INNER}\n"
        )
    });
    let inward = inward.concat();
    format!(
        "table ip {table} {{}}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         \x20 ct timeout flows_tcp {{\n\
         \x20   protocol tcp; l3proto ip\n\
         \x20   policy = {{ syn_sent : {transit}, syn_recv : {transit}, established : {established}, \
         fin_wait : {transit}, close_wait : {transit}, last_ack : {transit}, time_wait : {transit}, \
         close : {transit} }}\n\
         \x20 }}\n\
         \x20 ct timeout flows_udp {{\n\
         \x20   protocol udp; l3proto ip\n\
         \x20   policy = {{ unreplied : {udp}, replied : {udp} }}\n\
         \x20 }}\n\
         \x20 chain inward {{\n\
         \x20   type nat hook prerouting priority dstnat; policy accept;\n\
         {inward}\
         \x20 }}\n\
         \x20 chain outward {{\n\
         \x20   type nat hook postrouting priority srcnat; policy accept;\n\
         \x20   ip saddr {INNER} oifname != \"{device}\" masquerade\n\
         \x20 }}\n\
         \x20 chain lifetimes {{\n\
         \x20   type filter hook forward priority filter; policy accept;\n\
         \x20   ip saddr {INNER} meta l4proto tcp ct timeout set \"flows_tcp\"\n\
         \x20   ip daddr {INNER} meta l4proto tcp ct timeout set \"flows_tcp\"\n\
         \x20   ip saddr {INNER} meta l4proto udp ct timeout set \"flows_udp\"\n\
         \x20   ip daddr {INNER} meta l4proto udp ct timeout set \"flows_udp\"\n\
         \x20 }}\n\
         }}\n"
    )
}

/// Adds `ports` to a list of reserved ports.
pub(crate) fn reserve(before: &str, ports: PortRange) -> String {
    let mut ranges: Vec<(u16, u16)> = before
        .split(',')
        .filter_map(|text| text.trim().parse::<PortRange>().ok())
        .map(|range| (range.first(), range.last()))
        .chain([(ports.first(), ports.last())])
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => {
                previous.1 = previous.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    let text = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    merged.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The whole ruleset as JSON; `None` if nft cannot be run.
pub(crate) async fn ruleset() -> Option<String> {
    nft(&["-j", "list", "ruleset"], "").await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Transport4, Transport6};

    #[test]
    fn reserved_ports_are_merged() {
        let ports = PortRange::new(40_960, 65_535).expect("a range");
        for (before, after) in [
            ("", "40960-65535"),
            ("8080", "8080,40960-65535"),
            ("8080,9000-9010,50000", "8080,9000-9010,40960-65535"),
            ("40000-40959", "40000-65535"),
            ("40960-65535", "40960-65535"),
        ] {
            assert_eq!(reserve(before, ports), after, "{before}");
        }
    }

    #[test]
    fn a_static_binding_outside_the_range_leads_in_too() {
        let binding = StaticBinding {
            proto: Proto::Tcp,
            v6: Transport6::new("2001:db8:1::80".parse().expect("literal"), 443),
            v4: Transport4::new(INNER, 443),
        };
        let ports = PortRange::new(40_960, 65_535).expect("a range");
        let script = masquerade("gate64", "gate64", ports, &[binding], &Timers::default());
        assert!(script.contains("tcp dport { 40960-65535, 443 } dnat to 192.0.0.2"), "{script}");
        assert!(script.contains("udp dport { 40960-65535 } dnat to 192.0.0.2"), "{script}");
        assert!(script.contains("replied : 300"), "{script}");
        assert!(script.contains("established : 7440"), "{script}");
    }
}
