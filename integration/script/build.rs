//! Converts a packet in scenario notation to its bytes, and learns names from bytes.
//!
//! All checksums and lengths are computed here, so that no code of the translator verifies itself.

use std::net::IpAddr;

use super::packet::{Body, Csum, Frag, FragId, Num, Packet, Quote, Vars};

/// Values that a packet in scenario notation leaves open.
#[derive(Clone, Copy)]
pub(crate) struct Blank<'a> {
    pub(crate) vars: &'a Vars,
    /// Default hop limit or TTL.
    pub(crate) hop: Option<u8>,
    /// The actual packet: supplies identifications, and hop limits if `hop` is `None`.
    pub(crate) actual: Option<&'a [u8]>,
    /// The input packet, for `{ ^ }`.
    pub(crate) input: &'a [u8],
}

const ICMP4: u8 = 1;
const ICMP6: u8 = 58;

/// The bytes of a packet.
pub(crate) fn build(packet: &Packet, blank: Blank<'_>) -> Result<Vec<u8>, String> {
    if let Body::Raw = packet.body {
        return Ok(packet.data.clone());
    }
    let (protocol, message) = message(packet, blank)?;
    let mut bytes = match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            header4(packet, blank, protocol, &message, src.octets(), dst.octets())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            header6(packet, blank, protocol, &message, src.octets(), dst.octets())
        }
        _ => return Err("two families in one packet".into()),
    };
    for (at, with) in &packet.poke {
        let target = bytes.get_mut(*at..at + with.len()).ok_or("poke beyond the packet")?;
        target.copy_from_slice(with);
    }
    bytes.truncate(packet.cut.unwrap_or(usize::MAX));
    bytes.resize(bytes.len() + packet.trailer, 0xee);
    Ok(bytes)
}

/// The part of the message that this fragment carries, and whether more fragments follow.
fn piece<'a>(message: &'a [u8], frag: Option<&Frag>) -> (&'a [u8], bool) {
    let Some(frag) = frag else { return (message, false) };
    let end = frag.len.map_or(message.len(), |len| frag.offset + len).min(message.len());
    (&message[frag.offset.min(end)..end], end < message.len())
}

fn frag_id(frag: &Frag, blank: Blank<'_>) -> u32 {
    match &frag.id {
        FragId::Is(id) => *id,
        FragId::Var(name) => blank.vars.get(name).copied().unwrap_or(0).into(),
    }
}

fn header4(
    p: &Packet,
    blank: Blank<'_>,
    protocol: u8,
    message: &[u8],
    src: [u8; 4],
    dst: [u8; 4],
) -> Vec<u8> {
    let (data, more) = piece(message, p.frag.as_ref());
    let header = 20 + p.opts.len().next_multiple_of(4);
    let actual = blank.actual.filter(|bytes| bytes.len() >= 20);
    let id = p
        .frag
        .as_ref()
        .map(|f| frag_id(f, blank) as u16)
        .or(p.id)
        .or_else(|| actual.map(|b| u16::from_be_bytes([b[4], b[5]])));
    let hop = p.hop.or(blank.hop).or_else(|| actual.map(|b| b[8])).unwrap_or(64);
    let mut out = vec![0x40 | (header / 4) as u8, p.tos];
    out.extend(((header + data.len()) as u16).to_be_bytes());
    out.extend(id.unwrap_or(0x4242).to_be_bytes());
    let offset = p.frag.as_ref().map_or(0, |f| f.offset / 8) as u16;
    let bits = u16::from(p.df) << 14 | u16::from(more) << 13 | offset;
    out.extend(bits.to_be_bytes());
    out.extend([hop, protocol, 0, 0]);
    out.extend(src);
    out.extend(dst);
    out.extend(&p.opts);
    out.resize(header, 0);
    let sum = !fold(add(0, &out));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend(data);
    out
}

