//! Writes steps as a scenario, with the model's expectations.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use gate64::translator::Verdict;

use super::datagram::Cut;
use super::nat64::{Outcome, Sent};
use crate::script::packet::{Body, Csum, Frag, FragId, NAMES, Num, Packet, Quote, filler};

/// The lines of a scenario.
#[derive(Default)]
pub(super) struct Script(pub(super) String);

impl Script {
    pub(super) fn settings(&mut self, lines: &[String]) {
        for line in lines {
            self.line(&format!("set {line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub(super) fn reload(&mut self, lines: &[String]) {
        self.settings(lines);
        self.line("reload");
    }

    pub(super) fn local(&mut self, addresses: &str) {
        self.line(&format!("local {addresses}"));
    }

    pub(super) fn packet(&mut self, packet: &Packet, outcome: &Outcome) {
        self.line(&format!("{}> {}", side(packet), text(packet)));
        match outcome.verdict {
            // A single worker hands nothing over.
            Verdict::Forward | Verdict::HandOver(_) => {}
            Verdict::Drop(reason) => self.line(&format!("drop {reason}")),
            Verdict::Reject(reason) => self.line(&format!("reject {reason}")),
            Verdict::Hold => self.line("hold"),
        }
        for packet in &outcome.packets {
            self.line(&format!("{}< {}", side(packet), text(packet)));
        }
    }

    /// Not in scenario notation, since its fragments may leave in several ways.
    pub(super) fn datagram(&mut self, packet: &Packet, cut: Cut, outcome: &Outcome) {
        self.line(&format!("# in fragments: {cut:?}, {:?}", outcome.verdict));
        self.line(&format!("{}> {}", side(packet), text(packet)));
        for packet in &outcome.packets {
            self.line(&format!("{}< {}", side(packet), text(packet)));
        }
    }

    /// A quoted packet other than the preceding one is written out.
    pub(super) fn at(&mut self, since: Duration, sent: &[Sent]) {
        self.line(&format!("at {}ms", since.as_millis()));
        for (packet, about) in sent {
            let mut packet = packet.clone();
            if let (Body::Icmp { quote, .. }, Some(about)) = (&mut packet.body, about) {
                *quote = Some(Quote::Packet(Box::new(about.clone())));
            }
            self.line(&format!("{}< {}", side(&packet), text(&packet)));
        }
    }
}

fn side(packet: &Packet) -> &'static str {
    if packet.src.is_ipv4() { "v4" } else { "v6" }
}

fn name(addr: IpAddr) -> String {
    let text = addr.to_string();
    NAMES.iter().find(|(_, named)| *named == text).map_or(text, |(name, _)| (*name).to_owned())
}

fn num(num: &Num) -> String {
    match num {
        Num::Is(value) => value.to_string(),
        Num::Var(name) => format!("${name}"),
    }
}

/// A packet in scenario notation.
pub(super) fn text(p: &Packet) -> String {
    let (src, dst) = (name(p.src), name(p.dst));
    let mut line = match &p.body {
        Body::Udp { src: s, dst: d } => format!("udp {src}.{} > {dst}.{}", num(s), num(d)),
        Body::Tcp { src: s, dst: d, flags, seq, ack, win, .. } => {
            let letters = "FSRPAUEC".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
            let letters: String = letters.map(|(_, letter)| letter).collect();
            let letters = if letters.is_empty() { "-" } else { &letters };
            let mut line = format!("tcp {src}.{} > {dst}.{} {letters}", num(s), num(d));
            if (*seq, *ack, *win) != (1000, 0, 0x2000) {
                let _ = write!(line, " seq={seq} ack={ack} win={win}");
            }
            line
        }
        Body::Echo { id, reply, .. } => {
            format!("echo{} {src} > {dst} id={}", if *reply { "-reply" } else { "" }, num(id))
        }
        Body::Icmp { kind, code, word, .. } => {
            let family = if p.src.is_ipv4() { 4 } else { 6 };
            format!("icmp{family} {kind}/{code} {src} > {dst} word={word:#x}")
        }
        Body::Proto(number) => format!("proto {number} {src} > {dst}"),
        Body::Raw => "raw ".to_owned(),
    };
    fields(p, &mut line);
    if let Body::Icmp { quote: Some(quote), .. } = &p.body {
        match quote {
            Quote::Input => line.push_str(" { ^ }"),
            Quote::Packet(inner) => {
                let _ = write!(line, " {{ {} }}", text(inner));
            }
        }
    }
    line
}

fn fields(p: &Packet, line: &mut String) {
    let mut word = |word: String| {
        line.push(' ');
        line.push_str(&word);
    };
    if let Some(hop) = p.hop {
        word(format!("hl={hop}"));
    }
    if p.tos != 0 {
        word(format!("tos={:#x}", p.tos));
    }
    if let Some(id) = p.id {
        word(format!("ipid={id:#x}"));
    }
    if p.df {
        word("df".to_owned());
    }
    if !p.data.is_empty() {
        assert_eq!(p.data, filler(p.data.len()), "data as scenarios fill it");
        word(format!("data={}", p.data.len()));
    }
    if let Some(size) = p.gso {
        word(format!("gso={size}"));
    }
    if !p.ext.is_empty() {
        assert!(p.ext.iter().all(|(number, _)| *number == 60), "only Destination Options are made up");
        word(format!("ext={}", vec!["dst"; p.ext.len()].join("+")));
    }
    match p.csum {
        Csum::Good => {}
        Csum::Bad => word("csum=bad".to_owned()),
        Csum::Zero => word("csum=zero".to_owned()),
        Csum::Partial => word("csum=partial".to_owned()),
        Csum::Verified => word("csum=verified".to_owned()),
    }
    if let Some(Frag { id, offset, len }) = &p.frag {
        let id = match id {
            FragId::Is(id) => format!("{id:#x}"),
            FragId::Var(name) => format!("${name}"),
        };
        let len = len.map_or(String::new(), |len| len.to_string());
        word(format!("frag={id}:{offset}+{len}"));
    }
}
