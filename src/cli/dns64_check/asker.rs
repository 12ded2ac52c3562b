//! Sends one query and parses the answer.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns64::wire::{self, Opt, flag, rr};

/// Record types that only these checks read.
pub(super) const CNAME: u16 = 5;
pub(super) const TXT: u16 = 16;
pub(super) const RRSIG: u16 = 46;
pub(super) const SVCB: u16 = 64;
pub(super) const HTTPS: u16 = 65;

/// Options of a query besides name and type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Bits {
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) tcp: bool,
    /// EDNS version 1, which does not exist.
    pub(super) version_1: bool,
}

/// A record of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

/// A parsed answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) truncated: bool,
    pub(super) authentic: bool,
    pub(super) edns: bool,
    pub(super) answers: Vec<Record>,
    pub(super) elapsed: Duration,
}

impl Reply {
    /// The AAAA addresses in it.
    pub(super) fn v6(&self) -> Vec<Ipv6Addr> {
        let of = |record: &Record| Some(Ipv6Addr::from(*record.data.first_chunk::<16>()?));
        self.answers.iter().filter(|record| record.kind == rr::AAAA).filter_map(of).collect()
    }

    /// The A addresses in it.
    pub(super) fn v4(&self) -> Vec<Ipv4Addr> {
        let of = |record: &Record| Some(Ipv4Addr::from(*record.data.first_chunk::<4>()?));
        self.answers.iter().filter(|record| record.kind == rr::A).filter_map(of).collect()
    }

    pub(super) fn has(&self, kind: u16) -> bool {
        self.answers.iter().any(|record| record.kind == kind)
    }

    /// A short form for the table.
    pub(super) fn said(&self) -> String {
        let code = match self.code {
            wire::rcode::NOERROR => "NOERROR".to_owned(),
            wire::rcode::FORMERR => "FORMERR".to_owned(),
            wire::rcode::SERVFAIL => "SERVFAIL".to_owned(),
            wire::rcode::NXDOMAIN => "NXDOMAIN".to_owned(),
            wire::rcode::REFUSED => "REFUSED".to_owned(),
            wire::rcode::BADVERS => "BADVERS".to_owned(),
            code => format!("code {code}"),
        };
        let addresses = self.v6().into_iter().map(IpAddr::V6).chain(self.v4().into_iter().map(IpAddr::V4));
        let mut said = code;
        for addr in addresses.take(4) {
            said.push_str(&format!(" {addr}"));
        }
        if self.answers.len() > 4 {
            said.push_str(&format!(" ({} records)", self.answers.len()));
        }
        if self.truncated {
            said.push_str(" TC");
        }
        said
    }
}

/// Queries one server.
#[derive(Debug)]
pub(super) struct Asker {
    server: SocketAddr,
    timeout: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a command-line tool that measures response times")]
fn now() -> Instant {
    Instant::now()
}

impl Asker {
    pub(super) const fn new(server: SocketAddr, timeout: Duration) -> Self {
        Self { server, timeout }
    }

    /// Queries `name` for `kind`. `None` if no answer arrives in time, or it is malformed.
    pub(super) fn ask(&self, name: &str, kind: u16, bits: Bits) -> Option<Reply> {
        let name = wire::name_of(name)?;
        let cd = if bits.checking_disabled { flag::CD } else { 0 };
        let mut query = wire::upstream_query(&name, kind, rr::IN, flag::RD | cd, bits.dnssec_ok);
        // AD clear: one check is whether the server sets it unrequested.
        wire::set_u16(&mut query, 2, flag::RD | cd);
        if bits.version_1 {
            let at = query.len() - 11;
            query[at + 6] = 1;
        }
        let began = now();
        let id = getrandom::u32().ok()? as u16;
        wire::set_u16(&mut query, 0, id);
        let answer = if bits.tcp { self.over_tcp(&query) } else { self.over_udp(&query) }.ok()?;
        let elapsed = now().duration_since(began);
        read(&answer, elapsed)
    }

    /// Sends queries for these names back to back on one connection (RFC 7766 §6.2.1.1), and then closes the
    /// sending direction if `half_closes`. Returns how many different answers arrive.
    pub(super) fn pipelined(&self, names: &[&str], kind: u16, half_closes: bool) -> usize {
        self.try_pipelined(names, kind, half_closes).map_or(0, |ids| ids.len())
    }

    fn try_pipelined(&self, names: &[&str], kind: u16, half_closes: bool) -> io::Result<BTreeSet<u16>> {
        let mut stream = TcpStream::connect_timeout(&self.server, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        let mut queries = Vec::new();
        for (id, name) in (1..).zip(names) {
            let name = wire::name_of(name).ok_or(io::ErrorKind::InvalidInput)?;
            let mut query = wire::upstream_query(&name, kind, rr::IN, flag::RD, false);
            wire::set_u16(&mut query, 0, id);
            queries.extend_from_slice(&u16::try_from(query.len()).map_err(io::Error::other)?.to_be_bytes());
            queries.extend_from_slice(&query);
        }
        stream.write_all(&queries)?;
        if half_closes {
            stream.shutdown(Shutdown::Write)?;
        }
        let mut ids = BTreeSet::new();
        while ids.len() < names.len() {
            let Ok(answer) = read_framed(&mut stream) else { break };
            ids.extend(wire::u16_at(&answer, 0));
        }
        Ok(ids)
    }

    fn over_udp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(self.server)?;
        let end = now() + self.timeout;
        socket.send(query)?;
        let mut answer = vec![0; 65_535];
        loop {
            let left = end.checked_duration_since(now()).filter(|left| !left.is_zero());
            socket.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
            let len = socket.recv(&mut answer)?;
            if answer[..len].get(..2) == query.get(..2) {
                answer.truncate(len);
                return Ok(answer);
            }
        }
    }

    fn over_tcp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.server, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        let len = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), query].concat())?;
        read_framed(&mut stream)
    }
}

fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn read(answer: &[u8], elapsed: Duration) -> Option<Reply> {
    let layout = wire::layout(answer)?;
    let flags = wire::u16_at(answer, 2)?;
    let edns = layout.opt.and_then(|opt| Opt::read(answer, &opt.at)).is_some();
    let record = |record: wire::Record| {
        let owner = wire::text_of(&wire::name_at(answer, record.at)?);
        let data = answer[record.data].to_vec();
        Some(Record { owner, kind: record.kind, ttl: record.ttl, data })
    };
    Some(Reply {
        code: wire::rcode_of(answer),
        truncated: flags & flag::TC != 0,
        authentic: flags & flag::AD != 0,
        edns,
        answers: wire::answers(answer).filter_map(record).collect(),
        elapsed,
    })
}
