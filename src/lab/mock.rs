//! An upstream that does what the name it is asked about says: `gate64 lab upstream`. For tests and
//! measurements of the DNS64, which need one that drops, delays, cuts and lies.
//!
//! The labels of a name, in any order and mixed with others, say what happens:
//!
//! | label | what the upstream does |
//! |---|---|
//! | (none) | A records, and a denial of AAAA |
//! | `dual` | AAAA records too |
//! | `big` | sixty records of each type it has |
//! | `drop` | never answers AAAA |
//! | `lossy` | never answers AAAA of five names in a hundred |
//! | `late` | answers half a second late |
//! | `fail`, `refuse` | answers AAAA with SERVFAIL, REFUSED |
//! | `cut` | answers over UDP empty, with TC |
//! | `lie` | first sends answers with a wrong id, a wrong name, and from a wrong port |
//! | `careless` | answers with the name in small letters |
//! | `gone` | NXDOMAIN |
//!
//! `TXT count.` is answered with how many queries of each type came, over UDP and over TCP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::LabError;
use crate::dns64::wire::{self, flag, rcode, rr};

/// Seconds that records live, and denials.
const TTL: u8 = 200;
const DENIAL: u8 = 60;
/// How late a late answer is.
const LATE: Duration = Duration::from_millis(500);
const TXT: u16 = 16;

#[derive(Debug, Default)]
struct Count {
    a: AtomicU64,
    aaaa: AtomicU64,
    other: AtomicU64,
    tcp: AtomicU64,
}

/// What a name asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Wish {
    dual: bool,
    big: bool,
    silent: bool,
    late: bool,
    code: u16,
    cut: bool,
    lie: bool,
    careless: bool,
}

fn wish(name: &[u8], kind: u16) -> Wish {
    let mut wish = Wish::default();
    let aaaa = kind == rr::AAAA;
    for label in wire::labels(name) {
        match &*label.to_ascii_lowercase() {
            b"dual" => wish.dual = true,
            b"big" => wish.big = true,
            b"drop" => wish.silent |= aaaa,
            b"lossy" => wish.silent |= aaaa && spread(name).is_multiple_of(20),
            b"late" => wish.late = true,
            b"fail" if aaaa => wish.code = rcode::SERVFAIL,
            b"refuse" if aaaa => wish.code = rcode::REFUSED,
            b"cut" => wish.cut = true,
            b"lie" => wish.lie = true,
            b"careless" => wish.careless = true,
            b"gone" => wish.code = rcode::NXDOMAIN,
            _ => {}
        }
    }
    wish
}

/// A number that is the same whenever a name is asked (FNV-1a).
fn spread(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3)
    })
}

