//! Decodes messages into records, follows aliases, removes and adds records, and encodes the result.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Length of the header, in bytes.
const HEADER: usize = 12;
/// Maximum length of an alias chain.
const MAX_ALIASES: usize = 16;

/// The type of an address record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressKind {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

/// A section of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Answer,
    Authority,
    Additional,
}

/// The aliases form a loop, or a chain that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AliasLoop;

/// A decoded upstream reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    message: Message,
    /// The name at the end of the alias chain that starts at the question.
    end: Name,
}

/// A name as in a question: uncompressed.
fn name(wire: &[u8]) -> Option<Name> {
    Name::read(&mut BinDecoder::new(wire)).ok()
}

/// Decodes a message. Records of a type that gate64 does not need are kept as bytes if they cannot be decoded
/// (RFC 3597 §3), so that one odd record does not hide the others. Skips OPT. `None` if the message is cut
/// short or an address or alias is malformed.
fn decode(bytes: &[u8]) -> Option<Message> {
    let number = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let mut message = Message::new(number(0)?, MessageType::Response, OpCode::Query);
    let mut decoder = BinDecoder::new(bytes);
    decoder.read_slice(HEADER).ok()?;
    for _ in 0..number(4)? {
        message.queries.push(Question::read(&mut decoder).ok()?);
    }
    let mut at = decoder.index();
    for (count, section) in [(6, Section::Answer), (8, Section::Authority), (10, Section::Additional)] {
        for _ in 0..number(count)? {
            let (record, end) = decode_record(bytes, at, section)?;
            at = end;
            match section {
                Section::Answer => message.answers.extend(record),
                Section::Authority => message.authorities.extend(record),
                Section::Additional => message.additionals.extend(record),
            }
        }
    }
    Some(message)
}

/// Decodes the record at `at`. Returns it, unless it is skipped, and its end.
fn decode_record(bytes: &[u8], at: usize, section: Section) -> Option<(Option<Record>, usize)> {
    let mut decoder = BinDecoder::new(bytes).clone(u16::try_from(at).ok()?);
    let owner = Name::read(&mut decoder).ok()?;
    let head = bytes.get(decoder.index()..)?.first_chunk::<10>()?;
    let [kind0, kind1, class0, class1, ttl0, ttl1, ttl2, ttl3, len0, len1] = *head;
    let start = decoder.index() + head.len();
    let end = start + usize::from(u16::from_be_bytes([len0, len1]));
    let data = bytes.get(start..end)?;
    let kind = RecordType::from(u16::from_be_bytes([kind0, kind1]));
    if kind == RecordType::OPT {
        return Some((None, end));
    }
    let mut decoder = BinDecoder::new(bytes).clone(u16::try_from(at).ok()?);
    let decoded = Record::read(&mut decoder).ok().filter(|_| decoder.index() == end && !data.is_empty());
    if let Some(record) = decoded {
        return Some((Some(record), end));
    }
    match kind {
        RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::PTR
            if section == Section::Answer =>
        {
            return None;
        }
        // Its names may be compressed, so its bytes cannot be copied (RFC 3597 §4).
        _ if may_be_compressed(kind) => return Some((None, end)),
        _ => {}
    }
    // `with` panics on empty data.
    let rdata = if data.is_empty() { NULL::new() } else { NULL::with(data.to_vec()) };
    let rdata = RData::Unknown { code: kind, rdata };
    let ttl = u32::from_be_bytes([ttl0, ttl1, ttl2, ttl3]);
    let mut record = Record::from_rdata(owner, ttl, rdata);
    record.dns_class = u16::from_be_bytes([class0, class1]).into();
    Some((Some(record), end))
}

/// Whether names in the data of this type may be compressed (RFC 3597 §4).
fn may_be_compressed(kind: RecordType) -> bool {
    matches!(u16::from(kind), 2..=9 | 12 | 14 | 15 | 17 | 18 | 21 | 24 | 26 | 30 | 33 | 35 | 36 | 39)
}

