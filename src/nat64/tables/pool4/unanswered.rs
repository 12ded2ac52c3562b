//! Blocks without an answer from outside, which can be reclaimed, and the answers that end this.

use super::Pool4;
use super::class::Class;
use crate::addr::HostKey;
use crate::nat64::tables::block::{Blocks, Queue, QueueOf};
use crate::nat64::tables::events::{Event, Events};
use crate::nat64::tables::sites::Held;
use crate::time::Instant;

impl Pool4 {
    /// Whether a host was answered. It is in this slot if it holds blocks.
    pub(in crate::nat64) fn is_answered(&self, host: HostKey, slot: Option<u32>) -> bool {
        slot.map_or_else(|| self.hosts.is_known(host), |slot| self.hosts.host(slot).answered)
    }

    /// Records that a packet from outside has answered a session of this block's host.
    pub(in crate::nat64) fn note_answer(&mut self, block: u32) {
        let host = self.blocks.block(block).host;
        if !self.hosts.host(host).answered {
            self.set_answered(host);
        }
    }

    #[cold]
    fn set_answered(&mut self, host: u32) {
        let mut next = self.hosts.host(host).first_block;
        while let Some(block) = self.blocks.get(next) {
            let slot = core::mem::replace(&mut next, block.next);
            self.dequeue_unanswered(slot);
        }
        self.hosts.host_mut(host).answered = true;
    }

    /// Adds a block to the queues of blocks without an answer, unless its host was answered.
    pub(super) fn enqueue_unanswered(&mut self, slot: u32) {
        self.with_unanswered(slot, |blocks, slot, (row, site), held| {
            blocks.enqueue(row, QueueOf::Row, slot);
            blocks.enqueue(site, QueueOf::Site, slot);
            for (held, class, cells) in held {
                held.blocks += 1;
                held.cells[class] += cells;
            }
        });
    }

    /// Removes a block from the queues of blocks without an answer, if it is there.
    pub(super) fn dequeue_unanswered(&mut self, slot: u32) {
        self.with_unanswered(slot, |blocks, slot, (row, site), held| {
            blocks.dequeue(row, QueueOf::Row, slot);
            blocks.dequeue(site, QueueOf::Site, slot);
            for (held, class, cells) in held {
                held.blocks -= 1;
                held.cells[class] -= cells;
            }
        });
    }

    /// Applies `change` to the queues of a block without an answer, and to the counts of its pool and site.
    fn with_unanswered(
        &mut self,
        slot: u32,
        change: impl FnOnce(&mut Blocks, u32, (&mut Queue, &mut Queue), [(&mut Held, usize, u32); 2]),
    ) {
        let block = self.blocks.block(slot);
        let host = self.hosts.host(block.host);
        if host.answered || block.is_withdrawn() {
            return;
        }
        let Some(zone) = self.config.zone(host.key.zone) else { return };
        let (class, cells) = (Class::of_block(block) as usize, block.cells.count_ones());
        let row = &mut self.cells.rows[self.ranges.range(block.range).row as usize].unanswered[class];
        let pool = &mut self.cells.pools[self.config.zones[zone].pool].reclaimable;
        let site = self.sites.site_mut(host.site);
        let held = [(pool, class, cells), (&mut site.reclaimable, class, cells)];
        change(&mut self.blocks, slot, (row, &mut site.unanswered[class]), held);
    }

    /// Records that a block without an answer still has bindings to end before it is released.
    pub(in crate::nat64) fn postpone_reclaim(&mut self, block: u32, now: Instant) {
        self.blocks.postpone(block, now);
    }

    /// The block that [`postpone_reclaim`](Self::postpone_reclaim) recorded last. `None` if its host was answered since.
    pub(in crate::nat64) fn postponed_reclaim(&mut self) -> Option<u32> {
        let found = self.blocks.postponed().map(|(slot, _)| slot);
        let found = found.filter(|slot| !self.hosts.host(self.blocks.block(*slot).host).answered);
        if found.is_none() {
            self.blocks.forget_postponed();
        }
        found
    }

    /// Releases a block without an answer, whose bindings the caller has ended, before its quarantine.
    pub(in crate::nat64) fn release_reclaimed(&mut self, slot: u32, events: &mut Events) {
        let (host, addr, ports) = self.release(slot);
        self.counters.zone(Some(host.zone)).blocks_reclaimed.add(1);
        events.push(Event::BlockReclaimed { host, addr, ports });
    }
}
