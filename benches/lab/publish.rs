//! Writes the figures of PERFORMANCE.md and the plots of the current run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::contestant::{self, Contestant};
use crate::machine;
use crate::options::Options;
use crate::record::{Record, Row};
use crate::report::figure;
use crate::svg::bars;
use crate::targets;
use crate::tests::{fairness, flood, latency, overload, setup, small, table, tcp, udp};

/// The marked parts of PERFORMANCE.md.
const FIGURES: &str = "figures";
const FAIRNESS: &str = "fairness";

/// The plots: file name and contents.
pub(crate) fn plots(record: &Record) -> Vec<(&'static str, String)> {
    let [(_, _, one), (_, _, thousand)] = &small::SHAPES;
    let bulk = [
        ("TCP, one flow up", &tcp::SHAPES[0].0),
        ("TCP, one flow down", &tcp::SHAPES[1].0),
        ("TCP, eight flows up", &tcp::SHAPES[2].0),
        ("TCP, eight flows down", &tcp::SHAPES[3].0),
        ("UDP, GSO sender, up", &udp::UP),
        ("UDP, GSO sender, down", &udp::DOWN),
    ];
    let small = [
        ("one flow, 0.1 % loss", &one[0]),
        ("1,000 flows, 0.1 % loss", &thousand[0]),
        ("10,000 flows, 0.1 % loss", &table::SIZES[0].0),
        ("100,000 flows, 0.1 % loss", &table::SIZES[1].0),
        ("new flows", &setup::NEW),
    ];
    let cpu = [("one flow", &one[2]), ("1,000 flows", &thousand[2])];
    let delay = [
        ("median", &latency::QUANTILES[0].0),
        ("p99", &latency::QUANTILES[1].0),
        ("added to plain forwarding, median", &latency::ADDED),
    ];
    let [plain, stateful, tayga] = [Contestant::Plain, Contestant::TaygaMasquerade, Contestant::Tayga];
    vec![
        ("bulk.svg", bars("Bulk throughput; higher is better", record, &bulk, plain)),
        (
            "small.svg",
            bars("Small packets a second, new flows a second; higher is better", record, &small, stateful),
        ),
        ("cpu.svg", bars("CPU time a small packet; lower is better", record, &cpu, tayga)),
        (
            "latency.svg",
            bars("One-way delay at half of tayga's load; lower is better", record, &delay, tayga),
        ),
    ]
}

/// The tables of PERFORMANCE.md.
fn tables(record: &Record, options: &Options) -> String {
    let mut text = format!(
        "One run of `{}`, {} rounds. Machine: {}. Contestants: {}, nftables and kernel of the same machine.\n\n",
        Options::command(),
        options.rounds,
        machine::describe(),
        contestant::tayga_version(),
    );
    text.push_str("| target: gate64 divided by | bound | reached (95 %) | |\n|---|---|---|---|\n");
    for target in targets::all() {
        let Row { test, what, more, .. } = &target.row;
        let other = target.compared();
        let sign = if *more { "≥" } else { "≤" };
        let bound = target.bound;
        let _ = match target.reached(record) {
            None => writeln!(text, "| {test}, {what}: {other} | {sign} {bound} | not measured | |"),
            Some(ratio) => {
                let met = if target.is_met(ratio) { "met" } else { "**not met**" };
                let [m, l, h] = [ratio.middle, ratio.low, ratio.high].map(figure);
                writeln!(text, "| {test}, {what}: {other} | {sign} {bound} | {m} ({l} to {h}) | {met} |")
            }
        };
    }
    text.push_str(
        "\ngate64 divided by each of the others. `≥`: a lower bound, since the tester's maximum limited gate64. \
         `∞`: the other's figure is zero.\n\n",
    );
    let others = [Contestant::Plain, Contestant::Nat44, Contestant::Tayga, Contestant::TaygaMasquerade];
    let names = others.map(Contestant::name).join(" | ");
    let _ = writeln!(text, "| gate64 divided by | better | {names} |\n|---|---|---|---|---|---|");
    for row in record.rows().iter().filter(|row| !is_alone(row) && !fairness::is_attack(row.test)) {
        let better = if row.more { "higher" } else { "lower" };
        let _ = write!(text, "| {}, {} | {better} |", row.test, row.what);
        for other in others {
            let at_least = if record.limited(row, Contestant::Gate64) && row.more { "≥ " } else { "" };
            let _ = match record.ratio(row, Contestant::Gate64, other) {
                None => write!(text, " |"),
                Some(r) => {
                    let [m, l, h] = [r.middle, r.low, r.high].map(figure);
                    write!(text, " {at_least}{m} ({l} to {h}) |")
                }
            };
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&alone(record));
    text
}

/// Whether the row's figure is itself a ratio, without another contestant.
fn is_alone(row: &Row) -> bool {
    [overload::WHOLE.test, flood::DURING, flood::AFTER, table::MEMORY.test].contains(&row.test)
}

/// Figures that are themselves ratios, and memory.
fn alone(record: &Record) -> String {
    let shown = [Contestant::Gate64, Contestant::Tayga, Contestant::TaygaMasquerade];
    let mut text =
        "| absolute values | gate64 | tayga, stateless | tayga + masquerade |\n|---|---|---|---|\n"
            .to_owned();
    for row in record.rows().iter().filter(|row| is_alone(row)) {
        let _ = write!(text, "| {}, {} ({}) |", row.test, row.what, row.unit);
        for contestant in shown {
            let value = crate::record::median(&record.values(row, contestant));
            let _ = write!(text, " {} |", value.map(figure).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Writes benches/plots, and the figures between the markers in PERFORMANCE.md.
pub(crate) fn publish(record: &Record, options: &Options) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir: PathBuf = root.join("benches/plots");
    fs::create_dir_all(&dir)?;
    let file = root.join("PERFORMANCE.md");
    let mut text = fs::read_to_string(&file)?;
    if record.rows().iter().any(|row| !fairness::is_attack(row.test)) {
        for (name, plot) in plots(record) {
            fs::write(dir.join(name), plot)?;
        }
        text = replaced(&text, FIGURES, &tables(record, options))?;
    }
    if let Some(table) = fairness::table(record) {
        text = replaced(&text, FAIRNESS, &table)?;
    }
    fs::write(file, text)
}

/// `text` with other content between the markers of the part `name`.
fn replaced(text: &str, name: &str, content: &str) -> io::Result<String> {
    let [begin, end] =
        [format!("<!-- {name}: written by the run itself -->"), format!("<!-- end of {name} -->")];
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) =
        parts.ok_or_else(|| io::Error::other(format!("PERFORMANCE.md has no markers for {name}")))?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}
