//! The share of the fragment cache that one source may use. The scenarios are generated, because they are long.

use std::fmt::Write;

use crate::script::run_text;

fn holds(text: &str) {
    run_text(text, |act| act()).unwrap_or_else(|error| panic!("{error}"));
}

/// A non-first fragment of its own datagram, and the expected outcome.
fn fragment(text: &mut String, from_to: &str, id: u32, outcome: &str) {
    let side = if from_to.contains("::") { "v6" } else { "v4" };
    writeln!(text, "{side}> udp {from_to} data=2000 frag={id}:1232+\n{outcome}").expect("memory");
}

/// A cache of 2,048 cells and 4,096 datagrams: a source may use 256 cells and 512 datagrams.
const LARGE: &str = "set limit fragment_bytes 4194304\n";

#[test]
fn a_source_fills_an_eighth_of_the_memory() {
    // ids 6146-3.4-frag-limit, 6146-5.3-dos
    for (first, second) in [
        (
            "2001:db8:1::2.40000 > 2001:db8:64::c633:6407.53",
            "2001:db8:1::3.40000 > 2001:db8:64::c633:6407.53",
        ),
        ("Z.53 > T.40000", "W.53 > T.40000"),
    ] {
        let mut text = LARGE.to_owned();
        (0..256).for_each(|id| fragment(&mut text, first, id, "hold"));
        fragment(&mut text, first, 256, "drop fragment_limit");
        fragment(&mut text, second, 257, "hold");
        // Expired fragments make room.
        text += "wait 2s\ncounter fragment_timeout 257\n";
        fragment(&mut text, first, 258, "hold");
        holds(&text);
    }
}

#[test]
fn a_source_begins_an_eighth_of_the_datagrams() {
    // ids 6146-3.4-frag-limit, 6146-5.3-dos: first fragments pass and take no memory, only an entry
    let mut text = LARGE.to_owned();
    for id in 0..514_u32 {
        let (source, outcome) = match id {
            0..512 => ("C.40000", "v4< udp T.40000 > Z.53 data=2000 frag=$_:0+1232"),
            512 => ("C.40000", "drop fragment_limit"),
            _ => ("D.50000", "v4< udp T.50000 > Z.53 data=2000 frag=$_:0+1232"),
        };
        let outcome = outcome.replace("$_", &id.to_string());
        writeln!(text, "v6> udp {source} > Z6.53 data=2000 frag={id}:0+1232\n{outcome}").expect("memory");
    }
    holds(&text);
}

#[test]
fn the_addresses_of_a_host_have_one_share() {
    // ids 6146-3.4-frag-limit, 6888-4-sub
    let mut text = "set zone 0 clients=2001:db8::/32 host=64\n".to_owned();
    let of = |net: u32, n: u32| format!("2001:db8:{net:x}::{n:x}.40000 > 2001:db8:64::c633:6407.53");
    // 128 cells and 256 datagrams, of which a host may have 32.
    (1..=32).for_each(|n| fragment(&mut text, &of(1, n), n, "hold"));
    fragment(&mut text, &of(1, 33), 33, "drop fragment_limit");
    fragment(&mut text, &of(2, 1), 34, "hold");
    holds(&text);
}

#[test]
fn a_site_leaves_half_of_the_memory_to_others() {
    // ids 6146-3.4-frag-limit, 6146-5.3-dos: four hosts fill the half; on the IPv4 side a site is a /24
    let v6 = |site: u32, host: u32| format!("2001:db8:{site:x}::{host:x}.40000 > 2001:db8:64::c633:6407.53");
    let v4 = |site: u32, host: u32| format!("198.51.{site}.{host}.53 > T.40000");
    for of in [&v6 as &dyn Fn(u32, u32) -> String, &v4] {
        let mut text = format!("{LARGE}set zone 0 clients=2001:db8::/32\n");
        (0..1024).for_each(|n| fragment(&mut text, &of(1, 1 + n / 256), n, "hold"));
        fragment(&mut text, &of(1, 9), 1024, "drop fragment_limit");
        fragment(&mut text, &of(2, 1), 1025, "hold");
        holds(&text);
    }
}
