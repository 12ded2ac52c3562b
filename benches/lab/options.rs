//! Command-line options.

use clap::{Parser, ValueEnum};

use crate::contestant::Contestant;

/// Measure gateways in the kernel lab. Needs root; see PERFORMANCE.md.
#[derive(Parser, Debug)]
#[command(name = "lab", bin_name = "cargo bench --bench lab --")]
pub(crate) struct Options {
    /// Measurements. Default: all but dns.
    #[arg(value_enum)]
    pub(crate) tests: Vec<Test>,
    /// Run fewer and shorter trials, to check that everything works. The figures are not meaningful.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds. Each round measures every contestant once.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Contestants, separated by commas: gate64, tayga, tayga+masq, plain, nat44.
    #[arg(long, value_delimiter = ',', value_parser = contestant)]
    pub(crate) only: Vec<Contestant>,
    /// CPU mask in hexadecimal for receive packet steering on the gateways' TUN. Default: the CPU that
    /// wrote the packet.
    #[arg(long)]
    pub(crate) rps: Option<String>,
    /// Write the tables of PERFORMANCE.md and the plots of benches/plots.
    #[arg(long)]
    pub(crate) publish: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Test {
    /// The tester alone, without a gateway.
    Tester,
    /// TCP bulk: one flow and eight, each way.
    Tcp,
    /// Small UDP packets: highest rate without loss and with 0.1 % loss, and CPU time.
    Small,
    /// UDP bulk from a sender with segmentation offload, each way.
    Udp,
    /// One-way delay at half of tayga's load.
    Latency,
    /// Throughput at twice the peak load.
    Overload,
    /// New flows per second.
    Setup,
    /// A well-behaved flow during floods.
    Flood,
    /// What hosts keep during attacks, gate64 only.
    Fairness,
    /// Small packets of up to 1,000,000 flows, and memory.
    Table,
    /// DNS64 compared with unbound, BIND, PowerDNS and Knot. Runs only if named.
    Dns,
}

impl Test {
    pub(crate) const ALL: &[Self] = &[
        Self::Tester,
        Self::Tcp,
        Self::Udp,
        Self::Small,
        Self::Latency,
        Self::Overload,
        Self::Setup,
        Self::Flood,
        Self::Fairness,
        Self::Table,
    ];
}

fn contestant(text: &str) -> Result<Contestant, String> {
    let found = Contestant::ALL.into_iter().find(|c| c.key() == text);
    found.ok_or_else(|| format!("{text} is not one of {}", Contestant::ALL.map(Contestant::key).join(", ")))
}

impl Options {
    pub(crate) fn read() -> Self {
        let mut options = Self::parse();
        if options.tests.is_empty() {
            options.tests = Test::ALL.to_vec();
        }
        if options.only.is_empty() {
            options.only = Contestant::ALL.to_vec();
        }
        if options.quick {
            options.rounds = options.rounds.min(2);
        }
        options
    }

    /// The command line.
    pub(crate) fn command() -> String {
        let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        format!("cargo bench --bench lab -- {}", words.join(" "))
    }

    /// Length of a trial in seconds: `full`, or a third of it with `--quick`.
    pub(crate) fn seconds(&self, full: f64) -> f64 {
        if self.quick { full / 3.0 } else { full }
    }
}
