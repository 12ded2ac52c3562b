//! A packet in scenario notation.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A number, or a name that an output packet defines.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Num {
    Is(u16),
    Var(String),
}

/// Values of names such as `$p`.
pub(crate) type Vars = HashMap<String, u16>;

/// The content after the IP header.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Udp { src: Num, dst: Num },
    Tcp { src: Num, dst: Num, flags: u8, seq: u32, ack: u32, win: u16, mss: Option<u16> },
    Echo { id: Num, seq: u16, reply: bool },
    Icmp { kind: u8, code: u8, word: u32, quote: Option<Quote> },
    Proto(u8),
    Raw,
}

/// What an ICMP error quotes.
#[derive(Clone, Debug)]
pub(crate) enum Quote {
    /// The input packet, as much of it as an error may contain.
    Input,
    Packet(Box<Packet>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Csum {
    #[default]
    Good,
    /// Wrong by a constant.
    Bad,
    Zero,
    Partial,
    Verified,
}

/// An identification, or a name that an IPv4 packet defines.
#[derive(Clone, Debug)]
pub(crate) enum FragId {
    Is(u32),
    Var(String),
}

/// A fragment of the datagram that the rest of the line describes.
#[derive(Clone, Debug)]
pub(crate) struct Frag {
    pub(crate) id: FragId,
    pub(crate) offset: usize,
    /// To the end if `None`.
    pub(crate) len: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) body: Body,
    pub(crate) data: Vec<u8>,
    pub(crate) hop: Option<u8>,
    pub(crate) tos: u8,
    pub(crate) flow: u32,
    pub(crate) id: Option<u16>,
    pub(crate) df: bool,
    pub(crate) frag: Option<Frag>,
    pub(crate) gso: Option<u16>,
    pub(crate) csum: Csum,
    /// IPv4 options.
    pub(crate) opts: Vec<u8>,
    /// IPv6 extension headers: number and all bytes but the first.
    pub(crate) ext: Vec<(u8, Vec<u8>)>,
    pub(crate) poke: Vec<(usize, Vec<u8>)>,
    /// Truncated to this many bytes.
    pub(crate) cut: Option<usize>,
    /// Bytes appended after the packet.
    pub(crate) trailer: usize,
    /// The worker on whose queue it arrives.
    pub(crate) queue: Option<u8>,
}

/// The names available in every scenario.
pub(crate) const NAMES: [(&str, &str); 17] = [
    ("C", "2001:db8:1::2"),
    ("D", "2001:db8:1::3"),
    ("Z", "198.51.100.7"),
    ("Z6", "2001:db8:64::c633:6407"),
    ("W", "198.51.100.8"),
    ("W6", "2001:db8:64::c633:6408"),
    ("T", "203.0.113.1"),
    ("T6", "2001:db8:64::cb00:7101"),
    ("R", "192.0.2.77"),
    ("R6", "2001:db8:64::c000:24d"),
    ("G4", "192.0.2.254"),
    ("G6", "2001:db8:ffff::1"),
    ("S", "2001:db8:1::80"),
    ("A4", "198.51.100.2"),
    ("A6", "2001:db8:64::c633:6402"),
    ("B4", "192.0.2.33"),
    ("B6", "2001:db8:64::c000:221"),
];

pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let named = NAMES.iter().find(|(name, _)| *name == text);
    named.map_or(text, |(_, addr)| addr).parse().ok()
}

pub(crate) fn num(text: &str) -> Result<Num, String> {
    match text.strip_prefix('$') {
        Some(name) => Ok(Num::Var(name.to_owned())),
        None => Ok(Num::Is(int(text)? as u16)),
    }
}

/// All words, parsed.
pub(crate) fn parsed<T: std::str::FromStr>(words: &[&str]) -> Result<Vec<T>, String> {
    words.iter().map(|w| w.parse().map_err(|_| format!("`{w}` can't be parsed"))).collect()
}

/// A decimal or 0x number.
pub(crate) fn int(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is not a number"))
}

pub(crate) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| *c != '_').collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(byte).collect::<Result<_, _>>().map_err(|_| format!("`{text}` is not hexadecimal"))
}

