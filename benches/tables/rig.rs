//! A translator with a given number of sessions, each with its own binding.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant as Clock};

use gate64::addr::{Ipv4Prefix, PortRange, WorkerId, ZoneId};
use gate64::nat64;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{Settings, Translator, Verdict};
use gate64::wire::batch::ExtraPackets;
use gate64::wire::buf::{MAX_PACKET, PacketBuf};
use gate64::xlat::RewriteRules;

use crate::flows::{self, Flow, Kind, PER_HOST, Random};

/// Packets per batch.
pub const BATCH: usize = 64;
/// Super-packets per batch: as many as one read returns.
const SUPERS: usize = 4;
/// Maximum number of short-lived sessions, besides the known ones.
const SHORT_LIVED: u64 = 16_384;
/// Lifetimes of short-lived and of known sessions.
const SHORT: Duration = Duration::from_secs(240);
const LONG: Duration = Duration::from_secs(1 << 32);

/// Kinds of measured work, in batches of 64 packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Packets of known sessions in random order, from the IPv6 side.
    Hit6,
    /// The same from the IPv4 side.
    Hit4,
    /// Packets that create a binding and a session each.
    New,
    /// Expiry of a session and its binding.
    Expire,
    /// TCP ACKs without a session, from the IPv6 side.
    Refused6,
    /// TCP ACKs to random ports from the IPv4 side, as of a port scan.
    Refused4,
    /// Super-packets of 64 KiB of an established TCP connection, from the IPv6 side.
    Super6,
    /// The same from the IPv4 side.
    Super4,
}

impl Work {
    pub const ALL: [Self; 8] = [
        Self::Hit6,
        Self::Hit4,
        Self::New,
        Self::Expire,
        Self::Refused6,
        Self::Refused4,
        Self::Super6,
        Self::Super4,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit6 => "hit_v6_to_v4",
            Self::Hit4 => "hit_v4_to_v6",
            Self::New => "new",
            Self::Expire => "expire",
            Self::Refused6 => "refused_v6_to_v4",
            Self::Refused4 => "refused_v4_to_v6",
            Self::Super6 => "super_v6_to_v4",
            Self::Super4 => "super_v4_to_v6",
        }
    }
}

pub struct Rig {
    pub sessions: u64,
    /// Whether to run work inside [`counted`](crate::counted).
    pub counting: bool,
    translator: Translator,
    buffers: Vec<PacketBuf>,
    verdicts: Vec<Verdict>,
    extra: ExtraPackets,
    now: Instant,
    random: Random,
    pool: Ipv4Prefix,
    /// The mapped address of each host.
    mapped: Vec<Ipv4Addr>,
    /// Short-lived sessions: number of open ones, and number of the next flow.
    open: u64,
    next: u64,
    supers: Vec<PacketBuf>,
    /// The connection of the super-packets and its mapped address, once open.
    connection: Option<(Flow, Ipv4Addr)>,
}

/// A prefix with at least 1.5 times the addresses that the blocks need.
fn pool(flows: u64) -> Ipv4Prefix {
    let addresses = (flows * 3 / 2).div_ceil(252 * 256).next_power_of_two().max(16);
    let len = 32 - addresses.trailing_zeros();
    format!("198.18.0.0/{len}").parse().expect("a prefix")
}

