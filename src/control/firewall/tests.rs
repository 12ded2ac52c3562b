use serde_json::{Value, json};

use super::*;

/// A gateway between the interfaces lan and wan.
fn traffic() -> Traffic {
    Traffic {
        device: "gate64".to_owned(),
        clients: vec![(Some("lan".to_owned()), "2001:db8:1::/64".parse().expect("literal"))],
        uplink: Some("wan".to_owned()),
        pref64: Some("64:ff9b::/96".parse().expect("literal")),
        pool: Some("192.0.2.64/28".parse().expect("literal")),
        errors: vec!["2001:db8:1::1".parse().expect("literal")],
        dns: Some("2001:db8:1::53".parse().expect("literal")),
    }
}

/// A ruleset with a base chain at `hook`, with these rules, and a chain `other`.
fn ruleset(hook: &str, policy: &str, rules: Vec<Value>, other: Vec<Value>) -> String {
    let chain = |name: &str| json!({"family": "inet", "table": "filter", "name": name});
    let mut base = chain("base");
    base["hook"] = hook.into();
    base["policy"] = policy.into();
    let set =
        json!({"family": "inet", "table": "filter", "name": "lans", "elem": ["lan", {"elem": {"val": "b"}}]});
    let map = json!({"family": "inet", "table": "filter", "name": "ways",
        "elem": [["lan", {"jump": {"target": "other"}}], ["wan", {"drop": null}]]});
    let mut objects = vec![json!({"chain": base}), json!({"chain": chain("other")}), json!({"set": set})];
    objects.push(json!({"map": map}));
    let rule = |chain: &str, expr| json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "expr": expr}});
    objects.extend(rules.into_iter().map(|expr| rule("base", expr)));
    objects.extend(other.into_iter().map(|expr| rule("other", expr)));
    json!({"nftables": objects}).to_string()
}

