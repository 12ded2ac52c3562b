//! Bar charts as SVG: contestants relative to one of them.

use std::fmt::Write as _;

use crate::contestant::Contestant;
use crate::record::{Record, Row};
use crate::report::figure;

const WIDTH: f64 = 780.0;
const LEFT: f64 = 190.0;
const BAR: f64 = 15.0;
const HEAD: f64 = 44.0;
/// Space right of the longest bar for its figure.
const RIGHT: f64 = 190.0;

const fn colour(contestant: Contestant) -> &'static str {
    match contestant {
        Contestant::Gate64 => "#0b6e99",
        Contestant::Tayga => "#d9a441",
        Contestant::TaygaMasquerade => "#c0582b",
        Contestant::Plain => "#8a8f98",
        Contestant::Nat44 => "#b9bdc4",
    }
}

/// A group of bars per row, scaled so that `unit` is 1. Whiskers are 95 % intervals.
pub(crate) fn bars(title: &str, record: &Record, rows: &[(&str, &Row)], unit: Contestant) -> String {
    let shown = |row: &Row| -> Vec<_> {
        let of = |c: Contestant| Some((c, record.ratio(row, c, unit)?));
        Contestant::ALL.into_iter().filter_map(of).collect()
    };
    let groups: Vec<_> = rows.iter().map(|(name, row)| (*name, *row, shown(row))).collect();
    let most = groups.iter().flat_map(|(_, _, bars)| bars).map(|(_, r)| r.high).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let mut body = String::new();
    let mut y = HEAD;
    for (name, row, bars) in &groups {
        let _ = writeln!(body, "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\">{name}</text>", y + 12.0);
        y += 20.0;
        for (contestant, ratio) in bars {
            let (length, middle) = (ratio.middle.max(0.0) * scale, y + BAR / 2.0);
            let (low, high) = (LEFT + ratio.low.max(0.0) * scale, LEFT + ratio.high * scale);
            let note = if record.limited(row, *contestant) { " or more (tester-limited)" } else { "" };
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT:.0}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR:.0}\" fill=\"{}\"/>\
                 <path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#222\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}{note}</text>",
                LEFT - 8.0,
                y + 12.0,
                contestant.name(),
                colour(*contestant),
                high.max(LEFT + length) + 6.0,
                y + 12.0,
                figure(ratio.middle),
            );
            y += BAR + 3.0;
        }
        y += 10.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{WIDTH:.0}\" height=\"{y:.0}\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"15\">{title}</text>\n\
         <text x=\"8\" y=\"38\" fill=\"#666\">{} = 1; whiskers are 95 % intervals of the ratio of medians</text>\n\
         {body}</svg>\n",
        unit.name()
    )
}