impl Reply {
    /// Decodes `bytes` and follows the aliases from its question. `None` if an address or alias is malformed.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Result<Self, AliasLoop>> {
        let message = decode(bytes)?;
        let mut end = message.queries.first()?.name.clone();
        for _ in 0..=MAX_ALIASES {
            let target = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(CNAME(target)) if record.name == end => Some(target.clone()),
                _ => None,
            });
            let Some(target) = target else { return Some(Ok(Self { message, end })) };
            end = target;
        }
        Some(Err(AliasLoop))
    }

    fn at_end(&self) -> impl Iterator<Item = &Record> {
        self.message.answers.iter().filter(|record| record.name == self.end)
    }

    /// The AAAA records at the end of the alias chain.
    pub(crate) fn aaaa(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.at_end().filter_map(|record| match record.data {
            RData::AAAA(AAAA(addr)) => Some(addr),
            _ => None,
        })
    }

    /// The A records at the end of the alias chain.
    pub(crate) fn a(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.at_end().filter_map(|record| match record.data {
            RData::A(A(addr)) => Some(addr),
            _ => None,
        })
    }

    /// Whether the records of an address type are signed.
    pub(crate) fn is_signed(&self, kind: AddressKind) -> bool {
        let kind = match kind {
            AddressKind::A => RecordType::A,
            AddressKind::Aaaa => RecordType::AAAA,
        };
        self.at_end().any(|record| covers(record, kind))
    }

    /// TTL of the negative answer in seconds (RFC 2308 §5): the smaller of the SOA record's TTL and its
    /// MINIMUM field.
    pub(crate) fn negative_ttl(&self) -> Option<u32> {
        self.message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
    }

    /// The answer with each A record replaced by the AAAA records that `under` returns, with a TTL of at
    /// most `ttl_cap` seconds. Aliases keep their signatures; signatures over A records are removed.
    /// Authority and additional records stay (RFC 6147 §5.1.7, §5.3.2, §5.4).
    pub(crate) fn synthesize<I: Iterator<Item = Ipv6Addr>>(
        mut self,
        under: impl Fn(Ipv4Addr) -> I,
        ttl_cap: u32,
    ) -> Option<Vec<u8>> {
        let mut answers = Vec::with_capacity(self.message.answers.len());
        for record in core::mem::take(&mut self.message.answers) {
            match record.data {
                RData::A(A(v4)) if record.name == self.end => {
                    let ttl = record.ttl.min(ttl_cap);
                    answers.extend(
                        under(v4)
                            .map(|v6| Record::from_rdata(record.name.clone(), ttl, RData::AAAA(AAAA(v6)))),
                    );
                }
                RData::A(_) | RData::AAAA(_) => {}
                _ if covers(&record, RecordType::A) => {}
                _ => answers.push(record),
            }
        }
        self.message.answers = answers;
        self.encode(RecordType::AAAA)
    }

    /// The answer without A records, for a name whose A records are not translated.
    pub(crate) fn without_a(mut self) -> Option<Vec<u8>> {
        self.message.answers.retain(|r| !matches!(r.data, RData::A(_)) && !covers(r, RecordType::A));
        self.encode(RecordType::AAAA)
    }

    /// The answer without excluded AAAA records (RFC 6147 §5.1.4) and without the signatures over AAAA.
    pub(crate) fn without_excluded(mut self, is_excluded: impl Fn(Ipv6Addr) -> bool) -> Option<Vec<u8>> {
        self.message.answers.retain(|record| match record.data {
            RData::AAAA(AAAA(addr)) => !is_excluded(addr),
            _ => !covers(record, RecordType::AAAA),
        });
        self.encode(RecordType::AAAA)
    }

    /// Converts the answer for an IPv4 reverse name to one for `asked`, an IPv6 reverse name: an alias to
    /// the owner of the PTR records (RFC 6147 §5.3.1), without intermediate aliases. `None` if there is no
    /// PTR record.
    pub(crate) fn reverse(mut self, asked: &[u8]) -> Option<Vec<u8>> {
        let end = core::mem::take(&mut self.end);
        self.message.answers.retain(|r| matches!(r.data, RData::PTR(_)) && r.name == end);
        let ttl = self.message.answers.iter().map(|record| record.ttl).min()?;
        let alias = Record::from_rdata(name(asked)?, ttl, RData::CNAME(CNAME(end)));
        self.message.answers.insert(0, alias);
        self.message.queries = vec![Question::query(name(asked)?, RecordType::PTR)];
        self.encode(RecordType::PTR)
    }

    fn encode(mut self, asked: RecordType) -> Option<Vec<u8>> {
        for question in &mut self.message.queries {
            question.query_type = asked;
        }
        self.message.edns = None;
        self.message.to_vec().ok()
    }
}

