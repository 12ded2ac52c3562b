//! Entry point of the library: packets in, verdicts out.

use std::sync::Arc;

use crate::addr::{LocalAddresses, Sites, ZoneSites};
use crate::counters::Counters;
use crate::nat64::{self, Candidates, Context, Nat64};
use crate::reason::Reason;
use crate::siit::{self, Siit};
use crate::time::Instant;
use crate::wire::buf::{MAX_PACKET, PacketBuf, PacketMeta};
use crate::xlat::{self, ErrorLimits};

pub use crate::addr::WorkerId;
pub use crate::nat64::{
    AddressUsage, BlockAssignment, Ending, Event, PoolSurvey, ReloadSurvey, SessionRecord,
};
pub use crate::wire::batch::{Extra, ExtraPackets, Verdict};

/// Settings of a translator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Number of this worker.
    pub worker: WorkerId,
    /// Number of workers, at least 1.
    pub workers: u8,
    /// Seed of all random numbers: ports, identifiers, hash keys. Equal settings and input give equal output.
    pub seed: u64,
    /// Seed of the hash that assigns hosts and datagrams to workers. Equal on all workers, and part of
    /// exported state.
    pub owner_seed: u32,
    /// Translation of single packets.
    pub rules: xlat::RewriteRules,
    /// Stateless mappings. They take precedence; all other packets go to `nat64`.
    pub siit: Option<siit::Settings>,
    /// Stateful translation.
    pub nat64: nat64::Settings,
    /// Addresses of this host, which no packet may reach.
    pub local: Arc<LocalAddresses>,
}

impl Settings {
    /// Hosts and sites of the zones.
    fn sites(&self) -> Sites {
        let lens =
            |zone: &nat64::Zone| ZoneSites { id: zone.id, host_len: zone.host_len, site_len: zone.site_len };
        Sites::new(self.nat64.zones.iter().map(|zone| (lens(zone), zone.clients.as_slice())))
    }

    /// Identity of the stateless translator.
    const fn siit_identity(&self) -> siit::Identity {
        siit::Identity {
            seed: self.seed,
            address6: self.nat64.address6,
            address4: self.nat64.address4,
            without_nat64: self.nat64.zones.is_empty(),
        }
    }
}

/// Position of an export; start with the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub u32);

/// A change of settings at run time.
#[derive(Clone, Debug)]
pub enum Change {
    /// New settings. `worker`, `workers`, `seed`, `owner_seed` and `nat64.limits` must not change. A
    /// session ends only if its prefix, pool address or zone is removed.
    Settings(Box<Settings>),
    /// New addresses of this host; all else stays.
    LocalAddresses(Arc<LocalAddresses>),
}

/// One worker's translator.
pub struct Translator {
    counters: Arc<Counters>,
    siit: Option<Box<Siit>>,
    nat64: Nat64,
    /// Rate limits of originated ICMP errors.
    limits: ErrorLimits,
    /// Prefetched bindings of the current batch.
    candidates: Candidates,
    /// Buffer for one packet outside the batch.
    scratch: PacketBuf,
}

impl Translator {
    /// Allocates all memory; translation allocates none. Zone numbers must be below `zones`.
    pub fn new(settings: Settings, zones: usize) -> Self {
        let counters = Arc::new(Counters::new(zones));
        let identity = nat64::WorkerIdentity {
            worker: settings.worker,
            workers: settings.workers,
            seed: settings.seed,
            owner_seed: settings.owner_seed,
        };
        let siit = settings.siit.as_ref().map(|mappings| {
            Box::new(Siit::new(settings.siit_identity(), settings.rules, mappings, counters.clone()))
        });
        let nat64 = Nat64::new(identity, settings.rules, &settings.nat64, counters.clone());
        let mut limits = ErrorLimits::new(&settings.rules, settings.workers, settings.seed as u32);
        limits.set_sites(settings.sites());
        let (candidates, scratch) = (Candidates::new(), PacketBuf::new(MAX_PACKET));
        let mut translator = Self { counters, siit, nat64, limits, candidates, scratch };
        translator.set_local_addresses(settings.local);
        translator
    }

    /// Translates a batch in place. `verdicts[i]` is the verdict on `packets[i]`.
    ///
    /// # Panics
    /// If there are fewer verdicts than packets.
    pub fn process(
        &mut self,
        now: Instant,
        packets: &mut [PacketBuf],
        verdicts: &mut [Verdict],
        extra: &mut ExtraPackets,
    ) {
        let Self { counters, siit, nat64, limits, candidates, scratch } = self;
        let verdicts = &mut verdicts[..packets.len()];
        nat64.prefetch(packets, candidates);
        let mut context = Context::new(now, scratch, extra, limits);
        for (at, (packet, verdict)) in packets.iter_mut().zip(verdicts).enumerate() {
            context.select_packet(at, candidates.get(at));
            *verdict = match packet.bytes().first().map(|byte| byte >> 4) {
                Some(6) => process_v6(siit, nat64, &mut context, packet),
                Some(4) => process_v4(siit, nat64, &mut context, packet),
                Some(_) | None => {
                    counters.zone(None).drops(Reason::NotIp).add(1);
                    Verdict::Drop(Reason::NotIp)
                }
            };
            if matches!(verdict, Verdict::HandOver(_)) {
                counters.handed_over.add(1);
            }
        }
    }

    /// Restores a port block that a host had before the restart. No other host gets it until its quarantine ends
    /// (RFC 6888 REQ-8). Call it before the first packet.
    ///
    /// # Errors
    /// The reason, if a table is full, or the zone, the pool or the owning worker does not match.
    pub fn restore_block(&mut self, now: Instant, assignment: &BlockAssignment) -> Result<(), Reason> {
        self.nat64.restore_block(now, assignment)
    }

