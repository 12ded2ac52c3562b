//! The report as CSV (RFC 4180): one line per name, literal, host class and reason.

use super::model::{Report, ZoneReport};

const HEADER: &str = "zone,kind,item,ipv6_support,alias,queries,hosts,sessions,bytes_to_servers,bytes_from_servers,packets\r\n";

/// The table.
pub(super) fn table(report: &Report) -> String {
    let lines = report.zones.iter().flat_map(lines);
    std::iter::once(HEADER.to_owned()).chain(lines).collect()
}

fn lines(zone: &ZoneReport) -> Vec<String> {
    let ZoneReport { evidence, .. } = zone;
    let line = |cells: [&str; 10]| {
        let cells = std::iter::once(evidence.zone.as_str()).chain(cells);
        let cells: Vec<_> = cells.map(cell).collect();
        format!("{}\r\n", cells.join(","))
    };
    let mut all = Vec::new();
    for row in &evidence.ipv4_names {
        let numbers = [
            row.queries,
            row.hosts,
            row.translated.sessions,
            row.translated.bytes_out,
            row.translated.bytes_in,
        ];
        let [queries, hosts, sessions, out, into] = numbers.map(|number| number.to_string());
        let (support, alias) = (row.ipv6_support.unwrap_or(""), row.alias.as_deref().unwrap_or(""));
        all.push(line(["name", &row.name, support, alias, &queries, &hosts, &sessions, &out, &into, ""]));
    }
    for row in &evidence.top_literals {
        let item = format!("{} {} {}", row.address, row.protocol, row.port);
        let numbers = [row.translated.sessions, row.translated.bytes_out, row.translated.bytes_in];
        let [sessions, out, into] = numbers.map(|number| number.to_string());
        all.push(line(["literal", &item, "", "", "", "", &sessions, &out, &into, ""]));
    }
    let classes = evidence.hosts;
    for (class, hosts) in [
        ("dns64_only", classes.dns64_only),
        ("clat", classes.clat),
        ("bypasses_dns64", classes.bypasses_dns64),
    ] {
        all.push(line(["host_class", class, "", "", "", &hosts.to_string(), "", "", "", ""]));
    }
    for (reason, packets) in &evidence.drops {
        all.push(line(["dropped_packets", reason, "", "", "", "", "", "", "", &packets.to_string()]));
    }
    all
}

/// A cell: quoted if necessary; text that a spreadsheet would run as a formula begins with an apostrophe. Control
/// characters are removed.
fn cell(text: &str) -> String {
    let mut clean: String = text.chars().filter(|character| !character.is_control()).collect();
    if clean.starts_with(['=', '+', '-', '@']) {
        clean.insert(0, '\'');
    }
    match clean.contains([',', '"']) {
        true => format!("\"{}\"", clean.replace('"', "\"\"")),
        false => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures::{HOSTILE, evidence, report};

    #[test]
    fn formulas_quotes_and_control_characters_are_harmless() {
        assert_eq!(cell(HOSTILE), "'=1+1<script>alert(1)</script>[31m");
        assert_eq!(cell("a,\"b\"\r\n"), "\"a,\"\"b\"\"\"");
        for formula in ["=1", "+1", "-1", "@a"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
    }

    #[test]
    fn each_line_has_all_columns() {
        let report = report(evidence());
        let table = table(&report);
        let lines: Vec<_> = table.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 1 + 2 + 1 + 3 + 1);
        assert!(lines.iter().all(|line| line.matches(',').count() == 10), "{table}");
        assert_eq!(lines[2], "floor-3,name,old.example.,broken_aaaa,,20,3,30,1000,2000000,");
        assert_eq!(lines[3], "floor-3,literal,203.0.113.9 udp 4500,,,,,30,1000,2000000,");
    }
}
