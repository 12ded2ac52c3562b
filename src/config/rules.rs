//! `[[zone.rule]]`, and rates of new sessions: which sessions the hosts of a zone may open.

use super::reader::Reader;
use super::schema::{self, Number};
use super::shape::{List, WordOrNumber};
use crate::addr::{PortRange, Proto};
use crate::nat64::{Action, Rate, Rule};

/// Maximum number of rules of a zone. Each new session is compared with them in their order.
const MAX_RULES: usize = 256;
/// Allowed values of `ports`.
const PORTS: &str = "ports and port ranges, such as 25 or \"6000-6063\"";

pub(super) fn rules(reader: &mut Reader<'_>, section: &schema::Zone) -> Vec<Rule> {
    if let Some(extra) = section.rule.get(MAX_RULES) {
        let found = format!("{} rules", section.rule.len());
        reader.error(extra.span(), found, format!("at most {MAX_RULES} for each zone; `to` has no limit"));
    }
    let mut read: Vec<Rule> = Vec::new();
    for entry in &section.rule {
        if read.last().is_some_and(matches_everything) {
            let advice = "more specific rules first: the first rule that matches decides";
            reader.warn(entry.span(), "a rule after one that matches every session", advice);
        }
        read.push(rule(reader, entry.get_ref()));
    }
    read
}

/// A rate and its burst size. Without a burst size of its own a rate allows one second of it at once.
pub(super) fn rate(
    reader: &mut Reader<'_>,
    (per_second, burst): (Option<&Number>, Option<&Number>),
    default: Rate,
) -> Rate {
    let implied = if per_second.is_some() { None } else { Some(default.burst) };
    let per_second = reader.number(per_second, default.per_second, 0..=1_000_000);
    let implied = implied.unwrap_or(per_second);
    Rate { per_second, burst: reader.number(burst, implied, 1..=1_000_000) }
}

fn rule(reader: &mut Reader<'_>, entry: &schema::Rule) -> Rule {
    let actions = [("allow", Action::Allow), ("deny", Action::Deny)];
    let what = "IPv4 addresses or prefixes, such as \"203.0.113.0/24\"";
    let ports = entry.ports.as_ref().map(|list| ports(reader, list)).unwrap_or_default();
    for list in [
        entry.to.as_ref().map(|l| (&l.at, l.items.len())),
        entry.ports.as_ref().map(|l| (&l.at, l.items.len())),
    ] {
        if let Some((at, 0)) = list {
            reader.error(
                at.clone(),
                "the list is empty",
                "one element or more; without the key the rule matches all",
            );
        }
    }
    let to = entry.to.iter().flat_map(|list| &list.items);
    Rule {
        action: reader.word(Some(&entry.action), Action::Deny, &actions),
        to: to.filter_map(|text| reader.parse(text, what)).collect(),
        protocols: protocols(reader, entry.protocol.as_ref(), !ports.is_empty()),
        ports,
    }
}

fn ports(reader: &mut Reader<'_>, list: &List<WordOrNumber>) -> Vec<PortRange> {
    let mut read = Vec::new();
    for entry in &list.items {
        let found = match entry.get_ref() {
            WordOrNumber::Number(number) => {
                match u16::try_from(*number).map(|port| PortRange::new(port, port)) {
                    Ok(Some(port)) => Ok(port),
                    _ => Err(format!("{number} is not a port")),
                }
            }
            WordOrNumber::Word(word) => word.parse().map_err(|error| format!("`{word}`: {error}")),
        };
        match found {
            Ok(range) => read.push(range),
            Err(found) => reader.error(entry.span(), found, PORTS),
        }
    }
    read
}

/// The protocols of a rule; by default those that have ports, if the rule has ports.
fn protocols(reader: &mut Reader<'_>, list: Option<&schema::Texts>, has_ports: bool) -> Vec<Proto> {
    let words = Proto::ALL.map(|proto| (proto.name(), proto));
    let mut read = Vec::new();
    for text in list.into_iter().flat_map(|list| &list.items) {
        let proto = reader.word(Some(text), Proto::Tcp, &words);
        if has_ports && proto == Proto::Icmp {
            reader.error(text.span(), "\"icmp\" in a rule with `ports`", "a rule for icmp without ports");
        }
        read.push(proto);
    }
    if read.is_empty() {
        read.extend(Proto::ALL.into_iter().filter(|proto| !has_ports || *proto != Proto::Icmp));
    }
    read
}

fn matches_everything(rule: &Rule) -> bool {
    rule.to.is_empty()
        && rule.ports.is_empty()
        && Proto::ALL.iter().all(|proto| rule.protocols.contains(proto))
}
