//! Whether the upstream resolvers of a configuration answer.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::explain::ask::ask;
use crate::dns64::{Settings, Transmit, Via};
use crate::observe::finding::Finding;
use crate::resolver::tls;

/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks each upstream resolver for the name servers of the root.
pub(super) async fn upstreams(settings: &Settings) -> Vec<Finding> {
    let authorities = match tls::upstream_config(settings) {
        Ok(authorities) => authorities,
        Err(why) => {
            return vec![Finding::error("upstreams", why.to_string(), "correct tls_authorities in [dns64]")];
        }
    };
    let forwards = settings.forwards.iter().flat_map(|forward| &forward.upstreams);
    let mut all: Vec<SocketAddr> = settings.upstreams.iter().chain(forwards).copied().collect();
    all.sort_unstable();
    all.dedup();
    let asks: FuturesOrdered<_> = all
        .into_iter()
        .map(|upstream| {
            let via = settings.network.via.get(&upstream).cloned().unwrap_or_default();
            let authorities = authorities.clone();
            async move {
                let probe = Transmit::probe(upstream);
                let answer = tokio::time::timeout(TIMEOUT, ask(&probe, &via, authorities)).await;
                of_upstream(upstream, &via, answer.map(|answer| answer.map(drop)))
            }
        })
        .collect();
    let findings: Vec<_> = asks.collect().await;
    let any_answers = findings.iter().any(Result::is_ok);
    findings.into_iter().map(|finding| finding.unwrap_or_else(|silent| failed(silent, any_answers))).collect()
}

/// What an upstream answered; the error is why it did not.
fn of_upstream<E>(
    upstream: SocketAddr,
    via: &Via,
    answer: Result<std::io::Result<()>, E>,
) -> Result<Finding, String> {
    let how = match via {
        Via::Udp => "UDP",
        Via::Tcp => "TCP",
        Via::Tls(_) => "TLS",
    };
    match answer {
        Ok(Ok(())) => Ok(Finding::ok("upstreams", format!("{upstream} answers over {how}"))),
        Ok(Err(why)) => Err(format!("{upstream} over {how}: {why}")),
        Err(_) => Err(format!("{upstream} does not answer over {how} within {} s", TIMEOUT.as_secs())),
    }
}

/// One silent upstream is a warning if another answers.
fn failed(finding: String, any_answers: bool) -> Finding {
    let remedy = "check the address in `upstreams`, and that a firewall lets queries pass";
    match any_answers {
        true => Finding::warning("upstreams", finding, remedy),
        false => Finding::error("upstreams", finding, remedy),
    }
}
