//! Rate limits of originated ICMP errors (RFC 4443 §2.4 f, RFC 1812 §4.3.2.8).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::bucket::{Bucket, NANOS, Share};
use super::refusal::ErrorHeader;
use super::rules::RewriteRules;
use crate::addr::{HostKey, SiteKey, Sites};
use crate::ownership::mix;
use crate::time::Instant;

/// Token buckets for sites and for hosts, by hash, on each side.
const SITES: usize = 64;
const HOSTS: usize = 256;

/// Which errors pass first when tokens are scarce. Each kind leaves tokens to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// A refusal: the packet's sender would only fail later.
    Refusal,
    /// "Too big" or "time exceeded": without it, connections hang and traceroute shows nothing.
    Path,
    /// The same to a host with a stateless mapping. Others can forge its address, but those of all such hosts only
    /// within their sites.
    Mapped,
    /// The same about a packet of a live session, which no forged source can have.
    Session,
}

impl Urgency {
    /// The urgency of an error to an IPv6 sender. `path` is that of an error about the path, `None` without
    /// session or mapping.
    pub(crate) fn of6(error: ErrorHeader, path: impl FnOnce() -> Option<Self>) -> Self {
        Self::of(error.is_path6(), path)
    }

    /// The urgency of an error to an IPv4 sender; see [`of6`](Self::of6).
    pub(crate) fn of4(error: ErrorHeader, path: impl FnOnce() -> Option<Self>) -> Self {
        Self::of(error.is_path4(), path)
    }

    fn of(is_about_path: bool, path: impl FnOnce() -> Option<Self>) -> Self {
        if is_about_path { path().unwrap_or(Self::Path) } else { Self::Refusal }
    }

    /// How many of `burst` tokens it leaves to more urgent errors.
    const fn reserved(self, burst: u64) -> u64 {
        match self {
            Self::Refusal => burst / 2,
            Self::Path => burst / 4,
            Self::Mapped => burst / 8,
            Self::Session => 0,
        }
    }
}

/// The buckets of one side.
#[derive(Clone, Debug)]
struct Side {
    /// `None` sends no errors.
    share: Option<Share>,
    total: Bucket,
    sites: [Bucket; SITES],
    hosts: [Bucket; HOSTS],
}

/// One worker's part of the limits on originated ICMP errors, for both sides.
///
/// A site gets at most half of the rate, a host half of that: what [`Usage`](crate::addr::Usage) leaves to them under
/// contention. Hosts and sites of IPv6 are those of [`Sites`]; from IPv4, each address is a host and each /24 a site.
/// They share buckets by a hash that a sender can't predict.
#[derive(Clone, Debug)]
pub(crate) struct ErrorLimits {
    sides: Box<[Side; 2]>,
    sites: Sites,
    workers: u8,
    seed: u32,
}

impl ErrorLimits {
    /// The limits of one of `workers` workers, at least 1. `seed` is that of the hash.
    pub(crate) fn new(rules: &RewriteRules, workers: u8, seed: u32) -> Self {
        let side = Side {
            share: None,
            total: Bucket::new(),
            sites: [Bucket::new(); SITES],
            hosts: [Bucket::new(); HOSTS],
        };
        let mut limits = Self {
            sides: Box::new([side.clone(), side]),
            sites: Sites::default(),
            workers: workers.max(1),
            seed,
        };
        limits.set_rates(rules);
        limits
    }

    /// Changes rates and burst size.
    pub(crate) fn set_rates(&mut self, rules: &RewriteRules) {
        let workers = u64::from(self.workers);
        for (side, rate) in self.sides.iter_mut().zip(rules.error_rate) {
            side.share = (rate > 0 && rules.error_burst > 0).then(|| Share {
                price: NANOS * workers / u64::from(rate),
                burst: u64::from(rules.error_burst).div_ceil(workers),
            });
        }
    }

    /// Changes hosts and sites of IPv6.
    pub(crate) fn set_sites(&mut self, sites: Sites) {
        self.sites = sites;
    }

    /// Takes a token for an ICMPv6 error to `to`. Call it only if the error is due.
    pub(crate) fn take6(&mut self, now: Instant, to: Ipv6Addr, urgency: Urgency) -> bool {
        let (HostKey { zone, prefix: host }, SiteKey { prefix: site, .. }) = self.sites.find(to);
        let hash = |addr: Ipv6Addr| {
            let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (addr.to_bits() >> shift) as u32);
            mix(self.seed, &[zone.0.into(), a, b, c, d])
        };
        let keys = (hash(site.addr()), hash(host.addr()));
        self.sides[0].take(now, keys, urgency)
    }

    /// Takes a token for an ICMPv4 error to `to`. Call it only if the error is due.
    pub(crate) fn take4(&mut self, now: Instant, to: Ipv4Addr, urgency: Urgency) -> bool {
        let bits = to.to_bits();
        let keys = (mix(self.seed, &[bits >> 8]), mix(self.seed, &[bits]));
        self.sides[1].take(now, keys, urgency)
    }
}

