//! Expiry, in the order of the deadlines.

use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::Transport6;
use gate64::time::Instant;

use super::{Binding, Model, Sent, Session};
use crate::model::address::embed;
use crate::model::packet;
use crate::model::ports::Block;
use crate::model::tcp::State;
use crate::script::packet::{Body, Packet, Quote};

/// Something that expires.
enum Due {
    Session(usize),
    Syn(usize),
    Binding(usize),
    Block(usize),
}

impl Model {
    /// The next deadline, and what expires then.
    fn next(&self) -> Option<(Instant, Due)> {
        let quarantine = self.settings.nat64.timers.quarantine;
        let sessions = self.sessions.iter().enumerate().map(|(at, s)| (s.deadline, Due::Session(at)));
        let syns = self.syns.iter().enumerate().map(|(at, syn)| (syn.until, Due::Syn(at)));
        let bindings = self.bindings.iter().enumerate();
        let bindings = bindings.filter_map(|(at, b)| Some((b.quarantined? + quarantine, Due::Binding(at))));
        let blocks = self.blocks.iter().enumerate().filter(|(_, block)| self.is_empty(block));
        let blocks = blocks.map(|(at, block)| (block.since + quarantine, Due::Block(at)));
        sessions.chain(syns).chain(bindings).chain(blocks).min_by_key(|(when, _)| *when)
    }

    /// Whether a quarantine ended within the last `margin`: the translator rounds its end up.
    pub(in crate::model) fn quarantine_ended_within(&self, margin: Duration) -> bool {
        self.last_quarantine_end.is_some_and(|last| self.now.since(last) < margin)
    }

    /// Advances the clock; returns what timers send.
    pub(in crate::model) fn advance(&mut self, to: Instant) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some((when, due)) = self.next().filter(|(when, _)| *when <= to) {
            match due {
                Due::Session(at) => sent.extend(self.session_over(at).map(|probe| (probe, None))),
                Due::Syn(at) => {
                    let syn = self.syns.remove(at);
                    if self.settings.rules.error_rate[1] == 0 || syn.adopted {
                        continue;
                    }
                    let own = self.settings.nat64.address4.into();
                    if syn.hairpinned {
                        self.now = when;
                        let quote = Some(Quote::Packet(Box::new(syn.packet.clone())));
                        let body = Body::Icmp { kind: 3, code: 3, word: 0, quote };
                        let mut error = Packet::new(own, syn.packet.src, body, Vec::new());
                        (error.hop, error.tos) = (Some(64), syn.packet.tos & 0xfc);
                        let outcome = self.packet4(&error, true);
                        let packets = outcome.map_or(Vec::new(), |outcome| outcome.packets);
                        sent.extend(packets.into_iter().map(|packet| (packet, None)));
                    } else {
                        sent.push((packet::own_error(own, &syn.packet, (3, 3, 0)), Some(syn.packet)));
                    }
                }
                Due::Binding(at) => {
                    self.last_quarantine_end = self.last_quarantine_end.max(Some(when));
                    self.unbind(at, when);
                }
                Due::Block(at) => {
                    self.last_quarantine_end = self.last_quarantine_end.max(Some(when));
                    let block = self.blocks.remove(at);
                    self.remember(&block);
                }
            }
        }
        self.now = to;
        sent
    }

    /// A host that gives its last block up is known if it was answered. Its identity is that of its index entry,
    /// which it has lost already if a reload withdrew all its blocks.
    pub(in crate::model) fn remember(&mut self, block: &Block) {
        let remains = |other: &Block| other.host == block.host && other.lost.is_none();
        if block.answered && block.lost.is_none() && !self.blocks.iter().any(remains) {
            self.known.push(block.host);
        }
    }

    /// Expiry of a session; a connection that is established, or was reset from outside, is probed first.
    fn session_over(&mut self, at: usize) -> Option<Packet> {
        let session = &mut self.sessions[at];
        let when = session.deadline;
        if matches!(session.state, State::Est | State::Reset) {
            session.state = State::Trans;
            session.deadline = when + self.settings.nat64.timers.tcp_closing;
            let server = Transport6::new(embed(session.pref64, session.remote.addr), session.remote.port);
            return Some(packet::probe(server, session.client));
        }
        self.end_session(at, when);
        None
    }

    pub(in crate::model) fn end_session(&mut self, at: usize, when: Instant) {
        let ended = self.sessions.remove(at);
        let binding = self.of(ended.proto, ended.client).expect("a session has a binding");
        let others = |s: &Session| s.proto == ended.proto && s.client == ended.client;
        if self.bindings[binding].fixed || self.sessions.iter().any(others) {
            return;
        }
        // A tracked TCP port may be reused at once (RFC 6888 REQ-8).
        if ended.proto == Proto::Tcp || self.settings.nat64.timers.quarantine.is_zero() {
            self.unbind(binding, when);
        } else {
            self.bindings[binding].quarantined = Some(when);
        }
    }

    /// Releases a port; its block is released when the quarantine of all its ports has ended.
    pub(in crate::model) fn unbind(&mut self, at: usize, when: Instant) {
        let binding = self.bindings.remove(at);
        let since = binding.quarantined.unwrap_or(when);
        let its = |b: &&mut Block| {
            !binding.fixed && b.addr == binding.mapped.addr && b.ports.contains(binding.mapped.port)
        };
        if let Some(block) = self.blocks.iter_mut().find(its) {
            block.since = block.since.max(since);
        }
    }

    fn is_empty(&self, block: &Block) -> bool {
        let inside =
            |b: &Binding| !b.fixed && b.mapped.addr == block.addr && block.ports.contains(b.mapped.port);
        !self.bindings.iter().any(inside)
    }
}
