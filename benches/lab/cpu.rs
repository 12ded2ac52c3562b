//! CPU time of a gateway, including the kernel's work for it.
//!
//! The kernel forwards packets that the gateway writes within the gateway's system calls, so their cost is
//! in its CPU time. Packets to the gateway are forwarded within the tester's system calls. The tester
//! measures its send time twice at the same rate: to the gateway, and to an unused address on the same
//! link. The difference is the gateway's cost. A contestant without a process has all its cost there.

use std::fs;

use gate64::lab::LabError;

use crate::machine;
use crate::testbed::Testbed;
use crate::traffic::{Flows, Load};

/// CPU time of a process in seconds; 0 for the kernel.
fn run_time(pid: Option<u32>) -> f64 {
    let Some(pid) = pid else { return 0.0 };
    let thread_time = |thread: u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    machine::threads(pid).into_iter().filter_map(thread_time).sum::<f64>() / 1e9
}

/// CPU seconds per million delivered packets at this load.
pub(crate) fn per_million(testbed: &mut Testbed, flows: &Flows, load: Load) -> Result<f64, LabError> {
    let unused = testbed.load(&flows.to_unused_address(), load)?;
    let before = run_time(testbed.running.pid());
    let count = testbed.load(flows, load)?;
    let process = run_time(testbed.running.pid()) - before;
    let each = |sending: f64, sent: u64| sending / sent.max(1) as f64;
    let kernel = (each(count.sending, count.sent) - each(unused.sending, unused.sent)).max(0.0);
    Ok((process + kernel * count.sent as f64) / count.arrived.max(1) as f64 * 1e6)
}
