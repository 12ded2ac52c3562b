//! Frame loss (RFC 2544 §26.3): throughput at twice the peak load, as a ratio of the peak throughput.
//! 1,000 flows; once with the whole CPU, and once with a CPU quota, so that the tester can overload any
//! gateway.

use std::fs;
use std::path::{Path, PathBuf};

use gate64::lab::LabError;

use super::{rounds, small};
use crate::options::Options;
use crate::packets::tester::Side;
use crate::record::{Record, Row, median};
use crate::testbed::{Testbed, failed};
use crate::traffic::{Flows, Load};

/// CPU quota and period in microseconds.
const QUOTA: [u32; 2] = [6_000, 20_000];

const fn row(what: &'static str) -> Row {
    Row { test: "Overload", what, unit: "delivered at twice the load / peak", more: true }
}

pub(crate) const WHOLE: Row = row("1,000 flows, the whole CPU");
pub(crate) const PART: Row = row("1,000 flows, a quota of the CPU");

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    rounds(testbeds, options.rounds.min(3), |testbed, round| {
        let Some(pid) = testbed.running.pid() else { return Ok(()) };
        let mut flows = testbed.flows(1000, 16, 0);
        testbed.open(&mut flows, 20_000.0)?;
        let known = median(&record.values(&small::SHAPES[1].2[0], testbed.contestant));
        let start = known.map_or(100_000.0, |kpps| kpps * 1e3);
        let seconds = options.seconds(0.8);
        let (whole, limited) = beyond(testbed, &flows, start, seconds)?;
        let quota = Quota::of(pid)?;
        let share = f64::from(QUOTA[0]) / f64::from(QUOTA[1]);
        let (part, part_limited) = beyond(testbed, &flows, start * share, seconds)?;
        drop(quota);
        let name = testbed.contestant.name();
        println!(
            "round {}  {name:<22} twice the load: {whole:.2} of the peak, {part:.2} with a quota",
            round + 1
        );
        record.add(&WHOLE, testbed.contestant, whole, limited);
        record.add(&PART, testbed.contestant, part, part_limited);
        Ok(())
    })
}

/// Finds the peak throughput, doubles the load, and returns the ratio of the throughput to the peak.
fn beyond(testbed: &mut Testbed, flows: &Flows, start: f64, seconds: f64) -> Result<(f64, bool), LabError> {
    let mut delivered = |rate: f64| {
        let count = testbed.load(flows, Load { from: Side::Zone, rate, seconds, stamped: false })?;
        // `count.limited` marks a tester that was too slow.
        Ok::<_, LabError>((count.arrived as f64 / seconds, count.limited))
    };
    let mut peak: f64 = 0.0;
    for part in [0.7, 1.0, 1.25, 1.5] {
        peak = peak.max(delivered(start * part)?.0);
    }
    let (after, limited) = delivered(2.0 * peak)?;
    Ok((after / peak.max(after), limited))
}

/// A control group with a CPU quota for a process; removed on drop.
struct Quota {
    dir: PathBuf,
    home: PathBuf,
    pid: u32,
}

impl Quota {
    fn of(pid: u32) -> Result<Self, LabError> {
        let first = Path::new("/sys/fs/cgroup/cpu");
        let home = if first.is_dir() { first } else { Path::new("/sys/fs/cgroup") }.to_owned();
        let dir = home.join(format!("g64lab-{}", std::process::id()));
        let [quota, period] = QUOTA;
        let write = |file: &str, text: String| fs::write(dir.join(file), text);
        let make = || {
            fs::create_dir_all(&dir)?;
            if first.is_dir() {
                write("cpu.cfs_period_us", period.to_string())?;
                write("cpu.cfs_quota_us", quota.to_string())?;
                write("cpu.shares", "50000".to_owned())?;
            } else {
                write("cpu.max", format!("{quota} {period}"))?;
            }
            write("cgroup.procs", pid.to_string())
        };
        make().map_err(failed("a control group with a quota"))?;
        Ok(Self { dir, home, pid })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // If this fails, the group ends with the process.
        let _ = fs::write(self.home.join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.dir);
    }
}
