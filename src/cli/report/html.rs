//! The report as one page without external resources or scripts. It prints on A4.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::model::{Report, ZoneReport, date};
use super::phrases::{Language, Phrase};
use super::programme::Progress;
use super::verdict::Verdict;
use crate::observe::chart::Line;
use crate::observe::format::size;
use crate::observe::ledger::read::{DayRow, LiteralRow, NameRow, ZoneEvidence, percent};
use crate::reason::Reason;

/// Rows of each table.
const ROWS: usize = 25;

const STYLE: &str = include_str!("style.css");

/// A section of a zone, in a language.
struct Section<'a> {
    language: Language,
    zone: &'a ZoneEvidence,
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let language = report.language;
    let text = |phrase: Phrase| phrase.text(language);
    let page = html! {
        (DOCTYPE)
        html lang=(language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (text(Phrase::Title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (text(Phrase::Title)) }
                    p { (text(Phrase::Period)) ": " (report.from) " – " (report.to) }
                }
                @for zone in &report.zones { (of_zone(report, zone)) }
                @if report.zones.is_empty() { p { (text(Phrase::None)) } }
            }
        }
    };
    // Names come from the network: no control characters, also for those who read the file in a terminal.
    page.into_string().replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

fn of_zone(report: &Report, zone: &ZoneReport) -> Markup {
    let section = Section { language: report.language, zone: &zone.evidence };
    let text = |phrase: Phrase| phrase.text(report.language);
    html! {
        section {
            h2 { (text(Phrase::Zone)) " " (zone.evidence.zone) }
            p class={ "verdict " (zone.verdict.class()) } { (section.verdict(zone.verdict)) }
            @if zone.verdict != Verdict::NoData {
                @if let Some(progress) = &zone.progress { (section.progress(progress)) }
                (section.ratios())
                (section.trend())
                (section.names())
                (section.own(&report.own))
                (section.literals())
                (section.hosts())
                (section.drops())
                (section.load())
            }
        }
    }
}

/// A share in percent, or a dash.
fn share(percent: Option<f64>) -> String {
    percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1} %"))
}

/// The days of a period without gaps.
fn values(days: &[DayRow], value: impl Fn(&DayRow) -> Option<f64>) -> Vec<Option<f64>> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Vec::new() };
    let of = |day: u64| days.binary_search_by_key(&day, |row| row.day).ok().and_then(|at| value(&days[at]));
    (first.day..=last.day).map(of).collect()
}

