//! Answers that need no upstream.

use super::answer::Draft;
use super::query::Query;
use super::reverse::mapped_by;
use super::wire::rr;
use super::{Outcome, Settings, Zone, designated, discovery, reverse, special_names};

/// The answer to a query about ipv4only.arpa (RFC 8880 §7), a local record, gate64's DNS over TLS, a special-use
/// name, or a name under the reverse name of a pref64.
pub(super) fn answer(settings: &Settings, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
    if query.class() != rr::IN {
        return special_names::about_server(query);
    }
    let is_dns64 = zone.rules.enabled;
    let discovered = is_dns64.then(|| {
        discovery::answer(settings, zone, query)
            .or_else(|| discovery::reverse(settings, query, mapped_by(zone, query)?))
    });
    discovered
        .flatten()
        .map(|draft| (draft, Outcome::Ipv4only))
        .or_else(|| settings.local.answer(zone, query))
        .or_else(|| designated::answer(settings, query))
        .or_else(|| special_names::answer(settings, query))
        .or_else(|| is_dns64.then(|| reverse::answer(settings, zone, query)).flatten())
}