    /// When to call [`expire`](Self::expire) next; `None` if no timer runs.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.nat64.next_deadline()
    }

    /// Expires timers due at `now`, at most `budget` entries. Packets that timers send go to `extra`. Returns
    /// whether more timers are due.
    pub fn expire(&mut self, now: Instant, budget: usize, extra: &mut ExtraPackets) -> bool {
        self.nat64.expire(now, budget, &mut self.scratch, extra, &mut self.limits)
    }

    /// Switches to new settings between two batches. Takes time proportional to the number of sessions.
    pub fn reconfigure(&mut self, now: Instant, change: Change) {
        match change {
            Change::Settings(new) => {
                self.switch_siit(&new);
                self.limits.set_rates(&new.rules);
                self.limits.set_sites(new.sites());
                self.nat64.reconfigure(now, new.rules, new.owner_seed, &new.nat64);
                self.set_local_addresses(new.local);
            }
            Change::LocalAddresses(local) => self.set_local_addresses(local),
        }
    }

    fn set_local_addresses(&mut self, local: Arc<LocalAddresses>) {
        if let Some(siit) = &mut self.siit {
            siit.set_local_addresses(Arc::clone(&local));
        }
        self.nat64.set_local_addresses(local);
    }

    /// Creates, reconfigures or removes the stateless translator.
    fn switch_siit(&mut self, new: &Settings) {
        let identity = new.siit_identity();
        match (&mut self.siit, &new.siit) {
            (Some(siit), Some(mappings)) => siit.reconfigure(identity, new.rules, mappings),
            (none @ None, Some(mappings)) => {
                *none = Some(Box::new(Siit::new(identity, new.rules, mappings, Arc::clone(&self.counters))));
            }
            (some, None) => *some = None,
        }
    }

    /// Moves queued events to `out`, oldest first, and returns their number.
    pub fn events(&mut self, out: &mut [Event]) -> usize {
        let count = self.nat64.events(out);
        if let Some(slot) = out.get_mut(count)
            && let Some((src, dst)) = self.siit.as_mut().and_then(|siit| siit.take_dropped_zero_checksum())
        {
            *slot = Event::WithoutChecksum { src, dst };
            return count + 1;
        }
        count
    }

    /// Writes sessions from `cursor` on to `out` and returns their number; zero ends the export.
    pub fn export(&self, now: Instant, cursor: &mut Cursor, out: &mut [SessionRecord]) -> usize {
        self.nat64.export(now, &mut cursor.0, out)
    }

    /// Upper bound of the slots of sessions in use. A session keeps its slot.
    pub const fn session_slots(&self) -> u32 {
        self.nat64.session_slots()
    }

    /// The session in a slot; `None` if there is none or it has expired.
    pub fn record(&self, now: Instant, slot: u32) -> Option<SessionRecord> {
        self.nat64.record(now, slot)
    }

    /// Imports a session. Its remaining time is at most the timeout of the present settings.
    ///
    /// # Errors
    /// A [`Reason`] if a table is full, or if no zone, pool or pref64 matches the record.
    pub fn import(&mut self, now: Instant, record: &SessionRecord) -> Result<(), Reason> {
        self.nat64.import(now, record)
    }

    /// Upper bound of the slots of bindings in use.
    pub const fn binding_slots(&self) -> u32 {
        self.nat64.binding_slots()
    }

    /// The binding in a slot, if it is in quarantine (RFC 6888 REQ-8): a record without a server, whose remaining time
    /// is that of the quarantine.
    pub fn quarantined(&self, now: Instant, slot: u32) -> Option<SessionRecord> {
        self.nat64.quarantined(now, slot)
    }

    /// Imports a binding in quarantine, the one that ends first first.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn import_quarantined(&mut self, now: Instant, record: &SessionRecord) -> Result<(), Reason> {
        self.nat64.import_quarantined(now, record)
    }

    /// Counts the usage of at most `budget` more port blocks; returns whether the survey is complete.
    pub fn survey_pool(&self, survey: &mut PoolSurvey, budget: u32) -> bool {
        self.nat64.survey_pool(survey, budget)
    }

    /// Visits at most `budget` more sessions and bindings, and counts those that new settings would end; returns
    /// whether the survey is complete.
    pub fn survey_reload(&self, now: Instant, survey: &mut ReloadSurvey, budget: u32) -> bool {
        self.nat64.survey_reload(now, survey, budget)
    }

    /// This worker's counters, readable from any thread.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// Tries stateless translation first. Packets handed over by another worker are stateful.
#[inline(always)]
fn process_v6(
    siit: &mut Option<Box<Siit>>,
    nat64: &mut Nat64,
    context: &mut Context<'_>,
    packet: &mut PacketBuf,
) -> Verdict {
    if let Some(siit) = siit
        && packet.meta == PacketMeta::default()
    {
        let now = context.now();
        let (extra, limits) = context.outputs();
        if let Some(verdict) = siit.process_v6(now, packet, extra, limits) {
            return verdict;
        }
    }
    nat64.process_v6(context, packet)
}

/// As [`process_v6`], for a packet from the IPv4 side.
#[inline(always)]
fn process_v4(
    siit: &mut Option<Box<Siit>>,
    nat64: &mut Nat64,
    context: &mut Context<'_>,
    packet: &mut PacketBuf,
) -> Verdict {
    if let Some(siit) = siit
        && packet.meta == PacketMeta::default()
    {
        let now = context.now();
        let (extra, limits) = context.outputs();
        if let Some(verdict) = siit.process_v4(now, packet, extra, limits) {
            return verdict;
        }
    }
    nat64.process_v4(context, packet)
}
