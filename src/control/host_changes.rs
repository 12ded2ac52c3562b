//! Follows changes of this host while the gateway runs: the workers receive its addresses, and the host is compared
//! with the configuration.

use std::sync::Arc;

use super::clock;
use super::gateway::{Gateway, prefixes};
use super::host_state::DeviceGone;
use super::host_watch::Changed;
use super::requirements::Requirements;
use crate::observe::health::Health;

impl Gateway {
    /// Follows a change of the host.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) async fn follow_host(&mut self, changed: Changed) -> Result<(), DeviceGone> {
        self.update_local_addresses().await;
        if changed == Changed::Addresses { Ok(()) } else { self.reconcile(changed).await }
    }

    /// Sends the addresses of this host to the workers if they have changed.
    pub(super) async fn update_local_addresses(&mut self) {
        let local = match self.host_state.local_addresses().await {
            Ok(local) if local == *self.config.local => return,
            Ok(local) => Arc::new(local),
            Err(why) => return tracing::warn!("addresses: {why}"),
        };
        if let Err(worker) = self.workers.set_local_addresses(&local).await {
            tracing::error!("worker {} has ended", worker.0);
        }
        self.config.local = local;
    }

    /// Compares the host with the configuration and repairs it.
    async fn reconcile(&mut self, changed: Changed) -> Result<(), DeviceGone> {
        let own = match self.host_state.addresses().await {
            Ok(own) => own,
            Err(why) => {
                tracing::warn!("{why}");
                return Ok(());
            }
        };
        let wanted = Requirements::of(&self.config, &own, &prefixes(&self.lingering));
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
