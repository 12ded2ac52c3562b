//! The datagrams of the fragment cache: found by key, ordered by age, bounded.

use core::net::IpAddr;

use super::cells::NONE;
use super::key::Key;
use super::shares::SourceShare;
use crate::ownership::mix;
use crate::reason::Reason;
use crate::time::Instant;

/// State of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum State {
    /// The first fragment is missing.
    Waiting,
    /// The first fragment has passed.
    Passing(u16, u16),
    /// The first fragment was refused.
    Refused(Reason),
    /// The first fragment requires reassembly.
    Reassembling,
    /// Fragments overlapped.
    Invalid,
}

/// One datagram.
#[derive(Clone, Copy)]
pub(in crate::nat64) struct Entry {
    pub(in crate::nat64) key: Key,
    pub(in crate::nat64) deadline: Instant,
    /// The share of its source.
    pub(in crate::nat64) share: SourceShare,
    pub(in crate::nat64) state: State,
    /// Its fragments in order of arrival.
    pub(in crate::nat64) first: u32,
    pub(in crate::nat64) last: u32,
    /// The oldest held fragment. All held fragments arrived before those that passed.
    pub(in crate::nat64) first_held: u32,
    pub(in crate::nat64) held: u32,
    pub(in crate::nat64) count: u32,
    /// Distinct bytes of data received.
    pub(in crate::nat64) bytes_received: u32,
    /// Data length of the whole datagram, once the last fragment has arrived.
    pub(in crate::nat64) total: Option<u32>,
    chain: u32,
    older: u32,
    newer: u32,
}

/// A bounded set of datagrams.
pub(in crate::nat64) struct Table {
    entries: Box<[Entry]>,
    /// Heads of the hash chains; their number is a power of two.
    heads: Box<[u32]>,
    free: u32,
    oldest: u32,
    newest: u32,
    seed: u32,
}

impl Table {
    /// Bytes of an entry and its heads, at most four.
    pub(super) const ENTRY: usize = size_of::<Entry>() + 4 * size_of::<u32>();

    /// A table of at most `count` datagrams.
    pub(in crate::nat64) fn new(count: usize, seed: u32) -> Self {
        let blank = |n: usize| Entry {
            key: Key { src: IpAddr::from([0; 4]), dst: IpAddr::from([0; 4]), protocol: 0, id: 0 },
            deadline: Instant::NEVER,
            share: SourceShare::default(),
            state: State::Invalid,
            first: NONE,
            last: NONE,
            first_held: NONE,
            held: 0,
            count: 0,
            bytes_received: 0,
            total: None,
            chain: if n + 1 == count { NONE } else { n as u32 + 1 },
            older: NONE,
            newer: NONE,
        };
        Self {
            entries: (0..count).map(blank).collect(),
            heads: vec![NONE; (count * 2).next_power_of_two()].into(),
            free: if count == 0 { NONE } else { 0 },
            oldest: NONE,
            newest: NONE,
            seed,
        }
    }

    pub(in crate::nat64) fn entry(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    pub(in crate::nat64) fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    fn head(&self, key: &Key) -> usize {
        let words = |addr: IpAddr| match addr {
            IpAddr::V4(v4) => [0, 0, 0, v4.to_bits()],
            IpAddr::V6(v6) => [96, 64, 32, 0].map(|shift| (v6.to_bits() >> shift) as u32),
        };
        let ([a, b, c, d], [e, f, g, h]) = (words(key.src), words(key.dst));
        let hash = mix(self.seed, &[a, b, c, d, e, f, g, h, u32::from(key.protocol), key.id]);
        hash as usize & (self.heads.len() - 1)
    }

    pub(in crate::nat64) fn find(&self, key: &Key) -> Option<u32> {
        let mut at = self.heads[self.head(key)];
        while at != NONE && self.entry(at).key != *key {
            at = self.entry(at).chain;
        }
        (at != NONE).then_some(at)
    }

    /// Adds a datagram as the youngest; `None` if the table is full.
    pub(in crate::nat64) fn open(&mut self, key: Key, share: SourceShare, deadline: Instant) -> Option<u32> {
        let at = self.free;
        if at == NONE {
            return None;
        }
        let head = self.head(&key);
        self.free = self.entry(at).chain;
        *self.entry_mut(at) = Entry {
            key,
            deadline,
            share,
            state: State::Waiting,
            first: NONE,
            last: NONE,
            first_held: NONE,
            held: 0,
            count: 0,
            bytes_received: 0,
            total: None,
            chain: self.heads[head],
            older: self.newest,
            newer: NONE,
        };
        self.heads[head] = at;
        match self.newest {
            NONE => self.oldest = at,
            newest => self.entry_mut(newest).newer = at,
        }
        self.newest = at;
        Some(at)
    }

    /// Removes a datagram; the caller frees its fragments.
    pub(in crate::nat64) fn close(&mut self, at: u32) {
        let Entry { key, chain, older, newer, .. } = *self.entry(at);
        let head = self.head(&key);
        if self.heads[head] == at {
            self.heads[head] = chain;
        } else {
            let mut prev = self.heads[head];
            while self.entry(prev).chain != at {
                prev = self.entry(prev).chain;
            }
            self.entry_mut(prev).chain = chain;
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entry_mut(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entry_mut(newer).older = older,
        }
        self.entry_mut(at).chain = self.free;
        self.free = at;
    }

    /// The oldest datagram.
    pub(in crate::nat64) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }
}
