//! An nftables ruleset in JSON (libnftables-json(5)), and what its chains do with a packet.
//!
//! Conditions have three results: true, false, and open (`None`), if they concern a property that the packet leaves open.

use std::collections::HashMap;

use serde_json::Value;

use super::packet::{Hook, Packet, Range};

/// Depth to which chains are followed: that of the kernel.
const MAX_DEPTH: u8 = 16;

/// Rules that are evaluated for one packet. A larger ruleset counts as undecided.
const MAX_RULES: u32 = 50_000;

/// What a chain or rule may do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Outcomes {
    accept: bool,
    drop: bool,
    /// Returns to the calling chain.
    returns: bool,
    /// Continues with the next rule.
    next: bool,
}

impl Outcomes {
    const ACCEPT: Self = Self { accept: true, drop: false, returns: false, next: false };
    const DROP: Self = Self { accept: false, drop: true, returns: false, next: false };
    const RETURN: Self = Self { accept: false, drop: false, returns: true, next: false };
    const NEXT: Self = Self { accept: false, drop: false, returns: false, next: true };

    const fn or(self, other: Self) -> Self {
        Self {
            accept: self.accept || other.accept,
            drop: self.drop || other.drop,
            returns: self.returns || other.returns,
            next: self.next || other.next,
        }
    }
}

/// Family, table and name.
type Name = (String, String, String);

/// A chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) name: String,
    /// `None` without a hook.
    hook: Option<String>,
    drops_by_policy: bool,
    /// The expressions of each rule.
    rules: Vec<Vec<Value>>,
}

/// The chains of a ruleset.
pub(super) struct Ruleset {
    chains: Vec<Chain>,
    by_name: HashMap<Name, usize>,
    /// Elements of named sets and maps.
    sets: HashMap<Name, Vec<Value>>,
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn name(object: &Value, key: &str) -> Name {
    (text(object, "family"), text(object, "table"), text(object, key))
}

impl Ruleset {
    /// Parses the output of `nft -j list ruleset`; `None` if it is something else.
    pub(super) fn parse(json: &str) -> Option<Self> {
        let mut parsed: Value = serde_json::from_str(json).ok()?;
        let objects = parsed.get_mut("nftables")?.as_array_mut()?;
        let mut ruleset = Self { chains: Vec::new(), by_name: HashMap::new(), sets: HashMap::new() };
        for chain in objects.iter().filter_map(|object| object.get("chain")) {
            ruleset.by_name.insert(name(chain, "name"), ruleset.chains.len());
            ruleset.chains.push(Chain {
                family: text(chain, "family"),
                table: text(chain, "table"),
                name: text(chain, "name"),
                hook: chain.get("hook").and_then(Value::as_str).map(str::to_owned),
                drops_by_policy: text(chain, "policy") == "drop",
                rules: Vec::new(),
            });
        }
        for object in objects {
            if let Some(rule) = object.get_mut("rule") {
                let chain = ruleset.by_name.get(&name(rule, "chain")).copied();
                if let (Some(chain), Some(Value::Array(expressions))) =
                    (chain, rule.get_mut("expr").map(Value::take))
                {
                    ruleset.chains[chain].rules.push(expressions);
                }
            } else if let Some(set) = object.get("set").or_else(|| object.get("map")) {
                let elements = set.get("elem").and_then(Value::as_array).cloned().unwrap_or_default();
                ruleset.sets.insert(name(set, "name"), elements);
            }
        }
        Some(ruleset)
    }

    /// A base chain at this hook that drops the packet for sure.
    pub(super) fn dropping(&self, hook: Hook, packet: &Packet<'_>) -> Option<&Chain> {
        let at_hook = self.chains.iter().filter(|chain| chain.hook.as_deref() == Some(hook.name()));
        let mut passing = at_hook.filter(|chain| packet.is_in(&chain.family));
        passing.find(|chain| {
            let mut evaluation = Evaluation { ruleset: self, packet, budget: MAX_RULES };
            let found = evaluation.chain(chain, 0);
            let drops = found.drop || (found.returns && chain.drops_by_policy);
            let accepts = found.accept || (found.returns && !chain.drops_by_policy);
            drops && !accepts
        })
    }
}

/// One packet on its way through the chains.
struct Evaluation<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet<'a>,
    budget: u32,
}

/// What a packet has at the left of a comparison.
enum Left<'a> {
    /// It has no such property: the rule does not match.
    Absent,
    /// Left open by the sample, or unknown to this program.
    Open,
    Text(&'a str),
    Number(u64),
    Addr(Range),
    Is(bool),
    All(Vec<Self>),
}

impl<'a> Evaluation<'a> {
    fn chain(&mut self, chain: &Chain, depth: u8) -> Outcomes {
        let mut all = Outcomes::default();
        for rule in &chain.rules {
            let found = self.rule(chain, rule, depth);
            all = all.or(Outcomes { next: false, ..found });
            if !found.next {
                return all;
            }
        }
        all.or(Outcomes::RETURN)
    }