fn header6(
    p: &Packet,
    blank: Blank<'_>,
    protocol: u8,
    message: &[u8],
    src: [u8; 16],
    dst: [u8; 16],
) -> Vec<u8> {
    let (data, more) = piece(message, p.frag.as_ref());
    let mut headers: Vec<(u8, Vec<u8>)> = p.ext.clone();
    if let Some(frag) = &p.frag {
        let mut fragment = vec![0];
        fragment.extend((frag.offset as u16 | u16::from(more)).to_be_bytes());
        fragment.extend(frag_id(frag, blank).to_be_bytes());
        headers.push((44, fragment));
    }
    let mut upper = Vec::new();
    for (n, (_, rest)) in headers.iter().enumerate() {
        upper.push(headers.get(n + 1).map_or(protocol, |(number, _)| *number));
        upper.extend(rest);
    }
    let actual = blank.actual.filter(|bytes| bytes.len() >= 40);
    let hop = p.hop.or(blank.hop).or_else(|| actual.map(|b| b[7])).unwrap_or(64);
    let word = 6 << 28 | u32::from(p.tos) << 20 | p.flow;
    let mut out = word.to_be_bytes().to_vec();
    out.extend(((upper.len() + data.len()) as u16).to_be_bytes());
    out.extend([headers.first().map_or(protocol, |(number, _)| *number), hop]);
    out.extend(src);
    out.extend(dst);
    out.extend(upper);
    out.extend(data);
    out
}

fn value(num: &Num, vars: &Vars) -> Result<u16, String> {
    match num {
        Num::Is(n) => Ok(*n),
        Num::Var(name) => vars.get(name).copied().ok_or_else(|| format!("nothing has shown ${name} yet")),
    }
}

/// Protocol number and transport message with its checksum.
fn message(p: &Packet, blank: Blank<'_>) -> Result<(u8, Vec<u8>), String> {
    let v4 = p.src.is_ipv4();
    let num = |n: &Num| value(n, blank.vars);
    let (protocol, mut out, at) = match &p.body {
        Body::Udp { src, dst } => {
            let mut out = [num(src)?.to_be_bytes(), num(dst)?.to_be_bytes()].concat();
            out.extend((8 + p.data.len() as u16).to_be_bytes());
            out.extend([0, 0]);
            (17, out, Some(6))
        }
        Body::Tcp { src, dst, flags, seq, ack, win, mss } => {
            let mut out = [num(src)?.to_be_bytes(), num(dst)?.to_be_bytes()].concat();
            out.extend(seq.to_be_bytes());
            out.extend(ack.to_be_bytes());
            out.extend([if mss.is_some() { 0x60 } else { 0x50 }, *flags]);
            out.extend(win.to_be_bytes());
            out.extend([0; 4]);
            if let Some(mss) = mss {
                out.extend([2, 4]);
                out.extend(mss.to_be_bytes());
            }
            (6, out, Some(16))
        }
        Body::Echo { id, seq, reply } => {
            let kind = if v4 { [8, 0] } else { [128, 129] }[usize::from(*reply)];
            let mut out = vec![kind, 0, 0, 0];
            out.extend(num(id)?.to_be_bytes());
            out.extend(seq.to_be_bytes());
            (if v4 { ICMP4 } else { ICMP6 }, out, Some(2))
        }
        Body::Icmp { kind, code, word, quote } => {
            let mut out = vec![*kind, *code, 0, 0];
            out.extend(word.to_be_bytes());
            out.extend(quoted(p, quote.as_ref(), blank)?);
            (if v4 { ICMP4 } else { ICMP6 }, out, Some(2))
        }
        Body::Proto(number) => (*number, Vec::new(), None),
        Body::Raw => return Err("raw bytes have no message".into()),
    };
    out.extend(&p.data);
    if let Some(at) = at {
        let sum = checksum(p, protocol, &out);
        out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    Ok((protocol, out))
}

fn quoted(p: &Packet, quote: Option<&Quote>, blank: Blank<'_>) -> Result<Vec<u8>, String> {
    match quote {
        None => Ok(Vec::new()),
        Some(Quote::Input) => {
            let room = if p.src.is_ipv4() { 576 - 28 } else { 1280 - 48 };
            Ok(blank.input[..blank.input.len().min(room)].to_vec())
        }
        Some(Quote::Packet(inner)) => {
            let actual = blank.actual.and_then(|bytes| bytes.get(transport(bytes)?.1 + 8..));
            build(inner, Blank { hop: Some(64), actual, ..blank })
        }
    }
}

fn checksum(p: &Packet, protocol: u8, message: &[u8]) -> u16 {
    let len = (message.len() as u32).to_be_bytes();
    let pseudo = match (p.src, p.dst) {
        (IpAddr::V4(_), _) if protocol == ICMP4 => 0,
        (IpAddr::V4(src), IpAddr::V4(dst)) => add(add(0, &src.octets()), &dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => add(add(0, &src.octets()), &dst.octets()),
        _ => 0,
    };
    let pseudo = match p.src {
        IpAddr::V4(_) if protocol == ICMP4 => 0,
        _ => add(pseudo, &[0, protocol]) + u64::from(fold(add(0, &len))),
    };
    // UDP sends a computed 0 as 0xffff (RFC 768).
    let computed = |sum: u16| if sum == 0 && protocol == 17 { 0xffff } else { sum };
    let good = computed(!fold(add(pseudo, message)));
    match p.csum {
        Csum::Good | Csum::Verified => good,
        Csum::Bad => computed(!fold(u64::from(!good) + 0x1111)),
        Csum::Zero => 0,
        Csum::Partial => fold(pseudo),
    }
}

/// Adds 16-bit words.
pub(crate) fn add(sum: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(2).fold(sum, |sum, w| sum + (u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0))))
}

pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Protocol and offset of the transport header, if the packet has one.
pub(crate) fn transport(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes.first()? >> 4 {
        4 if bytes.len() >= 20 => {
            let later = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff != 0;
            (!later).then_some((bytes[9], usize::from(bytes[0] & 15) * 4))
        }
        6 if bytes.len() >= 40 => {
            let (mut next, mut at) = (bytes[6], 40);
            while matches!(next, 0 | 43 | 44 | 60) {
                let header = bytes.get(at..at + 8)?;
                if next == 44 && u16::from_be_bytes([header[2], header[3]]) & 0xfff8 != 0 {
                    return None;
                }
                let len = if next == 44 { 8 } else { 8 + usize::from(header[1]) * 8 };
                (next, at) = (header[0], at + len);
            }
            Some((next, at))
        }
        _ => None,
    }
}

/// Learns from `actual` the values that `written` leaves open.
pub(crate) fn learn(written: &Packet, actual: &[u8], vars: &mut Vars) {
    if let (Some(Frag { id: FragId::Var(name), .. }), Some(id)) = (&written.frag, actual.get(4..6)) {
        vars.entry(name.clone()).or_insert_with(|| u16::from_be_bytes([id[0], id[1]]));
    }
    let Some((_, at)) = transport(actual) else { return };
    let mut bind = |num: &Num, from: usize| {
        if let (Num::Var(name), Some(field)) = (num, actual.get(at + from..at + from + 2)) {
            let value = u16::from_be_bytes([field[0], field[1]]);
            if name == "_" {
                vars.insert(name.clone(), value);
            } else {
                vars.entry(name.clone()).or_insert(value);
            }
        }
    };
    match &written.body {
        Body::Udp { src, dst } | Body::Tcp { src, dst, .. } => {
            bind(src, 0);
            bind(dst, 2);
        }
        Body::Echo { id, .. } => bind(id, 4),
        Body::Icmp { quote: Some(Quote::Packet(inner)), .. } => {
            if let Some(rest) = actual.get(at + 8..) {
                learn(inner, rest, vars);
            }
        }
        Body::Icmp { .. } | Body::Proto(_) | Body::Raw => {}
    }
}
