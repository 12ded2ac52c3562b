//! How much CPU a gateway takes, the kernel's work for it included.
//!
//! What comes out of a gateway's process is forwarded and delivered by the kernel within the
//! process's own system calls, and charged to it. What goes in is forwarded within the tester's:
//! the tester takes the time of its sends, once to the gateway and once, at the same rate, to an
//! address on the same link that is nobody's. The difference is the gateway's. A kernel that
//! forwards without a process does all of its work there.

use std::fs;

use gate64::lab::LabError;

use crate::bed::Bed;
use crate::machine;
use crate::traffic::{Flows, Load};

/// Seconds that the threads of a process have run; nothing of a kernel.
fn run_time(pid: Option<u32>) -> f64 {
    let Some(pid) = pid else { return 0.0 };
    let of = |thread: u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    machine::threads(pid).into_iter().filter_map(of).sum::<f64>() / 1e9
}

/// CPU seconds for each million packets that arrive at this load.
pub(crate) fn per_million(bed: &mut Bed, flows: &Flows, load: Load) -> Result<f64, LabError> {
    let nobody = bed.load(&flows.to_nobody(), load)?;
    let before = run_time(bed.running.pid());
    let count = bed.load(flows, load)?;
    let process = run_time(bed.running.pid()) - before;
    let each = |sending: f64, sent: u64| sending / sent.max(1) as f64;
    let kernel = (each(count.sending, count.sent) - each(nobody.sending, nobody.sent)).max(0.0);
    Ok((process + kernel * count.sent as f64) / count.arrived.max(1) as f64 * 1e6)
}
