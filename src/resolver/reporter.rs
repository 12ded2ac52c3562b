//! Collects reports of all threads.

use tokio::sync::{mpsc, oneshot};

use super::report::Report;
use super::thread::Command;

/// Queries the threads of a running resolver.
#[derive(Clone, Debug)]
pub struct Reporter(pub(super) Vec<mpsc::UnboundedSender<Command>>);

impl Reporter {
    /// The state of the engines, with at most `most` names per zone. Skips threads that have ended.
    pub async fn report(&self, most: usize) -> Report {
        let mut whole = Report::default();
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Report(most, to)).is_ok()
                && let Ok(part) = from.await
            {
                whole.add(part);
            }
        }
        for zone in whole.zones.values_mut() {
            zone.keep(most);
        }
        whole
    }

    /// Returns once all threads have responded. Skips threads that have ended.
    pub async fn ping(&self) {
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Ping(to)).is_ok() {
                // A thread that ends drops the sender.
                let _ = from.await;
            }
        }
    }

    /// The failures of a name that the engines remember, as text. Skips threads that have ended.
    pub async fn failures(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Failures(name.to_owned(), to)).is_ok() {
                all.extend(from.await.unwrap_or_default());
            }
        }
        all
    }
}
