//! The rules of a zone, in a form for fast lookup.

use crate::addr::{Longest, PortRange, Proto, Transport4};
use crate::nat64::{Action, Rule};
use crate::reason::Reason;

/// The rules of a zone, in the order of the file. Only new sessions are compared with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    action: Action,
    /// By [`Proto`].
    protocols: [bool; 3],
    /// Empty: every destination, also one without ports.
    ports: Vec<PortRange>,
    /// Empty: every address.
    to: Longest,
}

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let entry = |rule: &Rule| Entry {
            action: rule.action,
            protocols: Proto::ALL.map(|proto| rule.protocols.contains(&proto)),
            ports: rule.ports.clone(),
            to: Longest::of_v4(rule.to.iter().map(|prefix| (*prefix, 0))),
        };
        Self(rules.iter().map(entry).collect())
    }

    /// Checks that a client may open a session to `remote`. The first rule that matches decides; without a match it
    /// may. An ICMP query has no port.
    ///
    /// # Errors
    /// [`Reason::RuleDenied`]
    pub(super) fn check(&self, proto: Proto, remote: Transport4) -> Result<(), Reason> {
        match self.0.iter().find(|entry| entry.matches(proto, remote)).map(|entry| entry.action) {
            Some(Action::Deny) => Err(Reason::RuleDenied),
            Some(Action::Allow) | None => Ok(()),
        }
    }
}

impl Entry {
    fn matches(&self, proto: Proto, remote: Transport4) -> bool {
        let has_port = || proto != Proto::Icmp && self.ports.iter().any(|ports| ports.contains(remote.port));
        self.protocols[proto as usize]
            && (self.ports.is_empty() || has_port())
            && (self.to.is_empty() || self.to.find_v4(remote.addr).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> [Rule; 3] {
        let ports = |first, last| PortRange::new(first, last).expect("a range");
        [
            Rule {
                action: Action::Allow,
                to: vec!["192.0.2.25/32".parse().expect("literal")],
                ports: vec![ports(25, 25)],
                protocols: vec![Proto::Tcp],
            },
            Rule {
                action: Action::Deny,
                to: Vec::new(),
                ports: vec![ports(25, 25), ports(6000, 6063)],
                protocols: vec![Proto::Tcp, Proto::Udp],
            },
            Rule {
                action: Action::Deny,
                to: vec![
                    "198.51.100.0/24".parse().expect("literal"),
                    "192.0.2.0/28".parse().expect("literal"),
                ],
                ports: Vec::new(),
                protocols: Proto::ALL.to_vec(),
            },
        ]
    }

    #[test]
    fn rules_as_text() {
        let want = [
            "allow tcp to 192.0.2.25/32 ports 25",
            "deny tcp,udp ports 25,6000-6063",
            "deny to 198.51.100.0/24,192.0.2.0/28",
        ];
        assert_eq!(rules().map(|rule| rule.to_string()), want);
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new(&rules());
        let denied = Err(Reason::RuleDenied);
        let cases = [
            (Proto::Tcp, "192.0.2.25", 25, Ok(())),
            (Proto::Udp, "192.0.2.25", 25, denied),
            (Proto::Tcp, "192.0.2.26", 25, denied),
            (Proto::Tcp, "192.0.2.26", 26, Ok(())),
            (Proto::Udp, "192.0.2.26", 5_999, Ok(())),
            (Proto::Udp, "192.0.2.26", 6_000, denied),
            (Proto::Udp, "192.0.2.26", 6_063, denied),
            (Proto::Udp, "192.0.2.26", 6_064, Ok(())),
            (Proto::Icmp, "192.0.2.26", 25, Ok(())),
            (Proto::Icmp, "198.51.100.1", 9, denied),
            (Proto::Tcp, "192.0.2.15", 80, denied),
            (Proto::Tcp, "192.0.2.16", 80, Ok(())),
        ];
        for (proto, addr, port, want) in cases {
            let remote = Transport4::new(addr.parse().expect("literal"), port);
            assert_eq!(rules.check(proto, remote), want, "{proto:?} {remote}");
        }
    }
}
