//! Stateful translation (RFC 6146).
//!
//! | step | RFC 6146 | module |
//! |---|---|---|
//! | determine the incoming tuple | §3.4 | `tuple`, `fragments` |
//! | filter, update bindings and sessions | §3.5 | `admit`, `update` |
//! | compute the outgoing tuple, translate | §3.6, §3.7 | `outgoing` |
//! | hairpin | §3.8 | `hairpin` |
//!
//! `xlat` plans a translation before any state changes, and writes it last. The steps of one packet share
//! a [`Context`]. Suffix `6` or `4` is the side a packet comes from; `to4`, `to6` the side it goes to. `fast_path` reuses what these steps decided for a flow; `prefetch` only
//! loads table entries early. `lifetimes` ends sessions, bindings and
//! blocks; `reload` switches settings; `survey` counts
//! without changing anything; `transfer` exports and imports sessions. `policy` holds what only a
//! reload changes, `tables` the state. All memory is allocated when a translator is built.

use std::sync::Arc;

use crate::addr::{LocalAddresses, Proto, Transport4, Transport6, WorkerId};
use crate::counters::Counters;
use crate::reason::Reason;
use crate::wire::Transport;
use crate::wire::batch::Verdict;
use crate::wire::buf::PacketBuf;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::xlat::{self, Flow4, Flow6, Ids, Pass, Refusal, RewriteRules, To4, To6};

use accepted::Accepted;
use policy::Policy;
use policy::zones::{Destination, Zones};
use tables::bib::Bib;
use tables::events::Events;
use tables::fragment::FragmentCache;
use tables::hash::Rng;
use tables::pool4::{Pool4, Sizes};
use tables::session::Sessions;
use tables::statics::Statics;
use tables::syn::{ReceivedSyn, Syns};
use update::Outward;

mod accepted;
mod admit;
mod context;
mod fast_path;
mod fragments;
mod hairpin;
mod keepalive;
mod lifetimes;
mod memory;
mod outgoing;
mod policy;
mod prefetch;
mod reload;
mod reset;
mod session_log;
mod settings;
mod survey;
mod tables;
mod transfer;
mod tuple;
mod update;

#[cfg(test)]
mod tests;

pub use context::Context;
pub use memory::TableBytes;
pub use prefetch::{Candidate, Candidates};
pub use reload::Ending;
pub use settings::{
    Action, Filtering, HostLimits, Limits, Masquerade, NewSessions, Pairing, Pool, Rate, Rule, Settings,
    Sharing, StaticBinding, Timers, UnsolicitedSyn, Zone,
};
pub use survey::ReloadSurvey;
pub use tables::events::{BlockAssignment, Event, LoggedSession, SessionRecord};
pub use tables::pool4::{AddressUsage, PoolSurvey};

/// One worker's state, and the operations on it.
pub struct Nat64 {
    /// Zones, filtering, timers and rewriting rules; replaced as a whole by a reload.
    policy: Policy,
    /// Addresses of this host, which no packet may reach and no client may use. They change without a reload.
    local: Arc<LocalAddresses>,
    /// Bindings, indexed by their IPv6 side.
    bib: Bib,
    /// Sessions and their timer wheel.
    sessions: Sessions,
    /// Port ranges, which index bindings by their IPv4 side, their port blocks, and the hosts that hold these.
    pool4: Pool4,
    /// Static bindings of the configuration, each with its slot in `bib`.
    statics: Statics,
    /// Stored unsolicited SYNs.
    syns: Syns,
    /// Fragment cache: held fragments, and the ports of datagrams that pass in fragments.
    fragments: FragmentCache,
    /// Generator of IPv4 identifications.
    ids: Ids,
    /// Random numbers: ports, blocks, hash keys.
    rng: Rng,
    /// Pending events; bounded, overflow is counted.
    events: Events,
    /// Counters, which other threads read.
    counters: Arc<Counters>,
}

/// The worker's number, the number of workers, and the seeds of all random numbers.
#[derive(Clone, Copy, Debug)]
pub struct WorkerIdentity {
    /// This worker.
    pub worker: WorkerId,
    /// Number of workers, at least 1.
    pub workers: u8,
    /// Seed of ports, identifiers and hash keys.
    pub seed: u64,
    /// Seed of the hash that assigns hosts and datagrams to workers.
    pub owner_seed: u32,
}

