//! Reloads the configuration in two phases, at SIGHUP or a request to the admin socket.
//!
//! The first phase reads, validates and prepares everything; a failure changes nothing. The second phase switches
//! routes, then translation, then DNS64, so that DNS64 never hands out addresses that are not translated yet.
//! Removals come last: a removed pref64 is translated until no cache can have addresses with it.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::gateway::{
    Gateway, Lingering, RunError, filter_hosts, log_warnings, notify, prefixes, set_translating,
    start_resolver,
};
use super::host_info::LocalHost;
use super::host_state::HostError;
use super::requirements::Requirements;
use super::{clock, last_good, saved_lingering};
use crate::config::{self, Config, LoadError, changes};
use crate::observe::admin::ReloadFailure;
use crate::observe::dry_run::DryRun;
use crate::observe::unix_seconds;
use crate::observe::view::LastReload;
use crate::translator::Ending;

/// Copies settings that need a restart from `old` to `new`; returns the keys of those that differ.
fn keep_fixed(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    macro_rules! keep {
        ($($key:literal: $($field:ident).+;)+) => {
            $(if old.$($field).+ != new.$($field).+ {
                new.$($field).+ = old.$($field).+.clone();
                kept.push($key);
            })+
        };
    }
    keep! {
        "host.device": host.device;
        "host.mtu": host.mtu;
        "host.workers": host.workers;
        "host.offloads": host.offloads;
        "host.steering": host.steering;
        "host.overload_filter": host.overload_filter;
        "host.state_dir": host.state_dir;
        "the table sizes of [limits]": nat64.limits;
        "observe.metrics": observe.metrics;
        "observe.admin": observe.admin;
    }
    if let (Some(old), Some(new)) = (&old.dns64, &mut new.dns64) {
        let (old, new) = (&old.settings.network.threads, &mut new.settings.network.threads);
        if old != new {
            *new = *old;
            kept.push("dns64.threads");
        }
    }
    // By default the files are within the state directory, which is reported already.
    let is_moved = kept.contains(&"host.state_dir");
    if old.binding_log != new.binding_log {
        new.binding_log = old.binding_log.clone();
        kept.extend((!is_moved).then_some("binding_log"));
    }
    let programmes = std::mem::take(&mut new.ledger.programmes);
    if old.ledger != (config::Ledger { programmes: old.ledger.programmes.clone(), ..new.ledger.clone() }) {
        new.ledger = old.ledger.clone();
        kept.extend((!is_moved).then_some("ledger"));
    }
    new.ledger.programmes = programmes;
    new.nat64.log_sessions = old.nat64.log_sessions;
    // The MTU of the device limits both sides.
    new.rules.mtu6 = new.rules.mtu6.min(new.host.mtu);
    new.rules.mtu4 = new.rules.mtu4.min(new.host.mtu);
    new.rules.lowest_ipv6_mtu = new.rules.lowest_ipv6_mtu.min(new.rules.mtu6);
    kept
}

/// The configuration with the lingering prefixes added to its zones.
pub(super) fn with_lingering(config: &Config, lingering: &[Lingering]) -> Config {
    let mut both = config.clone();
    for (zone, name) in both.nat64.zones.iter_mut().zip(&config.zone_names) {
        let removed = lingering.iter().filter(|l| l.zone == *name).map(|l| l.pref64);
        let removed: Vec<_> = removed.filter(|p| !zone.pref64.contains(p)).collect();
        zone.pref64.extend(removed);
    }
    both
}

/// The prefixes that lingered when the last gateway ended, as far as `config` allows.
pub(super) fn restored_lingering(config: &Config) -> Vec<Lingering> {
    let now = clock::monotonic();
    let saved = saved_lingering::read(config, (now, clock::wall()));
    to_linger(config, config, &saved, now)
}

/// The prefixes to keep translating: those that `new` removes from a zone, and those of `before` that `new` does not
/// add again. A prefix that overlaps one of `new` cannot linger, because its addresses have a new meaning.
fn to_linger(old: &Config, new: &Config, before: &[Lingering], until: Instant) -> Vec<Lingering> {
    let now_used = new.pref64s();
    let mut all: Vec<Lingering> = Vec::new();
    let removed = old.zone_names.iter().zip(&old.nat64.zones).flat_map(|(name, zone)| {
        zone.pref64.iter().map(move |p| Lingering { zone: name.clone(), pref64: *p, until })
    });
    for candidate in before.iter().cloned().chain(removed) {
        let Some(index) = new.zone_names.iter().position(|name| *name == candidate.zone) else { continue };
        let back = new.nat64.zones[index].pref64.contains(&candidate.pref64);
        let clash =
            now_used.iter().any(|p| *p != candidate.pref64 && p.prefix().overlaps(candidate.pref64.prefix()));
        let known = all.iter().any(|l| l.zone == candidate.zone && l.pref64 == candidate.pref64);
        if !back && !clash && !known {
            all.push(candidate);
        }
    }
    all
}

