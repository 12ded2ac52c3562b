//! What a worker receives from an earlier gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::Target;
use crate::reason::Reason;
use crate::time::Instant;
use crate::translator::{BlockAssignment, SessionRecord, Translator};

/// What an earlier gateway saved for a worker, and where the worker saves its sessions.
#[derive(Default)]
pub struct Saved {
    /// Port blocks that hosts had, of all workers.
    pub blocks: Arc<[BlockAssignment]>,
    /// Sessions of hosts of this worker.
    pub sessions: Vec<SessionRecord>,
    /// Their bindings in quarantine, the one that ends first first.
    pub quarantined: Vec<SessionRecord>,
    /// Where it saves its sessions.
    pub snapshot: Option<Target>,
}

/// The blocks and sessions restored at a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Blocks that returned to their hosts. There can be more than the queues of events hold.
    pub blocks: Vec<BlockAssignment>,
    /// Number of restored sessions.
    pub sessions: u64,
    /// Sessions that do not fit the present settings, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Saved {
    /// Restores blocks and sessions.
    pub(super) fn restore(&self, now: Instant, translator: &mut Translator, restored: &mut Restored) {
        for block in self.blocks.iter() {
            // Fails for blocks of another worker and for blocks outside the pool.
            if translator.restore_block(now, block).is_ok() {
                restored.blocks.push(*block);
            }
        }
        for record in &self.sessions {
            match translator.import(now, record).map_err(Reason::name) {
                Ok(()) => restored.sessions += 1,
                Err(reason) => *restored.refused.entry(reason).or_default() += 1,
            }
        }
        for record in &self.quarantined {
            // Fails if its zone or pool is gone: then nobody else gets its port.
            let _ = translator.import_quarantined(now, record);
        }
    }
}