impl Nat64 {
    /// Allocates all tables; nothing is allocated later.
    pub fn new(
        identity: WorkerIdentity,
        rules: RewriteRules,
        settings: &Settings,
        counters: Arc<Counters>,
    ) -> Self {
        let mut rng = Rng::new(identity.seed);
        let owners = settings.owners(identity.owner_seed, identity.workers);
        let limits = &settings.limits;
        let sizes = Sizes { blocks: limits.blocks, hosts: limits.hosts };
        let pool_config = reload::pool_config(settings, owners);
        let events = Events::new(limits.events, counters.clone());
        let mut nat64 = Self {
            policy: Policy::new(rules, settings, None),
            local: Arc::default(),
            bib: Bib::new(limits.bindings, &mut rng),
            sessions: Sessions::new(limits.sessions, &mut rng),
            pool4: Pool4::new(identity.worker, sizes, pool_config, &mut rng, counters.clone()),
            statics: Statics::new(&settings.statics),
            syns: Syns::new(limits.unsolicited_syns, limits.unsolicited_syns_per_source, &mut rng),
            fragments: FragmentCache::new(limits.fragment_bytes, settings.timers.fragment, rng.next() as u32),
            ids: Ids::new(rng.next()),
            rng,
            events: if settings.log_sessions { events.with_sessions(limits.sessions) } else { events },
            counters,
        };
        nat64.bind_statics();
        nat64
    }

    /// Processes a packet from the IPv6 side and returns its verdict.
    #[inline]
    pub fn process_v6(&mut self, context: &mut Context<'_>, buf: &mut PacketBuf) -> Verdict {
        if let Some(verdict) = self.fast_path6(context.now, context.candidate, buf) {
            return verdict;
        }
        context.zone = None;
        match self.packet6(context, buf) {
            Ok(accepted) => accepted.into(),
            Err(refusal) => self.refuse6(context, refusal, buf),
        }
    }

    /// Processes a packet from the IPv4 side and returns its verdict.
    #[inline]
    pub fn process_v4(&mut self, context: &mut Context<'_>, buf: &mut PacketBuf) -> Verdict {
        if let Some(verdict) = self.fast_path4(context.now, context.candidate, buf) {
            return verdict;
        }
        context.zone = None;
        match self.packet4(context, buf) {
            Ok(accepted) => accepted.into(),
            Err(refusal) => self.refuse4(context, refusal, buf),
        }
    }

    fn packet6(&mut self, context: &mut Context<'_>, buf: &mut PacketBuf) -> Result<Accepted, Refusal> {
        // Borrowed, not moved out: the packet is large.
        let parsed = Ipv6Packet::parse(buf.bytes(), &buf.offload);
        let packet = parsed.as_ref().map_err(|reason| *reason)?;
        let (destination, owner) = self.locate6(context, packet)?;
        if owner != self.pool4.worker() {
            return Ok(self.hand_over(owner, buf)?);
        }
        if packet.fragment.is_some() {
            xlat::check_extensions(packet)?;
        }
        if let Some(fragment) = packet.fragment.filter(|f| !f.is_atomic() && buf.meta.ports.is_none()) {
            return self.fragment6(context, packet, fragment, buf);
        }
        if let Transport::Error(error) = &packet.transport {
            return self.translate_error6(context, &destination, packet, error, buf);
        }
        let tuple = tuple::of6(packet, buf.meta.ports)?;
        let client = Transport6::new(packet.src, tuple.src);
        let remote = Transport4::new(destination.remote, tuple.dst);
        let pass = self.pass6(tuple.proto, remote);
        if destination.mapped_only && pass == Pass::Direct {
            return Err(Reason::Denied.into());
        }
        self.check_destination(pass, remote.addr)?;
        let plan = xlat::plan_v6_to_v4(&self.policy.rules, packet, buf, pass)?;
        let traffic = outgoing::traffic6(&plan);
        let Outward { mapped, session } = self.update6(context, &destination, client, &tuple, traffic)?;
        if pass == Pass::Direct {
            self.allow_fast_path6(session, packet.dst);
        }
        let port = if tuple.proto == Proto::Icmp { mapped.port } else { remote.port };
        let remote = Transport4::new(remote.addr, port);
        let to = To4 { outer: Flow4::new(mapped, remote), quoted: None };
        self.forward_to4(context, (tuple.proto, remote), plan, &to)
    }