impl Side {
    fn take(&mut self, now: Instant, (site, host): (u32, u32), urgency: Urgency) -> bool {
        let Some(share) = self.share else { return false };
        let levels = [
            (&mut self.total, share),
            (&mut self.sites[site as usize % SITES], share.part(2)),
            (&mut self.hosts[host as usize % HOSTS], share.part(4)),
        ];
        let mut all = true;
        for (bucket, share) in levels {
            all &= bucket.has(now, share, urgency.reserved(share.burst));
        }
        if all {
            self.total.spend(share);
            self.sites[site as usize % SITES].spend(share.part(2));
            self.hosts[host as usize % HOSTS].spend(share.part(4));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Ipv6Prefix, ZoneId, ZoneSites};

    fn limits(rate: u32, burst: u32, workers: u8) -> ErrorLimits {
        ErrorLimits::new(
            &RewriteRules { error_rate: [rate; 2], error_burst: burst, ..RewriteRules::default() },
            workers,
            7,
        )
    }

    fn host(site: u16, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, site, 0, 0, 0, host)
    }

    /// Errors granted in a second at 500 attempts a second, and five attempts of a neighbour each 200 ms.
    fn contest(
        limits: &mut ErrorLimits,
        mut flood: impl FnMut(&mut ErrorLimits, Instant, u64) -> bool,
        neighbour: impl Fn(&mut ErrorLimits, Instant) -> bool,
    ) -> (usize, usize) {
        let (mut flooded, mut sent) = (0, 0);
        for n in 0..500 {
            let now = Instant::from_millis(60_000 + 2 * n);
            flooded += usize::from(flood(limits, now, n));
            if n % 100 == 99 {
                sent += usize::from(neighbour(limits, now));
            }
        }
        (flooded, sent)
    }

    #[test]
    fn refusals_of_one_host_leave_packet_too_big_to_others() {
        // ids 4443-2.4f, 1812-4.3.2.8
        for workers in [1, 4] {
            for neighbour in [host(1, 3), host(2, 2)] {
                let mut limits = limits(100, 100, workers);
                let refusal = |l: &mut ErrorLimits, now, _| l.take6(now, host(1, 2), Urgency::Refusal);
                let too_big = |l: &mut ErrorLimits, now| l.take6(now, neighbour, Urgency::Path);
                let (refused, sent) = contest(&mut limits, refusal, too_big);
                assert_eq!(sent, 5, "{workers} workers, {neighbour}");
                assert!(refused > 5 && refused <= 25 + 25 / usize::from(workers), "{refused}");
            }
        }
    }

    #[test]
    fn forged_sources_leave_errors_about_sessions() {
        // id 1812-4.3.2.8
        let server = Ipv4Addr::new(198, 51, 100, 7);
        let kinds = [Urgency::Refusal, Urgency::Path, Urgency::Mapped, Urgency::Session];
        for (at, urgency) in kinds.into_iter().enumerate().skip(1) {
            let mut limits = limits(100, 100, 4);
            let forged = |l: &mut ErrorLimits, now, n: u64| {
                l.take4(now, Ipv4Addr::from_bits(mix(9, &[n as u32])), kinds[at - 1])
            };
            let too_big = |l: &mut ErrorLimits, now| l.take4(now, server, urgency);
            let (_, sent) = contest(&mut limits, forged, too_big);
            assert_eq!(sent, 5, "{urgency:?}");
        }
    }

    #[test]
    fn hosts_and_sites_are_those_of_the_zone() {
        // id 4443-2.4f
        let client: Ipv6Prefix = "2001:db8:1::/48".parse().expect("literal");
        let zone = |host_len, site_len| ZoneSites { id: ZoneId(3), host_len, site_len };
        // How many of 200 refusals are sent to one address, to one /64, to all of a /48.
        for (lens, want) in [((128, 64), [13, 25, 50]), ((64, 64), [13, 13, 50]), ((128, 48), [13, 25, 25])] {
            let clients = [client];
            let sites = Sites::new(core::iter::once((zone(lens.0, lens.1), clients.as_slice())));
            let addresses: [fn(u16) -> Ipv6Addr; 3] = [|_| host(1, 1), |n| host(1, n), |n| host(n, n)];
            for (address, want) in addresses.into_iter().zip(want) {
                let mut limits = limits(1, 100, 1);
                limits.set_sites(sites.clone());
                let now = Instant::from_secs(60);
                let sent = (0..200).filter(|n| limits.take6(now, address(*n), Urgency::Refusal)).count();
                assert_eq!(sent, want, "{lens:?}");
            }
        }
    }

    #[test]
    fn the_rate_is_that_of_the_gateway() {
        // ids 4443-2.4f, 1812-4.3.2.8
        for (rate, workers) in [(100, 1), (100, 4), (10, 3), (1, 8)] {
            let mut sent = 0;
            for _ in 0..workers {
                let mut limits = limits(rate, 8, workers);
                for ms in 0..100_000_u64 {
                    let to = host((ms % 64) as u16, ms as u16);
                    sent += u32::from(limits.take6(Instant::from_millis(ms), to, Urgency::Session));
                }
            }
            let want = rate * 100;
            assert!((want - want / 10..=want + 8 + u32::from(workers)).contains(&sent), "{rate}: {sent}");
        }
    }

    #[test]
    fn a_rate_of_zero_sends_no_errors() {
        assert!(!limits(0, 8, 1).take6(Instant::from_secs(9), host(1, 1), Urgency::Session));
        let mut limits = limits(0, 8, 1);
        limits.set_rates(&RewriteRules::default());
        assert!(limits.take6(Instant::from_secs(9), host(1, 1), Urgency::Session));
    }
}
