//! Surveys of the tables.

use super::super::{Ending, Proto, StaticBinding};
use super::*;
use crate::addr::Transport6;
use crate::translator::{Change, PoolSurvey, ReloadSurvey};

/// Two hosts with sessions, one of them with two blocks.
fn used() -> Bench {
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![("203.0.113.0/31".parse().expect("a prefix"), PortRange::ALL)];
    let mut bench = Bench::new(settings);
    for port in 0..16 {
        bench.udp_mapping(C, 5000 + port);
    }
    bench.send(&tcp6(C2, 80, Z, Flags::SYN));
    bench
}

fn pool(bench: &Bench, budget: u32) -> (PoolSurvey, u32) {
    let (mut survey, mut steps) = (PoolSurvey::default(), 1);
    while !bench.gate.survey_pool(&mut survey, budget) {
        steps += 1;
    }
    (survey, steps)
}

#[test]
fn usage_of_pool4_is_counted_in_steps() {
    let mut bench = used();
    let (survey, steps) = pool(&bench, 1000);
    assert_eq!(steps, 1);
    let sum = |number: fn(&translator::AddressUsage) -> u32| survey.addresses.iter().map(number).sum::<u32>();
    assert_eq!(survey.addresses.len(), 2);
    assert_eq!((sum(|a| a.blocks), sum(|a| a.assigned), sum(|a| a.hosts)), (2, 80, 2));
    assert_eq!(sum(|a| a.ports), 2 * 65_536);
    assert_eq!((sum(|a| a.used[Proto::Udp as usize]), sum(|a| a.used[Proto::Tcp as usize])), (16, 1));
    assert_eq!(survey.hosts, [2]);
    let (stepwise, steps) = pool(&bench, 1);
    assert_eq!(steps, 2);
    assert_eq!(stepwise.addresses, survey.addresses);
    // All sessions expire: their ports are in quarantine.
    bench.secs(301);
    let (survey, _) = pool(&bench, 1000);
    let sum = |number: fn(&translator::AddressUsage) -> u32| survey.addresses.iter().map(number).sum::<u32>();
    assert_eq!((sum(|a| a.quarantined[Proto::Udp as usize]), sum(|a| a.used[Proto::Udp as usize])), (16, 0));
    assert_eq!((sum(|a| a.blocks), sum(|a| a.empty_blocks)), (2, 1), "TCP ended earlier");
}

fn endings(bench: &Bench, new: &translator::Settings, budget: u32) -> ReloadSurvey {
    let mut survey = ReloadSurvey::new(new.rules, new.nat64.clone());
    while !bench.gate.survey_reload(bench.now, &mut survey, budget) {}
    survey
}

#[test]
fn what_a_reload_would_end_is_counted_without_ending_it() {
    let base = || {
        let mut settings = n1();
        settings.nat64.pools[0].ranges = vec![("203.0.113.0/31".parse().expect("a prefix"), PortRange::ALL)];
        settings
    };
    let mut zone = base();
    zone.nat64.zones[0].clients = vec!["2001:db8:1::2/128".parse().expect("a prefix")];
    let mut pref64 = base();
    pref64.nat64.zones[0].pref64 = vec!["2001:db8:65::/96".parse().expect("a pref64")];
    let mut pool4 = base();
    pool4.nat64.pools[0].ranges[0].0 = "203.0.113.8/31".parse().expect("a prefix");
    let mut statics = base();
    let mut bench = used();
    let mapped = bench.udp_mapping(C, 5000);
    statics.nat64.statics =
        vec![StaticBinding { proto: Proto::Udp, v6: Transport6::new(v6(C2), 9), v4: mapped }];
    for (new, ending, sessions, bindings) in [
        (zone, Ending::Zone, 1, 1),
        (pref64, Ending::Pref64, 17, 0),
        (pool4, Ending::Pool4, 17, 17),
        (statics, Ending::Static, 1, 1),
    ] {
        let mut bench = used();
        let before = (bench.sessions(), bench.bindings());
        let survey = endings(&bench, &new, 3);
        let mut want = [0; Ending::COUNT];
        want[ending as usize] = sessions;
        assert_eq!(survey.sessions, want, "{ending}");
        want[ending as usize] = bindings;
        assert_eq!(survey.bindings, want, "{ending}");
        assert_eq!((bench.sessions(), bench.bindings()), before, "{ending}: nothing changes");
        bench.gate.reconfigure(bench.now, Change::Settings(Box::new(new)));
        assert_eq!(before.0 - bench.sessions(), sessions, "{ending}: as many as a reload ends");
    }
    let survey = endings(&bench, &base(), 1000);
    assert_eq!((survey.sessions, survey.bindings), Default::default());
}