impl Section<'_> {
    fn text(&self, phrase: Phrase) -> &'static str {
        phrase.text(self.language)
    }

    /// The verdict in one sentence.
    fn verdict(&self, verdict: Verdict) -> String {
        let zone = self.zone;
        let start = match verdict {
            Verdict::NoData => return self.text(Phrase::NoData).to_owned(),
            Verdict::Ready => return self.text(Phrase::Ready).to_owned(),
            Verdict::Nearly => self.text(Phrase::Nearly),
            Verdict::NotYet => self.text(Phrase::NotYet),
        };
        let mut sentence = format!(
            "{start}: {} {}; {} {}, {} {}; {} {}",
            share(zone.queries.native_percent()),
            self.text(Phrase::OfQueries),
            zone.names.ipv4_only + zone.names.broken_aaaa,
            self.text(Phrase::NamesNeed),
            zone.literals.destinations,
            self.text(Phrase::LiteralsNeed),
            size(zone.translated.bytes()),
            self.text(Phrase::Moved),
        );
        if let Some(largest) = zone.ipv4_names.first() {
            sentence += &format!("; {} {}", self.text(Phrase::Largest), largest.name);
        }
        sentence + "."
    }

    fn progress(&self, progress: &Progress) -> Markup {
        let phase = &progress.phase;
        html! {
            h3 { (self.text(Phrase::Programme)) ": " (progress.title.text(self.language)) }
            p { (phase.text.text(self.language)) " (" (self.text(Phrase::Due)) " " (phase.due) "). "
                span.source { (progress.source) } }
            @if let Some(target) = phase.percent {
                p { (self.text(Phrase::Target)) ": " strong { (share(Some(target))) } " · "
                    (self.text(Phrase::Reached)) ": " strong { (share(progress.reached_percent)) } }
                @let reached = progress.reached_percent.unwrap_or(0.0);
                svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" role="img" {
                    title { (share(progress.reached_percent)) " / " (share(Some(target))) }
                    rect.back width="100" height="4" {}
                    rect.done width={ (format!("{reached:.1}")) } height="4" {}
                    rect.target x={ (format!("{:.1}", target - 0.3)) } width="0.6" height="4" {}
                }
            } @else { p { (self.text(Phrase::NotMeasured)) } }
        }
    }

    fn ratios(&self) -> Markup {
        let zone = self.zone;
        let literals = percent(zone.literals.translated.sessions, zone.translated.sessions);
        let hosts = percent(zone.hosts.dns64_only, zone.hosts.total());
        let rows = [
            (Phrase::RatioNames, zone.names.native_percent(), Phrase::RatioNamesMeans),
            (Phrase::RatioQueries, zone.queries.native_percent(), Phrase::RatioQueriesMeans),
            (Phrase::RatioHosts, hosts, Phrase::RatioHostsMeans),
            (Phrase::RatioLiterals, literals, Phrase::RatioLiteralsMeans),
        ];
        html! {
            h3 { (self.text(Phrase::Ratios)) }
            table { tbody { @for (name, value, meaning) in rows {
                tr { th scope="row" { (self.text(name)) } td.number { (share(value)) } td.means { (self.text(meaning)) } }
            } } }
        }
    }

    fn trend(&self) -> Markup {
        let days = &self.zone.days;
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return html! {} };
        let ends = (date(first.day).to_string(), date(last.day).to_string());
        let chart = |title: Phrase, values: &[Option<f64>], top, label: fn(f64) -> String| {
            let title = self.text(title);
            let line = Line { title, ends: (&ends.0, &ends.1), values, top };
            html! { figure { figcaption { (title) } (PreEscaped(line.svg(label))) } }
        };
        let native = values(days, |day| day.queries.native_percent());
        let bytes = values(days, |day| Some(day.translated.bytes() as f64));
        html! {
            h3 { (self.text(Phrase::Trend)) }
            (chart(Phrase::TrendQueries, &native, Some(100.0), |value| format!("{value:.0} %")))
            (chart(Phrase::TrendBytes, &bytes, None, |value| size(value as u64)))
        }
    }

    fn names(&self) -> Markup {
        html! {
            h3 { (self.text(Phrase::Names)) }
            p { (self.text(Phrase::NamesMeans)) }
            (self.name_table(&self.zone.ipv4_names.iter().take(ROWS).collect::<Vec<_>>()))
        }
    }

    /// Names of the operator without working AAAA records.
    fn own(&self, domains: &[String]) -> Markup {
        let is_below = |name: &str, domain: &String| {
            let rest = name.trim_end_matches('.').strip_suffix(domain.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let is_own = |row: &&NameRow| {
            row.ipv6_support != Some("native") && domains.iter().any(|domain| is_below(&row.name, domain))
        };
        let own: Vec<_> = self.zone.ipv4_names.iter().filter(is_own).collect();
        html! {
            @if !domains.is_empty() {
                h3 { (self.text(Phrase::Own)) }
                (self.name_table(&own))
            }
        }
    }

    fn name_table(&self, rows: &[&NameRow]) -> Markup {
        let support = |row: &NameRow| match row.ipv6_support {
            Some("native") => self.text(Phrase::Native),
            Some("ipv4_only") => self.text(Phrase::Ipv4Only),
            Some(_) => self.text(Phrase::Broken),
            None => self.text(Phrase::Unknown),
        };
        let heads = [Phrase::Queries, Phrase::Hosts, Phrase::Sessions, Phrase::Bytes];
        html! {
            @if rows.is_empty() { p { (self.text(Phrase::None)) } } @else {
                table {
                    thead { tr { th { (self.text(Phrase::Name)) } th { (self.text(Phrase::Support)) }
                        @for head in heads { th.number { (self.text(head)) } } } }
                    tbody { @for row in rows { tr {
                        td.name { (clean(&row.name)) @if let Some(alias) = &row.alias { br; small { "→ " (clean(alias)) } } }
                        td { (support(row)) }
                        td.number { (row.queries) }
                        td.number { (row.hosts) }
                        td.number { (row.translated.sessions) }
                        td.number { (size(row.translated.bytes())) }
                    } } }
                }
            }
        }
    }

    fn literals(&self) -> Markup {
        let rows = &self.zone.top_literals;
        html! {
            h3 { (self.text(Phrase::Literals)) }
            @if rows.is_empty() { p { (self.text(Phrase::None)) } } @else {
                table {
                    thead { tr { th { (self.text(Phrase::Destination)) } th { (self.text(Phrase::Likely)) }
                        th.number { (self.text(Phrase::Sessions)) } th.number { (self.text(Phrase::Bytes)) } } }
                    tbody { @for row in rows.iter().take(ROWS) { tr {
                        td.name { (row.address) " " (row.protocol) @if row.port > 0 { " " (row.port) } }
                        td { (likely(row)) }
                        td.number { (row.translated.sessions) }
                        td.number { (size(row.translated.bytes())) }
                    } } }
                }
            }
        }
    }

    fn hosts(&self) -> Markup {
        let hosts = self.zone.hosts;
        let rows = [
            (Phrase::Dns64Only, hosts.dns64_only, Phrase::Dns64OnlyMeans),
            (Phrase::Clat, hosts.clat, Phrase::ClatMeans),
            (Phrase::Bypass, hosts.bypasses_dns64, Phrase::BypassMeans),
        ];
        html! {
            h3 { (self.text(Phrase::HostClasses)) }
            @if hosts.total() == 0 { p { (self.text(Phrase::NoHosts)) } } @else {
                table { tbody { @for (name, count, meaning) in rows {
                    tr { th scope="row" { (self.text(name)) } td.number { (count) }
                        td.number { (share(percent(count, hosts.total()))) } td.means { (self.text(meaning)) } }
                } } }
            }
        }
    }

    fn drops(&self) -> Markup {
        let meaning = |name: &str| {
            Reason::ALL.into_iter().find(|reason| reason.name() == name).map_or("", |reason| reason.meaning())
        };
        let rows = &self.zone.drops;
        html! {
            h3 { (self.text(Phrase::Drops)) }
            @if rows.is_empty() { p { (self.text(Phrase::None)) } } @else {
                table {
                    thead { tr { th { (self.text(Phrase::Reason)) } th.number { (self.text(Phrase::Packets)) } } }
                    tbody { @for (reason, packets) in rows.iter().take(ROWS) { tr {
                        td lang="en" { (meaning(reason)) " " small { (reason) } } td.number { (packets) }
                    } } }
                }
            }
        }
    }

    fn load(&self) -> Markup {
        let load = self.zone.load;
        let rows = [
            (Phrase::PeakSessions, load.peak_sessions, load.session_limit),
            (Phrase::PeakPorts, load.peak_ports, load.pool_ports),
        ];
        html! {
            h3 { (self.text(Phrase::Load)) }
            table { tbody { @for (name, peak, limit) in rows {
                tr { th scope="row" { (self.text(name)) }
                    td.number { (peak) " " (self.text(Phrase::Of)) " " (limit) }
                    td.number { (share(percent(peak, limit))) } }
            } } }
        }
    }
}

/// A text without control characters.
fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// The program that probably uses a destination.
fn likely(row: &LiteralRow) -> &'static str {
    match (row.protocol, row.port) {
        ("icmp", _) => "ping",
        (_, 22) => "SSH",
        (_, 53 | 853) => "DNS",
        (_, 80 | 443) => "HTTP",
        (_, 123) => "NTP",
        (_, 445) => "SMB",
        (_, 500 | 4500) => "IPsec VPN",
        (_, 1194) => "OpenVPN",
        (_, 3389) => "RDP",
        (_, 3478 | 3479 | 5349 | 19302) => "STUN/TURN (WebRTC)",
        (_, 5060 | 5061) => "SIP",
        (_, 5938) => "TeamViewer",
        (_, 51820) => "WireGuard",
        (_, 8801..=8810) => "Zoom",
        (_, _) => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures::{evidence, report};

    #[test]
    fn a_page_shows_the_evidence_and_escapes_names() {
        let page = page(&report(evidence()));
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        for text in [
            "Not yet ready to drop NAT64: 75.0 % of AAAA queries are for names with native IPv6; 2 names without \
             working AAAA records, 1 literal destinations; 1.9 MiB translated; the largest is",
            "Viet Nam: IPv6-only 2026-2030",
            "due 2028-12-31",
            "=1+1&lt;script&gt;",
            "IPsec VPN",
            "70.0 %",
            "900 of 1000000",
        ] {
            assert!(page.contains(text), "{text} is missing in:\n{page}");
        }
        let own = page.split("Own domains").nth(1).expect("a section");
        assert!(own.contains("old.example."));
    }

    #[test]
    fn both_languages_have_all_texts() {
        let vietnamese = Report { language: Language::Vi, ..report(evidence()) };
        let page = page(&vietnamese);
        assert!(page.contains("lang=\"vi\"") && page.contains("Chưa sẵn sàng ngừng NAT64: 75.0 %"), "{page}");
    }

    #[test]
    fn days_without_entries_are_gaps() {
        let mut days = evidence().days;
        days[1].day += 1;
        let values = values(&days, |day| Some(day.day as f64));
        assert_eq!(values, [Some(20_785.0), None, Some(20_787.0)]);
    }
}