fn settings(sessions: u64, pool: Ipv4Prefix) -> Settings {
    let zone = nat64::Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec![flows::pref64()],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: nat64::Sharing { first_block: PER_HOST as u16, ..Default::default() },
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: 4096,
        bindings_per_second: 0,
    };
    let sessions = u32::try_from(sessions + SHORT_LIVED + 1).expect("fits");
    let blocks = sessions.div_ceil(PER_HOST as u32) + 64;
    // Hosts that nobody answered use three quarters of a table.
    let limit = sessions.div_ceil(3) * 4;
    let limits =
        nat64::Limits { sessions: limit, bindings: limit, blocks, hosts: blocks, ..nat64::Limits::default() };
    let timers = nat64::Timers {
        udp: LONG,
        tcp_established: LONG,
        tcp_opening: SHORT,
        quarantine: Duration::ZERO,
        ..nat64::Timers::default()
    };
    Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 1,
        owner_seed: 1,
        local: Default::default(),
        // Segments of unknown sessions are dropped, not answered: the answers are limited by rate.
        rules: RewriteRules { reset_unknown_tcp: false, ..RewriteRules::default() },
        siit: None,
        nat64: nat64::Settings {
            zones: vec![zone],
            pools: vec![nat64::Pool { ranges: vec![(pool, PortRange::ALL)] }],
            timers,
            limits,
            address6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            address4: pool.addr(),
            ..nat64::Settings::default()
        },
    }
}

impl Rig {
    /// Opens `sessions` sessions.
    pub fn new(sessions: u64) -> Self {
        let pool = pool(sessions + SHORT_LIVED);
        let mut rig = Self {
            sessions,
            counting: false,
            translator: Translator::new(settings(sessions, pool), 1),
            buffers: (0..BATCH).map(|_| PacketBuf::new(2048)).collect(),
            verdicts: vec![Verdict::Hold; BATCH],
            extra: ExtraPackets::new(256, 2048),
            now: Instant::from_secs(1),
            random: Random(sessions),
            pool,
            mapped: Vec::with_capacity(sessions.div_ceil(PER_HOST) as usize),
            open: 0,
            next: sessions.next_multiple_of(PER_HOST),
            supers: (0..SUPERS).map(|_| PacketBuf::new(MAX_PACKET)).collect(),
            connection: None,
        };
        let mut n = 0;
        while n < sessions {
            let count = (sessions - n).min(BATCH as u64) as usize;
            for (at, buffer) in rig.buffers[..count].iter_mut().enumerate() {
                Flow::new(n + at as u64).outward(Kind::Udp, buffer);
            }
            rig.process(count, forwarded);
            for (at, buffer) in rig.buffers[..count].iter().enumerate() {
                let (flow, out) = (Flow::new(n + at as u64), buffer.bytes());
                let addr = Ipv4Addr::new(out[12], out[13], out[14], out[15]);
                assert_eq!(out[20..22], flow.port().to_be_bytes(), "one port block per host");
                if flow.host() as usize == rig.mapped.len() {
                    rig.mapped.push(addr);
                }
            }
            n += count as u64;
        }
        rig
    }

    fn process(&mut self, count: usize, want: fn(Verdict) -> bool) -> Duration {
        self.extra.clear();
        let (packets, verdicts) = (&mut self.buffers[..count], &mut self.verdicts[..count]);
        let time = timed(self.counting, &mut || {
            self.translator.process(self.now, packets, verdicts, &mut self.extra);
        });
        for verdict in &self.verdicts[..count] {
            assert!(want(*verdict), "{verdict:?}");
        }
        time
    }

    /// Translates one packet that `fill` writes, and returns the result.
    fn one(&mut self, fill: impl FnOnce(&mut PacketBuf)) -> &[u8] {
        fill(&mut self.buffers[0]);
        self.process(1, forwarded);
        self.buffers[0].bytes()
    }

    /// Runs a batch of `work`. Returns its time and its number of packets or sessions.
    pub fn batch(&mut self, work: Work) -> (Duration, u64) {
        match work {
            Work::Hit6 => (self.known_sessions(true), BATCH as u64),
            Work::Hit4 => (self.known_sessions(false), BATCH as u64),
            Work::New => self.open_sessions(),
            Work::Expire => self.expire_all(),
            Work::Refused6 => (self.refused6(), BATCH as u64),
            Work::Refused4 => (self.refused4(), BATCH as u64),
            Work::Super6 => (self.super_packets(true), SUPERS as u64),
            Work::Super4 => (self.super_packets(false), SUPERS as u64),
        }
    }