/// Why a reload failed. Nothing has changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    HostState(#[from] HostError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("egress needs a restart")]
    Egress,
    #[error("{0}")]
    HostInfo(std::io::Error),
    #[error("DNS64: {0}")]
    Resolver(std::io::Error),
    #[error("worker {0} has ended; restart gate64")]
    Worker(u8),
    #[error("the first zone needs a restart: without zones gate64 allocates no memory for sessions")]
    FirstZone,
    /// A part could not switch; all others switched back.
    #[error("{0}; the old settings are in effect again")]
    Restored(Box<Self>),
    /// A part could not switch, and not all others could switch back.
    #[error("{0}; some parts could not return to the old settings, so restart gate64")]
    Mixed(Box<Self>),
}

impl ReloadError {
    fn to_failure(&self) -> ReloadFailure {
        ReloadFailure { invalid: matches!(self, Self::Load(_)), message: self.to_string() }
    }
}

/// A validated reload.
struct Plan {
    new: Config,
    /// Text of the file.
    text: String,
    /// Keys that keep their old value.
    kept: Vec<&'static str>,
    lingering: Vec<Lingering>,
    /// The new configuration with the lingering prefixes.
    with_old: Config,
    requirements: Requirements,
}

/// Refuses the first zone of a gateway that started without one: its tables have no room.
fn check_first_zone(old: &Config, new: &Config) -> Result<(), ReloadError> {
    let is_first = old.nat64.zones.is_empty() && !new.nat64.zones.is_empty();
    if is_first && old.nat64.limits != new.nat64.limits { Err(ReloadError::FirstZone) } else { Ok(()) }
}

impl Gateway {
    /// Reloads the file; logs and returns the result. The service manager is notified first, so that
    /// `systemctl reload` returns when the unit is active again.
    pub(super) async fn reload(&mut self, now: Instant) -> Result<String, ReloadFailure> {
        let since_boot = NotifyState::monotonic_usec_now();
        notify(&[NotifyState::Reloading]);
        if let Ok(since_boot) = since_boot {
            notify(&[since_boot]);
        }
        let result = self.try_reload(now).await;
        let (status, result) = match result {
            Ok(()) => {
                self.host_state.repairs.resume();
                let done = format!("reloaded: {} zones", self.config.zone_names.len());
                tracing::info!("{done}");
                (self.state(), Ok(done))
            }
            Err(why) => {
                let message = why.to_string();
                match why {
                    ReloadError::Restored(_) | ReloadError::Mixed(_) => {
                        tracing::error!("reload failed: {message}");
                    }
                    _ => tracing::error!("reload refused, nothing has changed: {message}"),
                }
                ("translating; the last reload failed, see the log".to_owned(), Err(why.to_failure()))
            }
        };
        let message = match &result {
            Ok(done) => done.clone(),
            Err(failure) => failure.message.clone(),
        };
        let succeeded = result.is_ok();
        self.view.report(|condition| {
            condition.last_reload =
                Some(LastReload { succeeded, at: now, unix_seconds: unix_seconds(clock::wall()), message });
        });
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        result
    }

    /// What a reload would change. Changes nothing.
    pub(super) async fn dry_run(&self, now: Instant) -> Result<DryRun, ReloadFailure> {
        let tried = async {
            let Plan { new, text, kept, lingering, with_old, requirements } = self.plan(now).await?;
            let survey = self.view.inspector().reload(self.seeds.settings(&with_old)).await;
            let ending = survey.map_err(|worker| ReloadError::Worker(worker.0))?;
            let counts = |counts: [u64; Ending::COUNT]| {
                let all = Ending::ALL.iter().zip(counts).filter(|(_, count)| *count > 0);
                all.map(|(ending, count)| (ending.name().to_owned(), count)).collect()
            };
            Ok(DryRun {
                changes: changes(&self.file.text, &text),
                needs_restart: kept.into_iter().map(str::to_owned).collect(),
                lingering: lingering.iter().map(|l| format!("{} of zone {}", l.pref64, l.zone)).collect(),
                sessions_ending: counts(ending.sessions),
                bindings_ending: counts(ending.bindings),
                warnings: new.warnings.iter().map(ToString::to_string).collect(),
                conflicts: requirements.conflicts,
            })
        };
        let result: Result<DryRun, ReloadError> = tried.await;
        result.map_err(|why| why.to_failure())
    }

