//! Fair shares of a limited resource: between sites, and between the hosts of a site.

/// How much of a limited resource is in use, before one more unit is given to a host.
///
/// Three rules, in this order:
/// 1. Nothing is given above `total`.
/// 2. Under contention a site never takes more than half of what is free to it: it may grow while it holds less
///    than what is still free. A site that holds nothing always receives its first unit.
/// 3. Within a site the same holds for its hosts, with the site's own share as the total.
///
/// A site without other sites, and a host without other hosts in its site, may use everything. One flooding site
/// thus gets half of the total, two get two thirds, and later sites are still admitted; likewise for hosts.
///
/// Contention means that another site or host holds at least one unit. A lone site that holds everything leaves
/// nothing to the first unit of another: where units are held for long, keep a reserve or reclaim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Units in all.
    pub total: u64,
    /// Units in use by all sites.
    pub used: u64,
    /// Units in use by the site, at most `used`.
    pub site: u64,
    /// Units in use by the host, at most `site`.
    pub host: u64,
}

/// The level whose share is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing is left for anybody.
    Total,
    /// The site has its share.
    Site,
    /// The host has its share of the site.
    Host,
}

impl Usage {
    /// Whether the host may take one more unit.
    ///
    /// # Errors
    /// The first [`Level`] whose share is used up.
    pub const fn admit(self) -> Result<(), Level> {
        let free = self.total.saturating_sub(self.used);
        if free == 0 {
            return Err(Level::Total);
        }
        let lone_site = self.used == self.site;
        if !lone_site && self.site > 0 && self.site >= free {
            return Err(Level::Site);
        }
        // What the site can still take: each further unit also reduces what is free.
        let free_to_site = if lone_site { free } else { free.saturating_sub(self.site).div_ceil(2) };
        let lone_host = self.site == self.host;
        if !lone_host && self.host > 0 && self.host >= free_to_site {
            return Err(Level::Host);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives units to the host `at` of the site `of` until it is refused; returns the level that refused.
    fn flood(total: u64, held: &mut [Vec<u64>], of: usize, at: usize) -> Level {
        loop {
            let used = held.iter().flatten().sum();
            let usage = Usage { total, used, site: held[of].iter().sum(), host: held[of][at] };
            match usage.admit() {
                Ok(()) => held[of][at] += 1,
                Err(level) => return level,
            }
        }
    }

    #[test]
    fn a_lone_host_may_use_everything() {
        let mut held = vec![vec![0]];
        assert_eq!(flood(1_000, &mut held, 0, 0), Level::Total);
        assert_eq!(held[0][0], 1_000);
    }

    #[test]
    fn under_contention_a_site_takes_half_and_later_sites_half_of_the_rest() {
        let mut held = vec![vec![1], vec![0], vec![0], vec![0]];
        for site in 1..4 {
            assert_eq!(flood(1_024, &mut held, site, 0), Level::Site);
        }
        let shares: Vec<_> = held.iter().map(|site| site[0]).collect();
        assert_eq!(shares, [1, 512, 256, 128]);
    }

    #[test]
    fn a_host_takes_half_of_what_its_site_may_take() {
        // Site 1 competes with site 0; its host 1 competes with its host 0.
        let mut held = vec![vec![1], vec![1, 0, 0]];
        assert_eq!(flood(1_024, &mut held, 1, 1), Level::Host);
        assert!((250..=260).contains(&held[1][1]), "{held:?}");
        assert_eq!(flood(1_024, &mut held, 1, 2), Level::Host);
        assert!((120..=130).contains(&held[1][2]), "{held:?}");
        // Another site is not affected.
        assert!(flood(1_024, &mut held, 0, 0) == Level::Site && held[0][0] > 250, "{held:?}");
    }

    #[test]
    fn the_first_unit_is_free_while_anything_is_left() {
        let usage = Usage { total: 100, used: 99, site: 0, host: 0 };
        assert_eq!(usage.admit(), Ok(()));
        assert_eq!(Usage { used: 100, ..usage }.admit(), Err(Level::Total));
    }

    #[test]
    fn a_site_of_many_new_hosts_is_bounded_as_a_whole() {
        let mut held = vec![vec![1], vec![0; 2_000]];
        let refused = (0..2_000).map(|at| flood(1_024, &mut held, 1, at)).find(|level| *level == Level::Site);
        assert_eq!(refused, Some(Level::Site));
        assert!(held[1].iter().sum::<u64>() <= 512, "{}", held[1].iter().sum::<u64>());
    }
}