    fn known_sessions(&mut self, outward: bool) -> Duration {
        for buffer in &mut self.buffers {
            let flow = Flow::new(self.random.below(self.sessions));
            match outward {
                true => flow.outward(Kind::Udp, buffer),
                false => flow.inward(Kind::Udp, self.mapped[flow.host() as usize], buffer),
            }
        }
        self.process(BATCH, forwarded)
    }

    fn open_sessions(&mut self) -> (Duration, u64) {
        if self.open + BATCH as u64 > SHORT_LIVED {
            self.expire_all();
        }
        for buffer in &mut self.buffers {
            // Ports within a block are not in order, as with real hosts.
            let n = self.next;
            Flow::new(n - n % PER_HOST + n.wrapping_mul(37) % PER_HOST).outward(Kind::Syn, buffer);
            self.next += 1;
        }
        self.open += BATCH as u64;
        (self.process(BATCH, forwarded), BATCH as u64)
    }

    /// Expires all short-lived sessions; opens some first if there are few.
    fn expire_all(&mut self) -> (Duration, u64) {
        let counting = core::mem::replace(&mut self.counting, false);
        while self.open < SHORT_LIVED / 2 {
            self.open_sessions();
        }
        self.counting = counting;
        self.now = self.now + SHORT + Duration::from_secs(1);
        let ended = core::mem::take(&mut self.open);
        let time = timed(self.counting, &mut || {
            while self.translator.expire(self.now, BATCH, &mut self.extra) {}
        });
        // The blocks are free again, so the flow numbers start again.
        self.next = self.sessions.next_multiple_of(PER_HOST);
        (time, ended)
    }

    fn refused6(&mut self) -> Duration {
        for buffer in &mut self.buffers {
            Flow::new(self.random.below(self.sessions)).outward(Kind::Ack, buffer);
        }
        self.process(BATCH, |verdict| verdict == Verdict::Drop(Reason::NoSession))
    }

    fn refused4(&mut self) -> Duration {
        for buffer in &mut self.buffers {
            let flow = Flow::new(self.random.below(self.sessions));
            let offset = self.random.below(self.pool.size()) as u32;
            flow.inward(Kind::Ack, Ipv4Addr::from_bits(self.pool.addr().to_bits() + offset), buffer);
        }
        self.process(BATCH, |verdict| verdict == Verdict::Drop(Reason::NoBinding))
    }

    fn super_packets(&mut self, outward: bool) -> Duration {
        let (flow, mapped) = match self.connection {
            Some(connection) => connection,
            None => self.connect(),
        };
        for buffer in &mut self.supers {
            match outward {
                true => flow.outward(Kind::Super, buffer),
                false => flow.inward(Kind::Super, mapped, buffer),
            }
        }
        core::mem::swap(&mut self.supers, &mut self.buffers);
        let time = self.process(SUPERS, forwarded);
        core::mem::swap(&mut self.supers, &mut self.buffers);
        time
    }

    /// Opens a TCP connection of a new host.
    fn connect(&mut self) -> (Flow, Ipv4Addr) {
        let flow = Flow::new((self.sessions + SHORT_LIVED).next_multiple_of(PER_HOST) + PER_HOST);
        let out = self.one(|buf| flow.outward(Kind::Syn, buf));
        let mapped = Ipv4Addr::new(out[12], out[13], out[14], out[15]);
        self.one(|buf| flow.inward(Kind::SynAck, mapped, buf));
        self.one(|buf| flow.outward(Kind::Ack, buf));
        *self.connection.insert((flow, mapped))
    }
}

fn timed(counting: bool, work: &mut dyn FnMut()) -> Duration {
    let start = Clock::now();
    if counting {
        crate::counted(work);
    } else {
        work();
    }
    start.elapsed()
}

fn forwarded(verdict: Verdict) -> bool {
    verdict == Verdict::Forward
}