/// An address with or without a port, `ADDRESS.PORT`.
pub(crate) fn endpoint(text: &str) -> Result<(IpAddr, Option<Num>), String> {
    if let Some(addr) = address(text) {
        return Ok((addr, None));
    }
    let (addr, port) = text.rsplit_once('.').ok_or_else(|| format!("`{text}` is not an address"))?;
    let addr = address(addr).ok_or_else(|| format!("`{text}` is not an address and port"))?;
    Ok((addr, Some(num(port)?)))
}

pub(crate) fn transport6(text: &str) -> Result<(Ipv6Addr, u16), String> {
    match endpoint(text)? {
        (IpAddr::V6(addr), Some(Num::Is(port))) => Ok((addr, port)),
        _ => Err(format!("`{text}` is not an IPv6 address and port")),
    }
}

pub(crate) fn transport4(text: &str) -> Result<(Ipv4Addr, u16), String> {
    match endpoint(text)? {
        (IpAddr::V4(addr), Some(Num::Is(port))) => Ok((addr, port)),
        _ => Err(format!("`{text}` is not an IPv4 address and port")),
    }
}

/// The bytes that `data=5` stands for.
pub(crate) fn filler(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

impl Packet {
    /// Parses a packet; the first word is its protocol.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, quote) = split_quote(text)?;
        let mut words = text.split_whitespace();
        let mut next = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
        let kind = next("what the packet carries")?;
        if kind == "raw" {
            let bytes = hex(next("the bytes")?)?;
            return Ok(Self::new(
                Ipv4Addr::UNSPECIFIED.into(),
                Ipv4Addr::UNSPECIFIED.into(),
                Body::Raw,
                bytes,
            ));
        }
        let detail = match kind {
            "icmp4" | "icmp6" => next("type/code")?,
            "proto" => next("the protocol's number")?,
            _ => "",
        };
        let (src, src_port) = endpoint(next("the source")?)?;
        if next(">")? != ">" {
            return Err("`>` is missing between source and destination".into());
        }
        let (dst, dst_port) = endpoint(next("the destination")?)?;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err("source and destination are of different families".into());
        }
        let ports =
            || Ok::<_, String>((src_port.ok_or("no source port")?, dst_port.ok_or("no destination port")?));
        let body = match kind {
            "udp" => ports().map(|(src, dst)| Body::Udp { src, dst })?,
            "tcp" => {
                let (src, dst) = ports()?;
                Body::Tcp {
                    src,
                    dst,
                    flags: flags(next("the flags")?)?,
                    seq: 1000,
                    ack: 0,
                    win: 0x2000,
                    mss: None,
                }
            }
            "echo" | "echo-reply" => Body::Echo { id: Num::Is(1), seq: 1, reply: kind == "echo-reply" },
            "icmp4" | "icmp6" => {
                let (kind, code) = detail.split_once('/').ok_or("no type/code")?;
                Body::Icmp { kind: int(kind)? as u8, code: int(code)? as u8, word: 0, quote }
            }
            "proto" => Body::Proto(int(detail)? as u8),
            other => return Err(format!("`{other}` is nothing a packet carries")),
        };
        let mut packet = Self::new(src, dst, body, Vec::new());
        for word in words {
            packet.modify(word)?;
        }
        Ok(packet)
    }

    pub(crate) fn new(src: IpAddr, dst: IpAddr, body: Body, data: Vec<u8>) -> Self {
        Self {
            src,
            dst,
            body,
            data,
            hop: None,
            tos: 0,
            flow: 0,
            id: None,
            df: false,
            frag: None,
            gso: None,
            csum: Csum::Good,
            opts: Vec::new(),
            ext: Vec::new(),
            poke: Vec::new(),
            cut: None,
            trailer: 0,
            queue: None,
        }
    }

    fn modify(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name, &mut self.body) {
            ("seq", Body::Tcp { seq, .. }) => *seq = int(value)?,
            ("ack", Body::Tcp { ack, .. }) => *ack = int(value)?,
            ("win", Body::Tcp { win, .. }) => *win = int(value)? as u16,
            ("mss", Body::Tcp { mss, .. }) => *mss = Some(int(value)? as u16),
            ("seq", Body::Echo { seq, .. }) => *seq = int(value)? as u16,
            ("id", Body::Echo { id, .. }) => *id = num(value)?,
            ("mtu" | "word", Body::Icmp { word, .. }) => *word = int(value)?,
            // An ICMPv4 pointer is the first byte of the word, an ICMPv6 pointer the whole word.
            ("ptr", Body::Icmp { word, .. }) => {
                *word = int(value)? << if self.src.is_ipv4() { 24 } else { 0 };
            }
            ("hl" | "ttl", _) => self.hop = Some(int(value)? as u8),
            ("tos" | "tc", _) => self.tos = int(value)? as u8,
            ("flow", _) => self.flow = int(value)?,
            ("id" | "ipid", _) => self.id = Some(int(value)? as u16),
            ("df", _) => self.df = true,
            ("data", _) => {
                self.data = match value.strip_prefix("0x") {
                    Some(bytes) => hex(bytes)?,
                    None => filler(int(value)? as usize),
                }
            }
            ("frag", _) => self.frag = Some(frag(value)?),
            ("gso", _) => self.gso = Some(int(value)? as u16),
            ("csum", _) => self.csum = csum(value)?,
            ("opts", _) => self.opts = hex(value)?,
            ("ext", _) => self.ext = value.split('+').map(extension).collect::<Result<_, _>>()?,
            ("poke", _) => {
                let (at, bytes) = value.split_once(':').ok_or("poke=OFFSET:HEX")?;
                self.poke.push((int(at)? as usize, hex(bytes)?));
            }
            ("cut", _) => self.cut = Some(int(value)? as usize),
            ("trailer", _) => self.trailer = int(value)? as usize,
            ("queue", _) => self.queue = Some(int(value)? as u8),
            _ => return Err(format!("`{word}` does not apply to this packet")),
        }
        Ok(())
    }
}

