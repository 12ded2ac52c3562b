//! `gate64 lab upstream`: an upstream resolver whose errors the queried name selects, for tests and
//! measurements of DNS64.
//!
//! Labels of the name select its behaviour, in any order and mixed with other labels:
//!
//! | label | behaviour |
//! |---|---|
//! | (none) | answers A; AAAA is NODATA |
//! | `dual` | answers AAAA too |
//! | `big` | answers with 60 records of the type |
//! | `drop` | never answers AAAA |
//! | `lossy` | never answers AAAA of 5 % of the names |
//! | `late` | answers after 0.5 s |
//! | `fail`, `refuse` | answers AAAA with SERVFAIL, REFUSED |
//! | `cut` | truncates answers over UDP (TC, no records) |
//! | `lie` | first sends forged answers: wrong ID, wrong name, wrong source port |
//! | `careless` | answers with the name in lowercase |
//! | `gone` | NXDOMAIN |
//!
//! `TXT count.` returns the number of queries received, by type and over TCP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::LabError;
use crate::dns64::wire::{self, flag, rcode, rr};

/// TTL of records and of negative answers, in seconds.
const TTL: u8 = 200;
const NEGATIVE_TTL: u8 = 60;
/// Delay of a `late` answer.
const DELAY: Duration = Duration::from_millis(500);
const TXT: u16 = 16;

#[derive(Debug, Default)]
struct Count {
    a: AtomicU64,
    aaaa: AtomicU64,
    other: AtomicU64,
    tcp: AtomicU64,
}

/// The behaviour that a name selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Behaviour {
    dual: bool,
    big: bool,
    dropped: bool,
    late: bool,
    code: u16,
    truncated: bool,
    forged: bool,
    lowercase: bool,
}

fn behaviour(name: &[u8], kind: u16) -> Behaviour {
    let mut behaviour = Behaviour::default();
    let aaaa = kind == rr::AAAA;
    for label in wire::labels(name) {
        match &*label.to_ascii_lowercase() {
            b"dual" => behaviour.dual = true,
            b"big" => behaviour.big = true,
            b"drop" => behaviour.dropped |= aaaa,
            b"lossy" => behaviour.dropped |= aaaa && hash(name).is_multiple_of(20),
            b"late" => behaviour.late = true,
            b"fail" if aaaa => behaviour.code = rcode::SERVFAIL,
            b"refuse" if aaaa => behaviour.code = rcode::REFUSED,
            b"cut" => behaviour.truncated = true,
            b"lie" => behaviour.forged = true,
            b"careless" => behaviour.lowercase = true,
            b"gone" => behaviour.code = rcode::NXDOMAIN,
            _ => {}
        }
    }
    behaviour
}

/// A hash of the name that ignores case (FNV-1a).
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3)
    })
}

/// Writes the answer to `query` into `out`. Returns the selected behaviour; `None` if it is not a query.
fn answer(query: &[u8], count: &Count, out: &mut Vec<u8>) -> Option<Behaviour> {
    let question = wire::question(query)?;
    let name = &query[question.start..question.end - 4];
    let kind = wire::u16_at(query, question.end - 4)?;
    let counter = match kind {
        rr::A => &count.a,
        rr::AAAA => &count.aaaa,
        _ => &count.other,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let behaviour = behaviour(name, kind);
    out.clear();
    out.extend_from_slice(&query[..question.end]);
    if behaviour.lowercase {
        out[question].make_ascii_lowercase();
    }
    let rd = wire::u16_at(query, 2)? & flag::RD;
    wire::set_u16(out, 2, flag::QR | flag::RA | rd | behaviour.code);
    out[6..wire::HEADER].fill(0);
    let records = if behaviour.big { 60 } else { 1 };
    match kind {
        _ if behaviour.code != 0 => {}
        rr::A => (0..records).for_each(|n| record(out, rr::A, &[198, 51, 100, 80 + n])),
        rr::AAAA if behaviour.dual => (0..records).for_each(|n| {
            record(out, rr::AAAA, &[0x20, 1, 0x0d, 0xb8, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80 + n]);
        }),
        TXT if name == b"\x05count\x00" => {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let [a, aaaa, other, tcp] = [&count.a, &count.aaaa, &count.other, &count.tcp].map(read);
            let text = format!("A={a} AAAA={aaaa} other={other} TCP={tcp}");
            record(out, TXT, &[&[text.len() as u8], text.as_bytes()].concat());
        }
        _ => {}
    }
    if out[7] == 0 {
        push_soa(out);
    }
    if query[11] == 1 {
        wire::push_opt(out, 0, false, &[]);
    }
    Some(behaviour)
}

/// Appends a record whose owner is the name in the question.
fn record(out: &mut Vec<u8>, kind: u16, data: &[u8]) {
    let [high, low] = kind.to_be_bytes();
    out.extend_from_slice(&[0xc0, 12, high, low, 0, 1, 0, 0, 0, TTL, 0, data.len() as u8]);
    out.extend_from_slice(data);
    out[7] += 1;
}

/// Appends an SOA record of the parent name, which sets the negative TTL.
fn push_soa(out: &mut Vec<u8>) {
    // The first label is skipped, unless the name is the root's.
    let parent = wire::HEADER + usize::from(out[wire::HEADER]) + usize::from(out[wire::HEADER] > 0);
    let owner = 0xc0 | (parent >> 8) as u8;
    out.extend_from_slice(&[owner, parent as u8, 0, 6, 0, 1, 0, 0, 0, NEGATIVE_TTL, 0, 22, 0, 0]);
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 2, 88, 0, 1, 81, 128, 0, 0, 0, NEGATIVE_TTL]);
    out[9] = 1;
}