    fn rule(&mut self, chain: &Chain, expressions: &[Value], depth: u8) -> Outcomes {
        if self.budget == 0 {
            return Outcomes::ACCEPT;
        }
        self.budget -= 1;
        let mut is_certain = true;
        for expression in expressions {
            let Some((kind, value)) = expression.as_object().and_then(|o| o.iter().next()) else { continue };
            let outcome = match kind.as_str() {
                "match" => {
                    match self.matches(chain, value) {
                        Some(true) => {}
                        Some(false) => return Outcomes::NEXT,
                        None => is_certain = false,
                    }
                    continue;
                }
                // An extension of iptables; a target has a verdict of its own.
                "xt" if text(value, "name") == "REJECT" => Outcomes::DROP,
                "xt" | "limit" | "quota" | "ct count" | "meter" => {
                    is_certain = false;
                    continue;
                }
                "vmap" => self.verdict_map(chain, value, depth),
                _ => match self.verdict(chain, kind, value, depth) {
                    Some(outcome) => outcome,
                    None => continue,
                },
            };
            // A map without an entry for the packet continues within the rule.
            if kind == "vmap" && outcome == Outcomes::NEXT {
                continue;
            }
            return if is_certain { outcome } else { outcome.or(Outcomes::NEXT) };
        }
        Outcomes::NEXT
    }

    /// The outcome of a verdict; `None` for other statements.
    fn verdict(&mut self, chain: &Chain, kind: &str, value: &Value, depth: u8) -> Option<Outcomes> {
        Some(match kind {
            "accept" => Outcomes::ACCEPT,
            "drop" | "reject" => Outcomes::DROP,
            "return" => Outcomes::RETURN,
            "continue" => Outcomes::NEXT,
            // Another program decides.
            "queue" => Outcomes::ACCEPT.or(Outcomes::DROP),
            "jump" => {
                let found = self.target(chain, value, depth);
                Outcomes { returns: false, next: found.returns || found.next, ..found }
            }
            "goto" => self.target(chain, value, depth),
            _ => return None,
        })
    }

    fn target(&mut self, chain: &Chain, value: &Value, depth: u8) -> Outcomes {
        let target = (chain.family.clone(), chain.table.clone(), text(value, "target"));
        let ruleset = self.ruleset;
        match ruleset.by_name.get(&target) {
            Some(index) if depth < MAX_DEPTH => self.chain(&ruleset.chains[*index], depth + 1),
            _ => Outcomes::ACCEPT.or(Outcomes::RETURN),
        }
    }

    /// A map from values to verdicts.
    fn verdict_map(&mut self, chain: &Chain, map: &Value, depth: u8) -> Outcomes {
        let left = self.left(map.get("key").unwrap_or(&Value::Null));
        let mut all = Outcomes::default();
        let data = map.get("data").unwrap_or(&Value::Null);
        let Some(elements) = self.elements(chain, data) else {
            return Outcomes::ACCEPT.or(Outcomes::DROP).or(Outcomes::NEXT);
        };
        for element in elements {
            let Some([key, verdict]) = element.as_array().map(Vec::as_slice) else { continue };
            let matches = self.equals(chain, &left, key);
            let entry = verdict.as_object().and_then(|o| o.iter().next());
            if matches != Some(false)
                && let Some(outcome) = entry.and_then(|(kind, value)| self.verdict(chain, kind, value, depth))
            {
                all = all.or(outcome);
            }
            if matches == Some(true) {
                return all;
            }
        }
        all.or(Outcomes::NEXT)
    }

    fn matches(&self, chain: &Chain, value: &Value) -> Option<bool> {
        let (left, right) = (self.left(value.get("left")?), value.get("right")?);
        if let Left::Absent = left {
            return Some(false);
        }
        let op = text(value, "op");
        match op.as_str() {
            "==" | "in" | "" => self.equals(chain, &left, right),
            "!=" => self.equals(chain, &left, right).map(|is_equal| !is_equal),
            _ => {
                let (Left::Number(number), Some(bound)) = (&left, right.as_u64()) else { return None };
                match op.as_str() {
                    "<" => Some(*number < bound),
                    ">" => Some(*number > bound),
                    "<=" => Some(*number <= bound),
                    ">=" => Some(*number >= bound),
                    _ => None,
                }
            }
        }
    }

