//! One thread of the resolver: its sockets, engine and answer cache.
//!
//! This state belongs to one thread and needs no lock. Each name belongs to one thread. Another thread
//! answers queries for it from its own answer cache, or passes them to the owner and receives the answers.
//! Each name is thus queried and cached once, however many threads there are.

mod answer;
mod message;
mod query;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::shared::Shared;
use super::upstream::NewChannel;
use crate::time::Instant;

pub(super) use message::{THREAD_QUEUE, ThreadMessage};
pub(super) use state::ThreadState;

/// Starts the task that reads a new upstream channel.
type StartReader = fn(&Rc<DnsThread>, NewChannel);

/// One thread of the resolver.
pub(super) struct DnsThread {
    pub(super) shared: Arc<Shared>,
    pub(super) state: RefCell<ThreadState>,
    /// Notified when a timer is due earlier than `timer_at`.
    pub(super) alarm: Notify,
    /// Whether connections close once they have no pending query.
    pub(super) closing: watch::Sender<bool>,
    start_reader: StartReader,
}

impl DnsThread {
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        peers: Vec<mpsc::Sender<ThreadMessage>>,
        start_reader: StartReader,
    ) -> std::io::Result<Rc<Self>> {
        let state = ThreadState::new(number, &shared, peers)?;
        Ok(Rc::new(Self {
            shared,
            state: RefCell::new(state),
            alarm: Notify::new(),
            closing: watch::Sender::new(false),
            start_reader,
        }))
    }

    /// Runs `what` on the state, then sends what it queued.
    pub(super) fn with_state<R>(self: &Rc<Self>, what: impl FnOnce(&mut ThreadState, Instant) -> R) -> R {
        let now = self.shared.clock.now();
        let mut state = self.state.borrow_mut();
        if self.shared.generation() != state.active.generation {
            state.apply_settings(self.shared.active());
        }
        let result = what(&mut state, now);
        let opened = state.flush(now);
        let deadline = state.deadline();
        if deadline < state.timer_at {
            self.alarm.notify_one();
        }
        drop(state);
        opened.into_iter().for_each(|channel| (self.start_reader)(self, channel));
        result
    }

    /// The time of the next timer.
    pub(super) fn arm(&self) -> Instant {
        let mut state = self.state.borrow_mut();
        state.timer_at = state.deadline();
        state.timer_at
    }
}