/// Cuts off `{ ... }`.
fn split_quote(text: &str) -> Result<(String, Option<Quote>), String> {
    let Some((before, rest)) = text.split_once('{') else { return Ok((text.to_owned(), None)) };
    let (inner, after) = rest.rsplit_once('}').ok_or("`}` is missing")?;
    let quote = match inner.trim() {
        "^" => Quote::Input,
        inner => Quote::Packet(Box::new(Packet::parse(inner)?)),
    };
    Ok((format!("{before} {after}"), Some(quote)))
}

fn flags(text: &str) -> Result<u8, String> {
    text.chars()
        .try_fold(0, |sum, letter| {
            let bit = "FSRPAUEC".find(letter).ok_or_else(|| format!("`{letter}` is no TCP flag"))?;
            Ok(sum | 1 << bit)
        })
        .or_else(|error: String| if text == "-" { Ok(0) } else { Err(error) })
}

fn csum(text: &str) -> Result<Csum, String> {
    match text {
        "bad" => Ok(Csum::Bad),
        "zero" => Ok(Csum::Zero),
        "partial" => Ok(Csum::Partial),
        "verified" => Ok(Csum::Verified),
        other => Err(format!("`{other}` is not a state of a checksum")),
    }
}

/// `ID:OFFSET+LEN`, `ID:OFFSET+` up to the end, or `ID` for all in one fragment.
fn frag(text: &str) -> Result<Frag, String> {
    let (id, piece) = text.split_once(':').unwrap_or((text, "0+"));
    let (offset, len) = piece.split_once('+').ok_or("frag=ID:OFFSET+LEN")?;
    let len = if len.is_empty() { None } else { Some(int(len)? as usize) };
    let id = match id.strip_prefix('$') {
        Some(name) => FragId::Var(name.to_owned()),
        None => FragId::Is(int(id)?),
    };
    Ok(Frag { id, offset: int(offset)? as usize, len })
}

/// `hbh`, `dst`, `rh0` (no segments left) and `rh1`, each of minimum length.
fn extension(text: &str) -> Result<(u8, Vec<u8>), String> {
    match text {
        "hbh" => Ok((0, vec![0, 1, 4, 0, 0, 0, 0])),
        "dst" => Ok((60, vec![0, 1, 4, 0, 0, 0, 0])),
        "rh0" => Ok((43, vec![0, 4, 0, 0, 0, 0, 0])),
        "rh1" => Ok((43, vec![0, 4, 1, 0, 0, 0, 0])),
        "ah" => Ok((51, vec![0; 7])),
        other => Err(format!("`{other}` is not a supported extension header")),
    }
}