    /// Reads and validates the file. Changes nothing.
    async fn plan(&self, now: Instant) -> Result<Plan, ReloadError> {
        let device = Some(self.config.host.device.as_str());
        let system = LocalHost::read(device).await.map_err(ReloadError::HostInfo)?;
        let (mut new, text) = last_good::read(&self.file.path, &system)?;
        if new.egress != self.config.egress {
            return Err(ReloadError::Egress);
        }
        check_first_zone(&self.config, &new)?;
        let kept = keep_fixed(&self.config, &mut new);
        new.keep_zone_numbers(&self.config);
        // The gateway follows them; those that the file was read with lack the device.
        new.local = Arc::clone(&self.config.local);
        let lingering = to_linger(&self.config, &new, &self.lingering, now + new.linger);
        let with_old = with_lingering(&new, &lingering);
        let own = config::HostInfo::addresses(&system);
        let requirements = Requirements::of(&new, own, &prefixes(&lingering));
        Ok(Plan { new, text, kept, lingering, with_old, requirements })
    }

    async fn try_reload(&mut self, now: Instant) -> Result<(), ReloadError> {
        let Plan { mut new, text, kept, lingering, with_old, requirements } = self.plan(now).await?;
        log_warnings(&mut new);
        for key in kept {
            tracing::warn!("a change of {key} needs a restart; the old value stays in effect");
        }
        let held = self.host_state.requirements().clone();
        self.host_state.add_missing(&requirements, new.host.sysctls).await?;
        if let Err(why) = self.switch(&new, &with_old).await {
            let restored = self.switch_back().await;
            self.host_state.remove_obsolete(&held).await;
            let why = Box::new(why);
            return Err(if restored { ReloadError::Restored(why) } else { ReloadError::Mixed(why) });
        }
        self.host_state.remove_obsolete(&requirements).await;
        self.config = new;
        self.lingering = lingering;
        last_good::save(&self.config, &text);
        self.file.text = text;
        self.view.report(|condition| condition.refused = None);
        self.save_lingering();
        self.view.show(&self.config, self.resolver.as_ref());
        for l in &self.lingering {
            tracing::info!("{} of zone {} is still translated for {:?}", l.pref64, l.zone, l.until - now);
        }
        Ok(())
    }

