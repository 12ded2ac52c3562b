//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

/// Changes OpenMetrics to the classic format: there a counter's `HELP` and `TYPE` have its `_total`, and `UNIT` and
/// `EOF` do not exist. Samples are equal.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with("# UNIT ") && line != "# EOF" {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        // The encoder writes HELP before TYPE.
        let kind = lines.next_if(|line| line.starts_with("# TYPE "));
        let kind = kind.and_then(|line| line.rsplit(' ').next()).unwrap_or("untyped");
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_get_their_suffix_and_the_end_mark_goes() {
        let open = "# HELP a_packets Packets, all.\n# TYPE a_packets counter\na_packets_total{z=\"# EOF\"} 1\n\
                    # HELP a_wait_seconds Time.\n# TYPE a_wait_seconds histogram\n# UNIT a_wait_seconds seconds\n\
                    a_wait_seconds_sum 0.5\n# HELP a_size Size.\n# TYPE a_size gauge\na_size 3\n# EOF\n";
        let classic = "# HELP a_packets_total Packets, all.\n# TYPE a_packets_total counter\n\
                       a_packets_total{z=\"# EOF\"} 1\n# HELP a_wait_seconds Time.\n\
                       # TYPE a_wait_seconds histogram\na_wait_seconds_sum 0.5\n# HELP a_size Size.\n\
                       # TYPE a_size gauge\na_size 3\n";
        assert_eq!(super::from_open_metrics(open), classic);
    }
}
