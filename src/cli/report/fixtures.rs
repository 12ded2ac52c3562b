//! A zone for tests, with hostile texts.

use std::net::Ipv4Addr;

use jiff::civil::Date;

use super::model::{Report, ZoneReport};
use super::phrases::Language;
use crate::observe::ledger::read::{
    DayRow, HostClasses, LiteralRow, Literals, Load, NameRow, Support, Translated, ZoneEvidence,
};

/// A name that would be a formula, an element and an escape sequence.
pub(super) const HOSTILE: &str = "=1+1<script>alert(1)</script>\u{1b}[31m";

/// A zone with three quarters of its queries for names with native IPv6.
pub(super) fn evidence() -> ZoneEvidence {
    let translated = Translated { sessions: 30, bytes_out: 1000, bytes_in: 2_000_000 };
    let queries = Support { native: 75, ipv4_only: 20, broken_aaaa: 5 };
    let name = |name: &str, ipv6_support| NameRow {
        name: name.to_owned(),
        ipv6_support,
        alias: None,
        queries: 20,
        hosts: 3,
        translated,
        seen: (1, 2),
    };
    ZoneEvidence {
        zone: "floor-3".to_owned(),
        programme: Some("vn-3369".to_owned()),
        names: Support { native: 3, ipv4_only: 1, broken_aaaa: 1 },
        queries,
        translated,
        literals: Literals {
            destinations: 1,
            translated: Translated { sessions: 3, bytes_out: 10, bytes_in: 20 },
        },
        hosts: HostClasses { bypasses_dns64: 1, clat: 2, dns64_only: 7 },
        ipv4_names: vec![name(HOSTILE, Some("ipv4_only")), name("old.example.", Some("broken_aaaa"))],
        top_literals: vec![LiteralRow {
            address: Ipv4Addr::new(203, 0, 113, 9),
            protocol: "udp",
            port: 4500,
            translated,
        }],
        drops: vec![("no_zone".to_owned(), 12)],
        days: vec![
            DayRow { day: 20_785, translated, queries },
            DayRow { day: 20_786, translated, queries: Support::default() },
        ],
        load: Load { peak_sessions: 900, session_limit: 1_000_000, peak_ports: 500, pool_ports: 64_000 },
    }
}

/// A report of one zone, on 29 November 2028.
pub(super) fn report(evidence: ZoneEvidence) -> Report {
    let day: Date = "2028-11-29".parse().expect("a date");
    let zone = ZoneReport::new(day, evidence).expect("a built-in programme");
    Report { from: day, to: day, zones: vec![zone], language: Language::En, own: vec!["example".to_owned()] }
}