/// The answer to a query, written into `out`, and what the name wishes. `None` if it is no query.
fn answer(query: &[u8], count: &Count, out: &mut Vec<u8>) -> Option<Wish> {
    let question = wire::question(query)?;
    let name = &query[question.start..question.end - 4];
    let kind = wire::u16_at(query, question.end - 4)?;
    let counter = match kind {
        rr::A => &count.a,
        rr::AAAA => &count.aaaa,
        _ => &count.other,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let wish = wish(name, kind);
    out.clear();
    out.extend_from_slice(&query[..question.end]);
    if wish.careless {
        out[question].make_ascii_lowercase();
    }
    let rd = wire::u16_at(query, 2)? & flag::RD;
    wire::set_u16(out, 2, flag::QR | flag::RA | rd | wish.code);
    out[6..wire::HEADER].fill(0);
    let records = if wish.big { 60 } else { 1 };
    match kind {
        _ if wish.code != 0 => {}
        rr::A => (0..records).for_each(|n| record(out, rr::A, &[198, 51, 100, 80 + n])),
        rr::AAAA if wish.dual => (0..records).for_each(|n| {
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
        deny(out);
    }
    if query[11] == 1 {
        wire::push_opt(out, 0, false, &[]);
    }
    Some(wish)
}

/// Appends a record of the name in the question.
fn record(out: &mut Vec<u8>, kind: u16, data: &[u8]) {
    let [high, low] = kind.to_be_bytes();
    out.extend_from_slice(&[0xc0, 12, high, low, 0, 1, 0, 0, 0, TTL, 0, data.len() as u8]);
    out.extend_from_slice(data);
    out[7] += 1;
}

/// Appends the SOA record of the name above, which says how long nothing is there.
fn deny(out: &mut Vec<u8>) {
    // The first label is skipped, unless the name is the root's.
    let parent = wire::HEADER + usize::from(out[wire::HEADER]) + usize::from(out[wire::HEADER] > 0);
    let owner = 0xc0 | (parent >> 8) as u8;
    out.extend_from_slice(&[owner, parent as u8, 0, 6, 0, 1, 0, 0, 0, DENIAL, 0, 22, 0, 0]);
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 2, 88, 0, 1, 81, 128, 0, 0, 0, DENIAL]);
    out[9] = 1;
}

/// Serves until it is ended.
///
/// # Errors
/// If an address can't be listened on.
pub(super) fn serve(listen: &[SocketAddr]) -> Result<(), LabError> {
    let count = Arc::new(Count::default());
    let mut serving = Vec::new();
    for addr in listen {
        let failed = |error| LabError::io(addr.to_string())(error);
        let udp = UdpSocket::bind(addr).map_err(failed)?;
        let tcp = TcpListener::bind(addr).map_err(failed)?;
        let of = Arc::clone(&count);
        serving.push(thread::spawn(move || datagrams(&udp, &of)));
        let of = Arc::clone(&count);
        serving.push(thread::spawn(move || connections(&tcp, &of)));
    }
    for one in serving {
        one.join().map_err(|_| LabError::Story("the upstream has ended".to_owned()))?;
    }
    Ok(())
}

fn datagrams(socket: &UdpSocket, count: &Count) {
    let (mut query, mut out) = ([0; 4_096], Vec::new());
    loop {
        let Ok((len, from)) = socket.recv_from(&mut query) else { continue };
        let Some(wish) = answer(&query[..len], count, &mut out) else { continue };
        if wish.silent {
            continue;
        }
        if wish.cut || out.len() > usize::from(wire::UDP_SIZE) {
            out.truncate(wire::question(&out).map_or(out.len(), |question| question.end));
            out[2] |= (flag::TC >> 8) as u8;
            out[6..wire::HEADER].fill(0);
        }
        if wish.lie {
            lie(socket, &out, from);
        }
        // Who can't be reached asks again.
        if wish.late {
            let (Ok(socket), out) = (socket.try_clone(), out.clone()) else { continue };
            thread::spawn(move || {
                thread::park_timeout(LATE);
                socket.send_to(&out, from)
            });
        } else {
            let _ = socket.send_to(&out, from);
        }
    }
}

/// What somebody would send who can't see the query.
fn lie(socket: &UdpSocket, truth: &[u8], to: SocketAddr) {
    let mut lie = truth.to_vec();
    if let Some(last) = lie.len().checked_sub(12) {
        lie[last] = 66;
    }
    let mut wrong_id = lie.clone();
    wrong_id[1] ^= 1;
    let mut wrong_name = lie.clone();
    wrong_name[wire::HEADER + 1] ^= 2;
    for lie in [&wrong_id, &wrong_name] {
        let _ = socket.send_to(lie, to);
    }
    let elsewhere = socket.local_addr().and_then(|own| UdpSocket::bind((own.ip(), 0)));
    let _ = elsewhere.and_then(|elsewhere| elsewhere.send_to(&lie, to));
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
        if let Some(wish) = answer(&query, count, &mut out)
            && !wish.silent
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

    fn ask(name: &str, kind: AddressKind) -> (Wish, Vec<u8>) {
        let query = address_query(7, name, kind).unwrap();
        let mut out = Vec::new();
        (answer(&query, &Count::default(), &mut out).unwrap(), out)
    }

    #[test]
    fn names_say_what_happens() {
        let (_, plain) = ask("www.example.", AddressKind::A);
        assert_eq!(addresses(&plain), [("198.51.100.80".parse().unwrap(), u32::from(TTL))]);
        assert!(addresses(&ask("www.example.", AddressKind::Aaaa).1).is_empty());
        let native = addresses(&ask("www.dual.example.", AddressKind::Aaaa).1);
        assert_eq!(native, [("2001:db8:80::80".parse().unwrap(), u32::from(TTL))]);
        assert_eq!(addresses(&ask("big.example.", AddressKind::A).1).len(), 60);
        assert!(ask("drop.example.", AddressKind::Aaaa).0.silent);
        assert!(!ask("drop.example.", AddressKind::A).0.silent);
        let dropped = (0..2_000).filter(|n| ask(&format!("n{n}.lossy."), AddressKind::Aaaa).0.silent).count();
        assert!((60..=140).contains(&dropped), "{dropped}");
    }

    #[test]
    fn denials_are_whole_messages() {
        let (_, denial) = ask("www.example.", AddressKind::Aaaa);
        assert_eq!(wire::layout(&denial).unwrap().end, denial.len());
        assert_eq!(wire::rcode_of(&ask("gone.example.", AddressKind::A).1), rcode::NXDOMAIN);
    }
}
