//! Zones by client address.

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::addr::{HostKey, Longest, ZoneId};
use crate::config::Config;

use super::batch::ZoneName;

/// The zones of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Zones {
    clients: Arc<Longest>,
    all: Vec<Zone>,
}

/// A zone of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) id: ZoneId,
    pub(super) name: ZoneName,
    host_len: u8,
    /// Limit of sessions of the gateway, and ports of the zone's pool.
    pub(super) capacity: [u64; 2],
    pub(super) programme: Option<Arc<str>>,
}

impl Zones {
    pub(super) fn of(config: &Config) -> Self {
        let zones = &config.nat64.zones;
        let clients =
            (0..).zip(zones).flat_map(|(index, zone)| zone.clients.iter().map(move |net| (*net, index)));
        let all = zones.iter().zip(&config.zone_names).map(|(zone, name)| {
            let ranges = &config.nat64.pools[zone.pool].ranges;
            let ports = ranges.iter().map(|(prefix, ports)| prefix.size() * u64::from(ports.count())).sum();
            Zone {
                id: zone.id,
                name: name.as_str().into(),
                host_len: zone.host_len,
                capacity: [config.nat64.limits.sessions.into(), ports],
                programme: config.ledger.programmes.get(name).map(|programme| programme.as_str().into()),
            }
        });
        Self { clients: Arc::new(Longest::of_v6(clients)), all: all.collect() }
    }

    /// The host of a client, and the name of its zone.
    pub(super) fn host_of(&self, client: Ipv6Addr) -> Option<(HostKey, &ZoneName)> {
        let index = self.clients.find_v6(client)?;
        let zone = self.all.get(usize::try_from(index).ok()?)?;
        Some((HostKey::new(zone.id, client, zone.host_len), &zone.name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.all.iter()
    }

    /// The name of a zone.
    pub(super) fn name(&self, id: ZoneId) -> Option<&ZoneName> {
        self.all.iter().find(|zone| zone.id == id).map(|zone| &zone.name)
    }
}