    fn packet4(&mut self, context: &mut Context<'_>, buf: &mut PacketBuf) -> Result<Accepted, Refusal> {
        // Borrowed, not moved out: the packet is large.
        let parsed = Ipv4Packet::parse(buf.bytes(), &buf.offload);
        let packet = parsed.as_ref().map_err(|reason| *reason)?;
        self.check_addresses4(packet, buf)?;
        if let Some(fragment) = packet.fragment.filter(|_| buf.meta.ports.is_none()) {
            return self.fragment4(context, packet, fragment, buf);
        }
        let pass = if buf.meta.hairpin { Pass::HairpinIn } else { Pass::Direct };
        if let Transport::Error(error) = &packet.transport {
            return self.translate_error4(context, packet, error, pass, buf);
        }
        let tuple = tuple::of4(packet, buf.meta.ports)?;
        let mapped = Transport4::new(packet.dst, tuple.dst);
        if let Some(verdict) = self.hand_over_to_owner(tuple.proto, mapped, buf)? {
            return Ok(verdict);
        }
        let plan = xlat::plan_v4_to_v6(&self.policy.rules, packet, buf, pass)?;
        let traffic = outgoing::traffic4(&plan);
        let remote = Transport4::new(packet.src, tuple.src);
        let inward = match self.update4(context, remote, mapped, &tuple, traffic) {
            Err(Reason::UnsolicitedSyn) => return self.unsolicited(context, (remote, mapped), packet, buf),
            found => found?,
        };
        if pass == Pass::Direct {
            self.allow_fast_path4(inward.session);
            self.note_answer(inward.session);
        }
        let server = self.policy.zones.embed(inward.pref64, packet.src);
        let port = if tuple.proto == Proto::Icmp { inward.client.port } else { tuple.src };
        let to = To6 { outer: Flow6::new(Transport6::new(server, port), inward.client), quoted: None };
        self.write_to6(context, plan, &to)
    }

    /// Finds the destination and the owner of a packet, and sets the zone of the context. An ICMP error belongs
    /// to the host to which the quoted packet was sent, whichever router sent the error.
    #[inline]
    fn locate6(
        &self,
        context: &mut Context<'_>,
        packet: &Ipv6Packet,
    ) -> Result<(Destination, WorkerId), Reason> {
        self.policy.zones.check_source(packet.src)?;
        let client = packet.transport.quoted().map_or(packet.src, |quoted| quoted.dst);
        let zone =
            self.policy.zones.index_of(client).ok_or_else(|| Zones::reason_outside_zones(packet.src))?;
        context.zone = Some(self.policy.zones.zone(zone).id);
        let destination = self.policy.zones.destination(zone, packet.dst)?;
        let owner = if self.is_single_worker() {
            self.pool4.worker()
        } else {
            self.pool4.owners().owner_of_host(self.policy.zones.host_key(zone, client))
        };
        Ok((destination, owner))
    }

    /// Whether this is the only worker.
    const fn is_single_worker(&self) -> bool {
        self.pool4.owners().workers() <= 1
    }

    /// Checks that an IPv4 packet is for a pool or static address. Unless hairpinned, its source must not
    /// be a pool address.
    #[inline]
    fn check_addresses4(&self, packet: &Ipv4Packet, buf: &PacketBuf) -> Result<(), Reason> {
        if !self.pool4.contains_addr(packet.dst) && !self.statics.contains_addr(packet.dst) {
            return Err(Reason::NotPool4);
        }
        if !buf.meta.hairpin && self.pool4.contains_addr(packet.src) {
            return Err(Reason::SourceAddress);
        }
        Ok(())
    }

    /// Stores or drops an unsolicited SYN, by policy (RFC 6146 §3.5.2.2).
    fn unsolicited(
        &mut self,
        context: &Context<'_>,
        (remote, mapped): (Transport4, Transport4),
        packet: &Ipv4Packet,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        if self.policy.unsolicited_syn == UnsolicitedSyn::Drop {
            return Err(Reason::UnsolicitedSyn.into());
        }
        let syn =
            ReceivedSyn { packet, bytes: buf.bytes(), hairpinned: buf.meta.hairpin, zone: context.zone };
        self.syns.store(context.now, self.policy.timers.tcp_incoming_syn, remote, mapped, syn)?;
        self.counters.zone(context.zone).held.add(1);
        buf.clear();
        Ok(Accepted::Hold)
    }

    /// The pref64 under which a binding's client addresses a server: that of their session, else that of
    /// the packet that created the binding.
    fn pref64_for_server(&self, binding: u32, proto: Proto, server: Transport4) -> u16 {
        let server = update::remote_of(proto, server);
        match self.session_with(binding, server) {
            Some(session) => self.sessions.session(session).pref64,
            None => self.bib.binding(binding).pref64,
        }
    }

    /// Moves pending events to `out`, the oldest first; returns their number.
    pub fn events(&mut self, out: &mut [Event]) -> usize {
        self.events.fetch(out)
    }
}