fn is(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn meta(key: &str, right: &str) -> Value {
    is(json!({"meta": {"key": key}}), right.into())
}

fn field(protocol: &str, field: &str, right: Value) -> Value {
    is(json!({"payload": {"protocol": protocol, "field": field}}), right)
}

fn established() -> Value {
    json!([{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}])
}

fn accept() -> Value {
    json!({"accept": null})
}

fn flows_of(ruleset: &str) -> Vec<Flow> {
    let mut flows: Vec<_> =
        judge(ruleset, &traffic()).into_iter().flat_map(|refusal| refusal.flows).collect();
    flows.sort_unstable();
    flows
}

/// What a forward chain with these rules and this policy drops.
fn forward(policy: &str, rules: Vec<Value>, other: Vec<Value>) -> Vec<Flow> {
    flows_of(&ruleset("forward", policy, rules, other))
}

const ALL: [Flow; 4] = [Flow::ToDevice6, Flow::FromDevice4, Flow::ToDevice4, Flow::FromDevice6];

#[test]
fn a_policy_or_a_last_rule_drops() {
    assert_eq!(forward("accept", vec![], vec![]), []);
    assert_eq!(forward("drop", vec![], vec![]), ALL);
    let reject = json!([{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]);
    assert_eq!(forward("accept", vec![reject.clone()], vec![]), ALL);
    assert_eq!(forward("accept", vec![established(), reject], vec![]), [Flow::ToDevice6, Flow::FromDevice4]);
    assert_eq!(forward("accept", vec![json!([{"xt": {"type": "target", "name": "REJECT"}}])], vec![]), ALL);
    // An extension that this program does not know may accept the packets.
    assert_eq!(forward("drop", vec![json!([{"xt": null}, accept()])], vec![]), []);
}

#[test]
fn half_a_pair_of_rules_is_not_enough() {
    let out = json!([meta("iifname", "gate64"), accept()]);
    let into = json!([meta("oifname", "gate*"), accept()]);
    assert_eq!(forward("drop", vec![out.clone()], vec![]), [Flow::ToDevice6, Flow::ToDevice4]);
    assert_eq!(forward("drop", vec![into.clone()], vec![]), [Flow::FromDevice4, Flow::FromDevice6]);
    assert_eq!(forward("drop", vec![out, into], vec![]), []);
}

#[test]
fn chains_sets_and_maps_are_followed() {
    let lans = is(json!({"meta": {"key": "iifname"}}), "@lans".into());
    let goto = json!([lans, {"goto": {"target": "other"}}]);
    let to_all =
        json!([field("ip6", "daddr", json!({"prefix": {"addr": "64:ff9b::", "len": 96}})), accept()]);
    // After `goto` the base chain does not go on: its policy decides.
    let rest = [Flow::FromDevice4, Flow::ToDevice4, Flow::FromDevice6];
    let last = json!([accept()]);
    assert_eq!(forward("drop", vec![goto.clone(), last.clone()], vec![to_all.clone()]), []);
    assert_eq!(forward("drop", vec![goto, last], vec![]), [Flow::ToDevice6]);
    let ways = json!([{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@ways"}}]);
    assert_eq!(forward("accept", vec![ways.clone()], vec![]), [Flow::ToDevice4]);
    assert_eq!(forward("drop", vec![ways], vec![to_all]), rest);
    let pair = json!({"concat": [{"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}]});
    let pairs = is(pair, json!({"set": [{"concat": ["a", "b"]}, {"concat": ["lan", "gate64"]}]}));
    assert_eq!(forward("drop", vec![json!([pairs, accept()])], vec![]), rest);
}

#[test]
fn a_policy_of_the_operator_is_not_a_refusal() {
    let web = json!([field("tcp", "dport", json!({"set": [22, {"range": [400, 500]}]})), accept()]);
    assert_eq!(forward("drop", vec![established(), web], vec![]), []);
    let ssh = json!([field("tcp", "dport", 22.into()), accept()]);
    assert_eq!(forward("drop", vec![established(), ssh], vec![]), [Flow::ToDevice6, Flow::FromDevice4]);
    // Some servers, but not all.
    let some = json!([field("ip", "daddr", "198.51.100.1".into()), {"drop": null}]);
    assert_eq!(forward("accept", vec![some], vec![]), []);
    let pool = field("ip", "saddr", json!({"prefix": {"addr": "192.0.2.0", "len": 24}}));
    assert_eq!(forward("accept", vec![json!([pool, {"drop": null}])], vec![]), [Flow::FromDevice4]);
    let other = field("ip", "saddr", json!({"range": ["10.0.0.0", "10.0.0.9"]}));
    assert_eq!(forward("accept", vec![json!([other, {"drop": null}])], vec![]), []);
    let limited = json!([{"limit": {"rate": 10, "per": "second"}}, accept()]);
    assert_eq!(forward("drop", vec![limited], vec![]), []);
    let not = json!([{"match": {"op": "!=", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}}, {"drop": null}]);
    assert_eq!(forward("accept", vec![not], vec![]), [Flow::ToDevice6, Flow::FromDevice6]);
}

#[test]
fn queries_pass_the_input_chain() {
    let input = |policy: &str, rules| flows_of(&ruleset("input", policy, rules, vec![]));
    assert_eq!(input("drop", vec![established()]), [Flow::Dns]);
    let dns = |protocol: &str| json!([field(protocol, "dport", 53.into()), accept()]);
    // UDP alone is the operator's choice.
    assert_eq!(input("drop", vec![dns("udp")]), []);
    assert_eq!(input("drop", vec![dns("th")]), []);
    assert_eq!(input("drop", vec![json!([meta("iifname", "wan"), accept()])]), [Flow::Dns]);
    let refusals = judge(&ruleset("input", "drop", vec![], vec![]), &traffic());
    assert_eq!(
        refusals[0].to_string(),
        "the chain inet filter base drops DNS queries of clients; type: \
         nft insert rule inet filter base udp dport 53 accept && nft insert rule inet filter base tcp dport 53 accept"
    );
    assert!(refusals[0].is_fatal());
}

#[test]
fn a_reverse_path_filter_drops_icmp_errors() {
    let missing = is(json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}), false.into());
    let rule = json!([meta("nfproto", "ipv6"), missing, {"drop": null}]);
    let refusals = judge(&ruleset("prerouting", "accept", vec![rule], vec![]), &traffic());
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].flows, [Flow::Errors]);
    assert!(!refusals[0].is_fatal());
    assert_eq!(refusals[0].remedy(), "nft insert rule inet filter base iifname gate64 accept");
}

#[test]
fn other_text_and_endless_jumps_are_no_refusal() {
    assert!(judge("", &traffic()).is_empty() && judge("{\"nftables\": 3}", &traffic()).is_empty());
    let jump = json!([{"jump": {"target": "other"}}]);
    assert_eq!(forward("drop", vec![jump.clone()], vec![jump.clone(), jump]), []);
}