/// Serves until the process is killed.
///
/// # Errors
/// If a listen address cannot be bound.
pub(super) fn serve(listen: &[SocketAddr]) -> Result<(), LabError> {
    let count = Arc::new(Count::default());
    let mut serving = Vec::new();
    for addr in listen {
        let failed = |error| LabError::io(addr.to_string())(error);
        let udp = UdpSocket::bind(addr).map_err(failed)?;
        let tcp = TcpListener::bind(addr).map_err(failed)?;
        let counts = Arc::clone(&count);
        serving.push(thread::spawn(move || datagrams(&udp, &counts)));
        let counts = Arc::clone(&count);
        serving.push(thread::spawn(move || connections(&tcp, &counts)));
    }
    for one in serving {
        one.join().map_err(|_| LabError::DemoFailed("the upstream has ended".to_owned()))?;
    }
    Ok(())
}

fn datagrams(socket: &UdpSocket, count: &Count) {
    let (mut query, mut out) = ([0; 4_096], Vec::new());
    loop {
        let Ok((len, from)) = socket.recv_from(&mut query) else { continue };
        let Some(behaviour) = answer(&query[..len], count, &mut out) else { continue };
        if behaviour.dropped {
            continue;
        }
        if behaviour.truncated || out.len() > usize::from(wire::UDP_SIZE) {
            out.truncate(wire::question(&out).map_or(out.len(), |question| question.end));
            out[2] |= (flag::TC >> 8) as u8;
            out[6..wire::HEADER].fill(0);
        }
        if behaviour.forged {
            forge(socket, &out, from);
        }
        // Send errors are ignored: the client retries.
        if behaviour.late {
            let (Ok(socket), out) = (socket.try_clone(), out.clone()) else { continue };
            thread::spawn(move || {
                thread::park_timeout(DELAY);
                socket.send_to(&out, from)
            });
        } else {
            let _ = socket.send_to(&out, from);
        }
    }
}

/// Sends the answers of an off-path attacker, who does not see the query.
fn forge(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    let mut forged = answer.to_vec();
    if let Some(last) = forged.len().checked_sub(12) {
        forged[last] = 66;
    }
    let mut wrong_id = forged.clone();
    wrong_id[1] ^= 1;
    let mut wrong_name = forged.clone();
    wrong_name[wire::HEADER + 1] ^= 2;
    for message in [&wrong_id, &wrong_name] {
        let _ = socket.send_to(message, to);
    }
    let elsewhere = socket.local_addr().and_then(|own| UdpSocket::bind((own.ip(), 0)));
    let _ = elsewhere.and_then(|elsewhere| elsewhere.send_to(&forged, to));
}

fn connections(listener: &TcpListener, count: &Arc<Count>) {
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        let count = Arc::clone(count);
        thread::spawn(move || connection(stream, &count));
    }
}

fn connection(mut stream: TcpStream, count: &Count) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut query)?;
        count.tcp.fetch_add(1, Ordering::Relaxed);
        if let Some(behaviour) = answer(&query, count, &mut out)
            && !behaviour.dropped
        {
            let len = u16::try_from(out.len()).unwrap_or(0).to_be_bytes();
            stream.write_all(&[&len, &*out].concat())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns64::{AddressKind, address_query, addresses};

    fn ask(name: &str, kind: AddressKind) -> (Behaviour, Vec<u8>) {
        let query = address_query(7, name, kind).unwrap();
        let mut out = Vec::new();
        (answer(&query, &Count::default(), &mut out).unwrap(), out)
    }

    #[test]
    fn labels_select_the_behaviour() {
        let (_, plain) = ask("www.example.", AddressKind::A);
        assert_eq!(addresses(&plain), [("198.51.100.80".parse().unwrap(), u32::from(TTL))]);
        assert!(addresses(&ask("www.example.", AddressKind::Aaaa).1).is_empty());
        let native = addresses(&ask("www.dual.example.", AddressKind::Aaaa).1);
        assert_eq!(native, [("2001:db8:80::80".parse().unwrap(), u32::from(TTL))]);
        assert_eq!(addresses(&ask("big.example.", AddressKind::A).1).len(), 60);
        assert!(ask("drop.example.", AddressKind::Aaaa).0.dropped);
        assert!(!ask("drop.example.", AddressKind::A).0.dropped);
        let dropped =
            (0..2_000).filter(|n| ask(&format!("n{n}.lossy."), AddressKind::Aaaa).0.dropped).count();
        assert!((60..=140).contains(&dropped), "{dropped}");
    }

    #[test]
    fn negative_answers_are_well_formed() {
        let (_, negative) = ask("www.example.", AddressKind::Aaaa);
        assert_eq!(wire::layout(&negative).unwrap().end, negative.len());
        assert_eq!(wire::rcode_of(&ask("gone.example.", AddressKind::A).1), rcode::NXDOMAIN);
    }
}