fn covers(record: &Record, kind: RecordType) -> bool {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            rdata.anything.first_chunk() == Some(&u16::from(kind).to_be_bytes())
        }
        _ => false,
    }
}

/// A local answer with AAAA records, which may be none.
pub(crate) fn local_addresses(asked: &[u8], kind: u16, ttl: u32, addresses: &[Ipv6Addr]) -> Option<Vec<u8>> {
    local(asked, kind, ttl, addresses.iter().map(|addr| RData::AAAA(AAAA(*addr))))
}

/// A local answer with A records, which may be none.
pub(crate) fn local_v4(asked: &[u8], kind: u16, ttl: u32, addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    local(asked, kind, ttl, addresses.iter().map(|addr| RData::A(A(*addr))))
}

/// A local answer with a PTR record to `target`, an uncompressed name.
pub(crate) fn local_ptr(asked: &[u8], ttl: u32, target: &[u8]) -> Option<Vec<u8>> {
    let target = RData::PTR(PTR(name(target)?));
    local(asked, u16::from(RecordType::PTR), ttl, [target].into_iter())
}

/// A local answer with an SVCB record to `target`, an uncompressed name, for each port of DNS over TLS, with its
/// addresses as hints (RFC 9461 §4).
pub(crate) fn local_dns_over_tls(
    asked: &[u8],
    ttl: u32,
    target: &[u8],
    services: &BTreeMap<u16, Vec<Ipv6Addr>>,
) -> Option<Vec<u8>> {
    let target = name(target)?;
    let data = services.iter().map(|(port, addresses)| {
        let mut params = vec![
            (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["dot".to_owned()]))),
            (SvcParamKey::Port, SvcParamValue::Port(*port)),
        ];
        if !addresses.is_empty() {
            let hints = addresses.iter().map(|addr| AAAA(*addr)).collect();
            params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(hints))));
        }
        RData::SVCB(SVCB::new(1, target.clone(), params))
    });
    local(asked, u16::from(RecordType::SVCB), ttl, data)
}

/// A local denial of `asked`: no records, and the SOA record of `zone`, an uncompressed name, with a TTL of
/// `ttl` seconds (RFC 2308 §2, RFC 6303 §3).
pub(crate) fn local_denial(asked: &[u8], kind: u16, zone: &[u8], ttl: u32) -> Option<Vec<u8>> {
    let mut message = local_message(name(asked)?, kind);
    message.authorities.push(soa(zone, ttl)?);
    message.to_vec().ok()
}

/// A local answer with the SOA record of `asked`.
pub(crate) fn local_soa(asked: &[u8], ttl: u32) -> Option<Vec<u8>> {
    let mut message = local_message(name(asked)?, RecordType::SOA.into());
    message.answers.push(soa(asked, ttl)?);
    message.to_vec().ok()
}

/// The SOA record of an empty zone (RFC 6303 §3).
fn soa(zone: &[u8], ttl: u32) -> Option<Record> {
    let zone = name(zone)?;
    let contact = Name::from_ascii("nobody.invalid.").ok()?;
    let soa = SOA::new(zone.clone(), contact, 1, 3_600, 1_200, 604_800, ttl);
    Some(Record::from_rdata(zone, ttl, RData::SOA(soa)))
}

fn local_message(asked: Name, kind: u16) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.queries.push(Question::query(asked, RecordType::from(kind)));
    message
}

fn local(asked: &[u8], kind: u16, ttl: u32, data: impl Iterator<Item = RData>) -> Option<Vec<u8>> {
    let asked = name(asked)?;
    let mut message = local_message(asked.clone(), kind);
    message.answers = data.map(|data| Record::from_rdata(asked.clone(), ttl, data)).collect();
    message.to_vec().ok()
}

