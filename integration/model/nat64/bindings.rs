//! New bindings, and blocks that are reclaimed for them: methods of the model.

use gate64::addr::{Pref64, Proto, Transport6};
use gate64::reason::Reason;

use super::{Binding, Chosen, Model};
use crate::model::address::Host;
use crate::model::ports::{Block, Choice, Place, PortRequest, Reclaimable};

impl Model {
    /// A binding for a client: its quarantined one, or a new one.
    pub(super) fn bind(
        &mut self,
        proto: Proto,
        client: Transport6,
        pref64: Pref64,
        chosen: Chosen<'_>,
        wrong: &mut Option<String>,
    ) -> Result<usize, Reason> {
        let quarantined = self.bindings.iter().position(|b| b.proto == proto && b.client == client);
        if let Some(at) = quarantined {
            (self.bindings[at].quarantined, self.bindings[at].pref64) = (None, pref64);
            return Ok(at);
        }
        let host = self.host(client.addr).expect("its zone was found");
        let worker = self.owners.source(client.addr);
        let request = PortRequest { host, proto, port: client.port, worker };
        let mut choice = self.choice(&request);
        if let Choice::Refused(_, Reclaimable { places, whole_host }) = &choice
            && !places.is_empty()
        {
            let allowed: Vec<_> = places.iter().map(|place| self.with_host(*place, *whole_host)).collect();
            let mut reclaimed = std::mem::take(&mut self.reclaimed);
            reclaimed.sort_unstable();
            if !allowed.contains(&reclaimed) {
                *wrong = Some(format!("one of {allowed:?} was to be reclaimed, not {reclaimed:?}"));
                return Err(Reason::PoolExhausted);
            }
            reclaimed.into_iter().for_each(|place| self.reclaim(place));
            choice = self.choice(&request);
        }
        let (mapped, places) = match choice {
            Choice::Refused(reason, _) => return Err(reason),
            Choice::Of(candidates, places) => match chosen(proto, client) {
                Some(mapped) if candidates.contains(&mapped) => (mapped, places),
                Some(mapped) => {
                    *wrong = Some(format!("{client} was assigned {mapped}, not one of {candidates:?}"));
                    (mapped, places)
                }
                None => {
                    *wrong = Some(format!("{client} was assigned nothing, although {candidates:?} are free"));
                    return Err(Reason::PoolExhausted);
                }
            },
        };
        let old = |b: &Binding| b.proto == proto && b.mapped == mapped && b.quarantined.is_some();
        if let Some(at) = self.bindings.iter().position(old) {
            self.unbind(at, self.now);
        }
        if !places.is_empty() {
            let inside = |place: &&Place| place.0 == mapped.addr && place.1.contains(mapped.port);
            // If the port is in another block of the host, any of the places may be the new block's.
            let (addr, ports) = *places.iter().find(inside).unwrap_or(&places[0]);
            let answered = self.is_answered(host);
            self.known.retain(|known| *known != host);
            self.blocks.push(Block { host, worker, addr, ports, answered, since: self.now, lost: None });
        }
        let active = self.now;
        self.bindings.push(Binding {
            proto,
            client,
            mapped,
            pref64,
            fixed: false,
            active,
            quarantined: None,
        });
        Ok(self.bindings.len() - 1)
    }

    /// Whether a host was answered, now or when it had blocks before.
    pub(super) fn is_answered(&self, host: Host) -> bool {
        let mut own = self.blocks.iter().filter(|b| b.host == host && b.lost.is_none()).peekable();
        match own.peek() {
            Some(_) => own.any(|b| b.answered),
            None => self.known.contains(&host),
        }
    }

    /// A block, or all blocks of its host, sorted.
    fn with_host(&self, place: Place, whole_host: bool) -> Vec<Place> {
        let is = |b: &&Block| (b.addr, b.ports) == place;
        let host = self.blocks.iter().find(is).map(|b| (b.host, b.lost));
        let counts = |b: &&Block| is(b) || whole_host && Some((b.host, b.lost)) == host;
        let mut places: Vec<_> = self.blocks.iter().filter(counts).map(|b| (b.addr, b.ports)).collect();
        places.sort_unstable();
        places
    }

    /// Ends the bindings of a block, and the block, at once.
    fn reclaim(&mut self, (addr, ports): Place) {
        let inside = |b: &Binding| !b.fixed && b.mapped.addr == addr && ports.contains(b.mapped.port);
        let ended: Vec<_> = self.bindings.iter().filter(|b| inside(b)).map(|b| (b.proto, b.client)).collect();
        self.sessions.retain(|s| !ended.contains(&(s.proto, s.client)));
        self.bindings.retain(|b| !inside(b));
        self.blocks.retain(|block| block.addr != addr || block.ports != ports);
    }

    /// A packet from outside answered a session: the host's blocks cannot be reclaimed any more.
    pub(super) fn note_answer(&mut self, binding: usize) {
        let Binding { mapped, fixed, .. } = self.bindings[binding];
        let inside = |b: &&Block| !fixed && b.addr == mapped.addr && b.ports.contains(mapped.port);
        let Some(block) = self.blocks.iter().find(inside) else { return };
        let host = (block.host, block.lost);
        for block in self.blocks.iter_mut().filter(|b| (b.host, b.lost) == host) {
            block.answered = true;
        }
    }
}
