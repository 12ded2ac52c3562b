//! Compares the host with the configuration while the gateway runs.

use super::clock;
use super::gateway::Gateway;
use super::host_state::DeviceGone;
use super::host_watch::Changed;
use super::requirements::Requirements;
use crate::observe::health::Health;

impl Gateway {
    /// Compares the host with the configuration and repairs it.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) async fn reconcile(&mut self, changed: Changed) -> Result<(), DeviceGone> {
        let own = match self.host_state.addresses().await {
            Ok(own) => own,
            Err(why) => {
                tracing::warn!("{why}");
                return Ok(());
            }
        };
        let lingering: Vec<_> = self.lingering.iter().map(|l| l.pref64).collect();
        let wanted = Requirements::of(&self.config, &own, &lingering);
        let now = clock::monotonic();
        self.host_state.reconcile(&self.config, (&wanted, &own), changed, now).await?;
        self.view.report(|condition| condition.host = self.host_state.repairs.report().clone());
        Ok(())
    }

    /// The state of the gateway in one line, for the service manager.
    pub(super) fn state(&self) -> String {
        Health::of(&self.view).line()
    }
}
