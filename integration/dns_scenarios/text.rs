//! DNS messages in the notation of the scenarios. A syntax error panics, since it is an error of the test.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use gate64::addr::{Ipv4Prefix, Ipv6Prefix};
use gate64::dns64::{Answer, Mapping, Transmit};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, NULL, PTR, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

const EDE: u16 = 15;
const DNAME: u16 = 39;

fn read<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("can't parse {text:?}"))
}

pub(super) fn number<T: FromStr>(text: &str) -> T {
    read(text)
}

pub(super) fn address(text: &str) -> IpAddr {
    read(text)
}

pub(super) fn prefix6(text: &str) -> Ipv6Prefix {
    read(text)
}

pub(super) fn prefix4(text: &str) -> Ipv4Prefix {
    read(text)
}

pub(super) fn upstream(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

pub(super) fn mapping(text: &str) -> Mapping {
    let (pref64, only) = text.split_once('@').map_or((text, None), |(p, only)| (p, Some(only)));
    Mapping { pref64: read(pref64), only: only.map(read) }
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap_or_else(|_| panic!("{text:?} is not a name"))
}

pub(super) fn question(words: &[&str]) -> Result<Message, String> {
    let [kind, asked, ..] = words else { return Err("a question is a type and a name".to_owned()) };
    let kind = kind.parse::<RecordType>().map_err(|e| e.to_string())?;
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(name(asked), kind));
    Ok(message)
}

pub(super) fn edns(message: &mut Message) -> &mut Edns {
    message.edns.get_or_insert_with(|| {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        edns
    })
}

pub(super) fn add_error(message: &mut Message, code: u16) {
    edns(message).options_mut().insert(EdnsOption::Unknown(EDE, code.to_be_bytes().to_vec()));
}

/// The codes of a message's extended errors (RFC 8914).
pub(crate) fn errors(message: &Message) -> impl Iterator<Item = u16> {
    let options = message.edns.as_ref().map_or(&[][..], |edns| &edns.options().options[..]);
    options.iter().filter_map(|(_, option)| match option {
        EdnsOption::Unknown(EDE, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    })
}

/// An upstream query in the notation of the scenarios. Checks the flags that every query must have.
pub(super) fn key(ask: &Transmit) -> String {
    let message = Message::from_vec(&ask.query).expect("our own query");
    let question = &message.queries[0];
    assert!(message.metadata.authentic_data, "AD asks for AD (RFC 6840)");
    assert_eq!(message.edns.as_ref().map(Edns::max_payload), Some(1232));
    let mut text = format!("{} {}", question.query_type, question.name);
    if message.edns.is_some_and(|e| e.flags().dnssec_ok) {
        text += " do";
    }
    if message.metadata.checking_disabled {
        text += " cd";
    }
    if !message.metadata.recursion_desired {
        text += " norec";
    }
    if question.query_class != DNSClass::IN {
        let _ = write!(text, " class={}", question.query_class);
    }
    let IpAddr::V4(to) = ask.upstream.ip() else { unreachable!("scenarios have IPv4 upstreams") };
    let _ = write!(text, " to={}", to.octets()[3]);
    text
}

pub(super) fn code_of(word: &str) -> Option<ResponseCode> {
    Some(match word {
        "noerror" => ResponseCode::NoError,
        "formerr" => ResponseCode::FormErr,
        "servfail" => ResponseCode::ServFail,
        "nxdomain" => ResponseCode::NXDomain,
        "notimp" => ResponseCode::NotImp,
        "refused" => ResponseCode::Refused,
        "badvers" => ResponseCode::BADVERS,
        _ => return None,
    })
}

fn code_text(code: ResponseCode) -> String {
    let word = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "badvers"];
    let found = word.into_iter().find(|w| code_of(w).is_some_and(|c| u16::from(c) == u16::from(code)));
    found.map_or_else(|| format!("{code:?}"), str::to_owned)
}

/// An answer in the notation of the scenarios.
pub(super) fn text_of(answer: &Answer) -> String {
    let message = Message::from_vec(&answer.message).expect("our own answer");
    let meta = &message.metadata;
    assert_eq!(meta.id, 0x6464);
    assert_eq!(meta.message_type, MessageType::Response);
    assert!(meta.recursion_available);
    assert_eq!(answer.truncated, meta.truncation);
    let mut text = code_text(meta.response_code);
    let flags = [
        (meta.authoritative, "aa"),
        (meta.truncation, "tc"),
        (meta.authentic_data, "ad"),
        (meta.checking_disabled, "cd"),
        (!meta.recursion_desired, "norec"),
        (message.edns.is_some(), "edns"),
        (message.edns.as_ref().is_some_and(|e| e.flags().dnssec_ok), "do"),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        let _ = write!(text, " {flag}");
    }
    for code in errors(&message) {
        let _ = write!(text, " ede={code}");
    }
    if message.queries.is_empty() {
        text += " noquestion";
    }
    let _ = write!(text, " {}", answer.outcome);
    let sections = [("an", &message.answers), ("au", &message.authorities), ("ad", &message.additionals)];
    for (section, records) in sections {
        for record in records {
            let _ = write!(text, "\n  {section} {}", record_text(record));
        }
    }
    text
}

/// `NAME TTL TYPE DATA`. A SOA record has only MINIMUM, an RRSIG only the type covered.
pub(super) fn parse_record(text: &str) -> Result<Record, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [owner, ttl, kind, data @ ..] = &words[..] else { return Err(format!("not a record: {text}")) };
    let data = data.first().copied().unwrap_or_default();
    let raw = |code, bytes| RData::Unknown { code, rdata: NULL::with(bytes) };
    let data = match *kind {
        "A" => RData::A(A(read(data))),
        "AAAA" => RData::AAAA(AAAA(read(data))),
        "CNAME" => RData::CNAME(CNAME(name(data))),
        "NS" => RData::NS(NS(name(data))),
        "PTR" => RData::PTR(PTR(name(data))),
        "TXT" => RData::TXT(TXT::new(vec![data.to_owned()])),
        "SOA" => RData::SOA(SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, read(data))),
        "RRSIG" => {
            let mut bytes = u16::from(read::<RecordType>(data)).to_be_bytes().to_vec();
            bytes.extend([8; 30]);
            raw(RecordType::RRSIG, bytes)
        }
        "DNAME" => {
            let labels = data.trim_end_matches('.').split('.');
            let mut bytes: Vec<u8> = labels.flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
            bytes.push(0);
            raw(RecordType::from(DNAME), bytes)
        }
        other => {
            let code = other.parse::<RecordType>().map_err(|e| e.to_string())?;
            raw(code, data.as_bytes().to_vec())
        }
    };
    Ok(Record::from_rdata(name(owner), read(ttl), data))
}

fn record_text(record: &Record) -> String {
    let data = match &record.data {
        RData::SOA(soa) => soa.minimum.to_string(),
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            RecordType::from(u16::from_be_bytes([rdata.anything[0], rdata.anything[1]])).to_string()
        }
        RData::Unknown { code, rdata } if u16::from(*code) == DNAME => {
            let text = Name::read(&mut BinDecoder::new(&rdata.anything)).expect("a name");
            return format!("{} {} DNAME {text}", record.name, record.ttl);
        }
        RData::Unknown { rdata, .. } => String::from_utf8_lossy(&rdata.anything).into_owned(),
        other => other.to_string(),
    };
    format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
}
