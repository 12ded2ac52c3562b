//! Sites of hosts, and their sessions.

use super::Pool4;
use crate::addr::{HostKey, SiteKey};

impl Pool4 {
    /// Counts one more session of the host that holds a block, and of its site.
    pub(in crate::nat64) fn count_session(&mut self, block: u32) {
        let host = self.host_of_block(block);
        host.sessions += 1;
        let site = host.site;
        self.sites.site_mut(site).sessions += 1;
    }

    /// Counts one session less.
    pub(in crate::nat64) fn uncount_session(&mut self, block: u32) {
        let host = self.host_of_block(block);
        host.sessions -= 1;
        let site = host.site;
        self.sites.site_mut(site).sessions -= 1;
    }

    /// The site of a host; `None` if its zone is unknown.
    pub(in crate::nat64) fn site_key(&self, host: HostKey) -> Option<SiteKey> {
        self.config.zone(host.zone).map(|zone| host.site(self.config.zones[zone].site_len))
    }

    /// Sessions of a host and of its site, without those of static bindings. The host is in this slot if it holds
    /// blocks.
    pub(in crate::nat64) fn sessions_of(&self, host: HostKey, slot: Option<u32>) -> (u32, u32) {
        if let Some(slot) = slot {
            let host = self.hosts.host(slot);
            return (host.sessions, self.sites.site(host.site).sessions);
        }
        let site = self.site_key(host).and_then(|site| self.sites.find(site));
        (0, site.map_or(0, |site| self.sites.site(site).sessions))
    }
}