    /// Switches translation, then DNS64. `effective` also has the lingering prefixes.
    async fn switch(&mut self, new: &Config, effective: &Config) -> Result<(), ReloadError> {
        self.host_state.egress(new).await?;
        let switched = self.workers.reconfigure(self.seeds.settings(effective)).await;
        switched.map_err(|worker| ReloadError::Worker(worker.0))?;
        self.steer(effective);
        match (&mut self.resolver, &new.dns64) {
            (Some(resolver), Some(dns)) => {
                resolver.reconfigure(dns.settings.clone()).map_err(ReloadError::Resolver)?;
                set_translating(resolver, new, !self.is_down);
                Ok(())
            }
            (none @ None, Some(dns)) => {
                let resolver = start_resolver(dns)?;
                set_translating(&resolver, new, !self.is_down);
                *none = Some(resolver);
                Ok(())
            }
            (some @ Some(_), None) => {
                // Pending queries are answered; the reload does not wait for them.
                if let (Some(resolver), Some(dns)) = (some.take(), &self.config.dns64) {
                    tokio::spawn(resolver.stop(dns.settings.timeouts.total));
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// Restores the old settings after a failed switch; returns whether all parts did. DNS64 has not changed.
    async fn switch_back(&mut self) -> bool {
        let before = with_lingering(&self.config, &self.lingering);
        let switched = self.workers.reconfigure(self.seeds.settings(&before)).await;
        if let Err(worker) = switched {
            tracing::error!("worker {} has ended", worker.0);
        }
        self.steer(&before);
        let egress = self.host_state.egress(&before).await;
        if let Err(why) = &egress {
            tracing::error!("{why}");
        }
        switched.is_ok() && egress.is_ok()
    }

    /// Updates steering program and overload filter. If that fails, workers hand packets over, or hosts have wrong
    /// shares.
    fn steer(&mut self, config: &Config) {
        let owners = self.seeds.owners(config);
        if let Some(Err(why)) = self.steering.as_mut().map(|steering| steering.update(&owners)) {
            tracing::warn!("the steering program is outdated, workers hand packets over: {why}");
        }
        if let Some(Err(why)) =
            self.overload.as_mut().map(|filter| filter.update(&filter_hosts(config, &owners)))
        {
            tracing::warn!("the overload filter is outdated, some hosts have wrong shares: {why}");
        }
    }

    /// Saves the lingering prefixes for the next start.
    fn save_lingering(&self) {
        saved_lingering::save(&self.config, &self.lingering, (clock::monotonic(), clock::wall()));
    }

    /// Returns when the next lingering pref64 expires; never if there is none.
    pub(super) async fn linger(&self) {
        match self.lingering.iter().map(|l| l.until).min() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Stops translating the expired prefixes.
    pub(super) async fn forget_lingering(&mut self, now: Instant) {
        for over in self.lingering.extract_if(.., |l| l.until <= now) {
            tracing::info!("{} of zone {} is no longer translated", over.pref64, over.zone);
        }
        self.save_lingering();
        let both = with_lingering(&self.config, &self.lingering);
        if let Err(worker) = self.workers.reconfigure(self.seeds.settings(&both)).await {
            tracing::error!("worker {} has ended", worker.0);
        }
        let device = Some(self.config.host.device.as_str());
        let names = prefixes(&self.lingering);
        match LocalHost::read(device).await {
            Ok(system) => {
                let own = config::HostInfo::addresses(&system);
                self.host_state.remove_obsolete(&Requirements::of(&self.config, own, &names)).await;
            }
            Err(why) => tracing::warn!("addresses: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    fn config(pref64: &str, more: &str) -> Config {
        let text = format!(
            "[translator]\npref64 = {pref64}\npool4 = \"192.0.2.64/28\"\n{more}\n\
             [[zone]]\nname = \"a\"\nclients = [\"2001:db8:1::/64\"]\n\
             [[zone]]\nname = \"b\"\nclients = [\"2001:db8:2::/64\"]\npref64 = \"64:ff9b::/96\"\n"
        );
        load_on(&text, &FakeHost::new()).expect("a good file")
    }

    fn texts(lingering: &[Lingering]) -> Vec<String> {
        lingering.iter().map(|l| format!("{} {}", l.zone, l.pref64)).collect()
    }

    #[test]
    fn a_removed_pref64_lingers_and_comes_last() {
        let until = clock::monotonic();
        let old = config("[\"2001:db8:64::/96\", \"2001:db8:65::/96\"]", "");
        let new = config("\"2001:db8:66::/96\"", "");
        let lingering = to_linger(&old, &new, &[], until);
        assert_eq!(texts(&lingering), ["a 2001:db8:64::/96", "a 2001:db8:65::/96"]);
        let both = with_lingering(&new, &lingering);
        let zone: Vec<_> = both.nat64.zones[0].pref64.iter().map(ToString::to_string).collect();
        assert_eq!(zone, ["2001:db8:66::/96", "2001:db8:64::/96", "2001:db8:65::/96"]);
        assert_eq!(both.nat64.zones[1], new.nat64.zones[1]);
        assert_eq!(both.dns64, new.dns64, "DNS does not name it");
        // A second reload brings one of them back.
        let third = config("[\"2001:db8:66::/96\", \"2001:db8:64::/96\"]", "");
        assert_eq!(texts(&to_linger(&new, &third, &lingering, until)), ["a 2001:db8:65::/96"]);
    }

    #[test]
    fn a_pref64_that_overlaps_a_new_one_does_not_linger() {
        let old = config("\"2001:db8:64::/96\"", "");
        let new = config("\"2001:db8:64::/64\"", "");
        assert_eq!(to_linger(&old, &new, &[], clock::monotonic()), []);
    }

    #[test]
    fn the_first_zone_needs_a_restart() {
        let siit = |more: &str| {
            let text = format!("[siit]\neam = \"192.0.2.1 = 2001:db8:9::1\"\n{more}");
            load_on(&text, &FakeHost::new()).expect("a good file")
        };
        let zone = "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.64/28\"\n\
                    [[zone]]\nname = \"a\"\nclients = [\"2001:db8:1::/64\"]\n";
        let refused = check_first_zone(&siit(""), &siit(zone)).expect_err("no room for sessions");
        assert!(refused.to_string().starts_with("the first zone needs a restart"), "{refused}");
        assert!(check_first_zone(&siit(zone), &siit(zone)).is_ok());
        assert!(check_first_zone(&siit(""), &siit("")).is_ok());
        let sized = "[limits]\nsessions = 5\nbindings = 5\nblocks = 5\nhosts = 5\nunsolicited_syns = 5\n\
                     unsolicited_syns_per_source = 5\nfragment_bytes = 65536\nevents = 16\n";
        let sized = (siit(sized), siit(&format!("{zone}{sized}")));
        assert!(check_first_zone(&sized.0, &sized.1).is_ok(), "the file gave it room");
    }

    #[test]
    fn a_failed_reload_says_what_is_in_effect() {
        let why = || Box::new(ReloadError::Worker(3));
        let restored = ReloadError::Restored(why()).to_string();
        assert!(restored.ends_with("; the old settings are in effect again"), "{restored}");
        let mixed = ReloadError::Mixed(why()).to_string();
        assert!(mixed.ends_with("so restart gate64"), "{mixed}");
    }

    #[test]
    fn settings_that_need_a_restart_stay() {
        let old = config("\"2001:db8:64::/96\"", "[host]\nworkers = 2\n[timers]\nudp = \"300s\"");
        let mut new = config(
            "\"2001:db8:64::/96\"",
            "[host]\nworkers = 3\ndevice = \"other\"\n[limits]\nsessions = 5\n[timers]\nudp = \"400s\"",
        );
        assert_eq!(
            keep_fixed(&old, &mut new),
            ["host.device", "host.workers", "the table sizes of [limits]"]
        );
        assert_eq!(new.host, old.host);
        assert_eq!(new.nat64.limits, old.nat64.limits);
        assert_eq!(new.nat64.timers.udp, Duration::from_secs(400));
        assert_eq!(keep_fixed(&old, &mut old.clone()), [""; 0]);
    }

    #[test]
    fn each_key_that_needs_a_restart_stays() {
        let dns64 = |threads| {
            format!(
                "[dns64]\nlisten = \"[2001:db8:1::1]:53\"\nupstreams = \"198.51.100.53\"\nthreads = {threads}"
            )
        };
        let cases = [
            ("host.device", "[host]\ndevice = \"other\""),
            ("host.mtu", "[host]\nmtu = 1400"),
            ("host.workers", "[host]\nworkers = 3"),
            ("host.offloads", "[host]\noffloads = false"),
            ("host.steering", "[host]\nsteering = false"),
            ("host.overload_filter", "[host]\noverload_filter = \"off\""),
            ("host.state_dir", "[host]\nstate_dir = \"/var/lib/other\""),
            ("the table sizes of [limits]", "[limits]\nsessions = 5"),
            ("observe.metrics", "[observe]\nmetrics = \"127.0.0.1:9164\""),
            ("observe.admin", "[observe]\nadmin = \"/run/other\""),
            ("binding_log", "[binding_log]\nretention_days = 7"),
            ("ledger", "[ledger]\nretention_days = 7"),
            ("dns64.threads", &dns64(2)),
        ];
        for (key, more) in cases {
            let before = if key == "dns64.threads" { dns64(1) } else { String::new() };
            let (old, mut new) =
                (config("\"2001:db8:64::/96\"", &before), config("\"2001:db8:64::/96\"", more));
            assert_eq!(keep_fixed(&old, &mut new), [key]);
            assert_eq!(
                (&new.host, &new.nat64.limits, &new.observe),
                (&old.host, &old.nat64.limits, &old.observe),
                "{key}"
            );
            let threads = |config: &Config| config.dns64.as_ref().map(|dns| dns.settings.network.threads);
            assert_eq!(threads(&new), threads(&old), "{key}");
        }
    }

    #[test]
    fn mtus_stay_within_that_of_the_device() {
        let old = config("\"2001:db8:64::/96\"", "[host]\nmtu = 1400");
        let more = "mtu6 = 9000\nmtu4 = 8000\nlowest_ipv6_mtu = 7000\n[host]\nmtu = 9000";
        let mut new = config("\"2001:db8:64::/96\"", more);
        assert_eq!(keep_fixed(&old, &mut new), ["host.mtu"]);
        let rules = &new.rules;
        assert_eq!([new.host.mtu, rules.mtu6, rules.mtu4, rules.lowest_ipv6_mtu], [1400; 4]);
        let mut smaller = config("\"2001:db8:64::/96\"", "mtu6 = 1300\nmtu4 = 1290\nlowest_ipv6_mtu = 1280");
        keep_fixed(&old, &mut smaller);
        let rules = &smaller.rules;
        assert_eq!(
            [rules.mtu6, rules.mtu4, rules.lowest_ipv6_mtu],
            [1300, 1290, 1280],
            "what is lower stays"
        );
    }
}
