//! What a worker does for an inspection beside its work: surveys and a trace.

use std::time::SystemTime;

use super::survey::Surveys;
use super::trace::Tracer;
use crate::translator::{ExtraPackets, Verdict};
use crate::wire::buf::PacketBuf;

/// Surveys in progress, and the trace if there is one.
#[derive(Default)]
pub(super) struct Inspection {
    pub(super) surveys: Surveys,
    pub(super) tracer: Option<Box<Tracer>>,
}

impl Inspection {
    /// Looks at a batch before translation. Without a trace this is one branch.
    #[inline]
    pub(super) fn before(&mut self, packets: &[PacketBuf]) {
        if let Some(tracer) = &mut self.tracer {
            tracer.copy(packets);
        }
    }

    /// Looks at a batch after translation. Without a trace this is one branch.
    #[inline]
    pub(super) fn after(
        &mut self,
        now: impl FnOnce() -> SystemTime,
        packets: &[PacketBuf],
        verdicts: &[Verdict],
        extra: &mut ExtraPackets,
    ) {
        if let Some(tracer) = &self.tracer {
            tracer.record(now(), packets, verdicts, extra);
            if tracer.is_abandoned() {
                self.tracer = None;
            }
        }
    }
}
