//! What the instrument is told.

use clap::{Parser, ValueEnum};

use crate::contestant::Contestant;

/// The kernel laboratory's measurements. Needs root; see PERFORMANCE.md.
#[derive(Parser, Debug)]
#[command(name = "lab", bin_name = "cargo bench --bench lab --")]
pub(crate) struct Options {
    /// What to measure; everything if nothing is named.
    #[arg(value_enum)]
    pub(crate) tests: Vec<Test>,
    /// Fewer and shorter trials: to see that all works, not for figures.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds; in each, every contestant is measured once.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Contestants, divided by commas: gate64, tayga, tayga+masq, plain, nat44.
    #[arg(long, value_delimiter = ',', value_parser = contestant)]
    pub(crate) only: Vec<Contestant>,
    /// CPUs, as a mask in hexadecimal, on which the kernel goes on with what a gateway's TUN has written
    /// (receive packet steering); those of the writer if not given.
    #[arg(long)]
    pub(crate) rps: Option<String>,
    /// Writes the tables of PERFORMANCE.md and the plots of benches/plots as well.
    #[arg(long)]
    pub(crate) publish: bool,
    /// What cargo adds.
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
    /// Small UDP packets: the highest rate without loss and with 0.1 %, and CPU time.
    Small,
    /// UDP bulk from a sender with segmentation offload, each way.
    Udp,
    /// One-way delay at half of tayga's load.
    Latency,
    /// What is delivered at twice the load that can be.
    Overload,
    /// New flows a second.
    Setup,
    /// A well-behaved flow during floods.
    Flood,
    /// Small packets of up to a million flows, and memory.
    Table,
    /// The DNS64 beside unbound, BIND, PowerDNS and Knot. Not among what runs unasked.
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
        Self::Table,
    ];
}

fn contestant(text: &str) -> Result<Contestant, String> {
    let found = Contestant::ALL.into_iter().find(|c| c.key() == text);
    found.ok_or_else(|| format!("{text} is none of {}", Contestant::ALL.map(Contestant::key).join(", ")))
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

    /// The command line that was given.
    pub(crate) fn command() -> String {
        let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        format!("cargo bench --bench lab -- {}", words.join(" "))
    }

    /// A trial's length in seconds: as given, or a third in a hurry.
    pub(crate) fn seconds(&self, full: f64) -> f64 {
        if self.quick { full / 3.0 } else { full }
    }
}