/// The usual text of a response code.
pub(crate) fn rcode_text(code: u16) -> String {
    match ResponseCode::from((code >> 4) as u8, (code & 15) as u8) {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        other => format!("{other:?}").to_ascii_uppercase(),
    }
}

/// The records of a message, one per line; those outside the answer section are prefixed with their
/// section. `None` if the message is malformed.
pub(crate) fn records_text(bytes: &[u8]) -> Option<Vec<String>> {
    let message = decode(bytes)?;
    let sections =
        [("", &message.answers), ("authority ", &message.authorities), ("additional ", &message.additionals)];
    let line =
        |section: &str, r: &Record| format!("{section}{} {} {} {}", r.name, r.ttl, r.record_type(), r.data);
    Some(sections.iter().flat_map(|(section, records)| records.iter().map(|r| line(section, r))).collect())
}

/// A query for the addresses of `name`, such as `www.example.`. `None` if `name` is not a name.
pub fn address_query(id: u16, name: &str, kind: AddressKind) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let kind = match kind {
        AddressKind::A => RecordType::A,
        AddressKind::Aaaa => RecordType::AAAA,
    };
    message.queries.push(Question::query(Name::from_ascii(name).ok()?, kind));
    message.to_vec().ok()
}

/// A query for records of a type such as `MX` or `TYPE65280`, with EDNS and DO if `dnssec_ok`. `None` if `name` is
/// not a name or `kind` not a type.
pub(crate) fn query(id: u16, name: &str, kind: &str, dnssec_ok: bool) -> Option<Vec<u8>> {
    let number = kind.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok());
    let kind = number.map(RecordType::from).or_else(|| kind.parse().ok())?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Question::query(Name::from_ascii(name).ok()?, kind));
    if dnssec_ok {
        let mut edns = Edns::new();
        edns.set_max_payload(1_232).set_dnssec_ok(true);
        message.edns = Some(edns);
    }
    message.to_vec().ok()
}

/// Name and type of a query as text.
pub(crate) fn question_text(query: &[u8]) -> Option<String> {
    let message = Message::from_vec(query).ok()?;
    let question = message.queries.first()?;
    Some(format!("{} {}", question.name, question.query_type))
}

/// A record type as text.
pub(crate) fn type_text(kind: u16) -> String {
    RecordType::from(kind).to_string()
}

/// Name and type of an address query.
pub fn address_question(query: &[u8]) -> Option<(String, AddressKind)> {
    let message = Message::from_vec(query).ok()?;
    let question = message.queries.first()?;
    let kind = match question.query_type {
        RecordType::A => AddressKind::A,
        RecordType::AAAA => AddressKind::Aaaa,
        _ => return None,
    };
    Some((question.name.to_ascii(), kind))
}

/// A server's reply to `query`, with those of `addresses` that have the queried type and a TTL of `ttl`
/// seconds. `None` if `query` is not an address query.
pub fn address_reply(query: &[u8], addresses: &[IpAddr], ttl: u32) -> Option<Vec<u8>> {
    let (_, kind) = address_question(query)?;
    let query = Message::from_vec(query).ok()?;
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let owner = &query.queries.first()?.name;
    for addr in addresses {
        let data = match (addr, kind) {
            (IpAddr::V4(v4), AddressKind::A) => RData::A(A(*v4)),
            (IpAddr::V6(v6), AddressKind::Aaaa) => RData::AAAA(AAAA(*v6)),
            (IpAddr::V4(_), AddressKind::Aaaa) | (IpAddr::V6(_), AddressKind::A) => continue,
        };
        reply.answers.push(Record::from_rdata(owner.clone(), ttl, data));
    }
    reply.queries = query.queries;
    reply.to_vec().ok()
}

/// The addresses in an answer, and their TTL in seconds.
pub fn addresses(answer: &[u8]) -> Vec<(IpAddr, u32)> {
    let answers = decode(answer).map(|message| message.answers).unwrap_or_default();
    answers.iter().filter_map(|record| Some((record.data.ip_addr()?, record.ttl))).collect()
}