    fn left(&self, expression: &Value) -> Left<'a> {
        let Some((kind, value)) = expression.as_object().and_then(|o| o.iter().next()) else {
            return Left::Open;
        };
        match kind.as_str() {
            "meta" => self.meta(&text(value, "key")),
            "payload" => self.payload(&text(value, "protocol"), &text(value, "field")),
            "ct" => match text(value, "key").as_str() {
                "state" => Left::Text(self.packet.state),
                _ => Left::Open,
            },
            "fib" => {
                let flags = value.get("flags").and_then(Value::as_array);
                let has = |flag: &str| flags.is_some_and(|all| all.iter().any(|f| f.as_str() == Some(flag)));
                // A reverse path check. For an own source the kernel finds no interface.
                let is_reverse = text(value, "result") == "oif" && has("saddr");
                if is_reverse { Left::Is(!self.packet.has_own_source) } else { Left::Open }
            }
            "concat" => {
                let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
                Left::All(parts.iter().map(|part| self.left(part)).collect())
            }
            _ => Left::Open,
        }
    }

    fn meta(&self, key: &str) -> Left<'a> {
        let packet = self.packet;
        match key {
            "iif" | "iifname" => packet.iif.map_or(Left::Open, Left::Text),
            "oif" | "oifname" => packet.oif.map_or(Left::Open, Left::Text),
            "nfproto" => Left::Text(if packet.is_v6 { "ipv6" } else { "ipv4" }),
            "protocol" => Left::Text(if packet.is_v6 { "ip6" } else { "ip" }),
            "l4proto" => Left::Text(packet.protocol),
            _ => Left::Open,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Left<'a> {
        let packet = self.packet;
        let family = if packet.is_v6 { "ip6" } else { "ip" };
        match (protocol, field) {
            ("ip" | "ip6", _) if protocol != family => Left::Absent,
            (_, "saddr") if protocol == family => Left::Addr(packet.saddr),
            (_, "daddr") if protocol == family => Left::Addr(packet.daddr),
            (_, "protocol" | "nexthdr") if protocol == family => Left::Text(packet.protocol),
            ("icmp" | "icmpv6", _) if protocol != packet.protocol => Left::Absent,
            ("icmp" | "icmpv6", "type") => Left::Text(packet.icmp),
            ("tcp" | "udp" | "udplite" | "sctp" | "dccp", _) if protocol != packet.protocol => Left::Absent,
            ("tcp" | "udp" | "th", _) if packet.dport == 0 => Left::Absent,
            ("tcp" | "udp" | "th", "sport") => Left::Number(packet.sport.into()),
            ("tcp" | "udp" | "th", "dport") => Left::Number(packet.dport.into()),
            _ => Left::Open,
        }
    }

    /// The elements of a set, by its name or in the rule.
    fn elements<'v>(&self, chain: &Chain, right: &'v Value) -> Option<&'v [Value]>
    where
        'a: 'v,
    {
        if let Some(set) = right.as_str().and_then(|name| name.strip_prefix('@')) {
            let name = (chain.family.clone(), chain.table.clone(), set.to_owned());
            return self.ruleset.sets.get(&name).map(Vec::as_slice);
        }
        right.as_array().or_else(|| right.get("set")?.as_array()).map(Vec::as_slice)
    }

    /// Whether what the packet has is equal to a value, or one of a set.
    fn equals(&self, chain: &Chain, left: &Left<'_>, right: &Value) -> Option<bool> {
        if let Some(element) = right.get("elem") {
            return self.equals(chain, left, element.get("val")?);
        }
        let is_set = right.is_array() || right.get("set").is_some();
        if is_set || right.as_str().is_some_and(|name| name.starts_with('@')) {
            let elements = self.elements(chain, right)?;
            return any(elements.iter().map(|element| self.equals(chain, left, element)));
        }
        match left {
            Left::Absent => Some(false),
            Left::Open => None,
            Left::Text(text) => right.as_str().map(|right| is_named(text, right)),
            Left::Number(number) => number_is(*number, right),
            Left::Addr(range) => addr_is(*range, right),
            Left::Is(is) => right.as_bool().map(|right| *is == right),
            Left::All(parts) => {
                let values = right.get("concat")?.as_array()?;
                let different = parts.iter().zip(values).map(|(p, v)| self.equals(chain, p, v).map(|is| !is));
                any(different).map(|differs| !differs)
            }
        }
    }
}

/// True if one is true, false if all are false, else open.
fn any(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(false);
    for result in results {
        match result {
            Some(true) => return Some(true),
            Some(false) => {}
            None => all = None,
        }
    }
    all
}

/// Whether a name is that of a rule, which may end in `*` or be another name of the same protocol.
fn is_named(name: &str, rule: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == rule || (name == "icmpv6" && rule == "ipv6-icmp"),
    }
}

fn number_is(number: u64, right: &Value) -> Option<bool> {
    if let Some(range) = right.get("range").and_then(Value::as_array) {
        let (first, last) = (range.first()?.as_u64()?, range.get(1)?.as_u64()?);
        return Some((first..=last).contains(&number));
    }
    right.as_u64().map(|right| right == number)
}

fn addr_is(addr: Range, right: &Value) -> Option<bool> {
    if let Some(prefix) = right.get("prefix") {
        let range = Range::parse(prefix.get("addr")?.as_str()?, prefix.get("len")?.as_u64())?;
        return addr.is_between(range, range);
    }
    if let Some(range) = right.get("range").and_then(Value::as_array) {
        let bound = |index: usize| Range::parse(range.get(index)?.as_str()?, None);
        return addr.is_between(bound(0)?, bound(1)?);
    }
    let host = Range::parse(right.as_str()?, None)?;
    addr.is_between(host, host)
}
