//! `gate64 explain`: resolves a name as DNS64 would, with its own engine and an empty cache, and
//! prints the rules that decided. It queries the configured upstreams itself; a running gateway is not
//! needed. If one runs, its remembered failures for the name are shown.

pub(super) mod ask;
mod flow;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flow::Flow;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_rustls::rustls::ClientConfig;

use super::admin::{self, Response};
use super::constants::{CONFIG, USAGE};
use super::exit;
use crate::config::Config;
use crate::control::host_info::LocalHost;
use crate::dns64::explain::{address_decisions, lines, rules, upstream};
use crate::dns64::{Answer, Engine, QueryAction, Settings, Transmit, Transport};
use crate::message;
use crate::output::{errln, outln};
use crate::resolver::clock::Clock;
use crate::resolver::tls;

/// Explain how DNS64 answers a client's query, or what the translator does with a packet, and why.
///
/// `gate64 explain NAME` shows rules, upstream queries and addresses. `gate64 explain udp SOURCE DESTINATION` translates one
/// packet with the configuration and the sessions saved within the last seconds. Neither changes the running gateway.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Domain name to look up; or `tcp`, `udp` or `icmp`, to explain a packet.
    name: String,
    /// Source and destination of a packet, such as [2001:db8:1::5]:5000 198.51.100.7:53. For ICMP without ports.
    #[arg(value_names = ["SOURCE", "DESTINATION"], num_args = 2)]
    endpoints: Vec<String>,
    /// Record type, such as AAAA, MX or TYPE65280.
    #[arg(long = "type", value_name = "TYPE", default_value = "AAAA")]
    kind: String,
    /// Set DO: the client requests DNSSEC records.
    #[arg(long = "do")]
    dnssec_ok: bool,
    /// Address of the client. Default: the first address of the first zone.
    #[arg(long, value_name = "ADDR")]
    client: Option<IpAddr>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// Timeout of a request to a running gateway.
const ADMIN: Duration = Duration::from_secs(2);

/// Prints how DNS64 answers a client's query, or what the translator does with a packet.
pub(super) fn explain(args: &Args) -> ExitCode {
    if !args.endpoints.is_empty() {
        let flow = match Flow::parse(&args.name, &args.endpoints) {
            Ok(flow) => flow,
            Err(why) => {
                errln!("gate64: {why}");
                return ExitCode::from(USAGE);
            }
        };
        return exit::end(flow::explain(&args.config, flow));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return exit::fail(why),
    };
    runtime.block_on(async {
        let system = match LocalHost::read(None).await {
            Ok(system) => system,
            Err(why) => return exit::fail(format_args!("cannot read the addresses of this host: {why}")),
        };
        let (settings, socket) = match Config::load(&args.config, &system) {
            Ok(config) => (config.dns64.map(|dns| dns.settings), config.observe.admin),
            Err(why) => {
                errln!("{why}");
                return ExitCode::from(USAGE);
            }
        };
        let Some(settings) = settings else { return exit::fail("the configuration has no [dns64]") };
        let first = settings.zones.first().and_then(|zone| zone.clients.first());
        let Some(client) = args.client.or_else(|| first.map(|prefix| prefix.addr().into())) else {
            return exit::fail("the configuration has no zone; name a client with --client");
        };
        let (name, kind) = (format!("{}.", args.name.trim_end_matches('.')), args.kind.to_ascii_uppercase());
        let Some(query) = message::query(1, &name, &kind, args.dnssec_ok) else {
            return exit::fail(format_args!("`{name}` is not a domain name, or {kind} not a record type"));
        };
        let tls_config = match tls::upstream_config(&settings) {
            Ok(tls_config) => tls_config,
            Err(why) => return exit::fail(why),
        };
        let dnssec = if args.dnssec_ok { " with DO" } else { "" };
        outln!("{name} {kind}{dnssec} for client {client}\n\nrules");
        rules(&settings, client, &name).iter().for_each(|(rule, says)| outln!("  {rule:18} {says}"));
        remembered(&socket, &name);
        match resolve(Arc::new(settings), tls_config, client, &query).await {
            Some(answer) => {
                outln!("\nanswer after {} ms", answer.elapsed.as_millis());
                outln!("  {}: {}", answer.outcome, answer.outcome.meaning().trim());
                lines(&answer.message).iter().for_each(|line| outln!("  {line}"));
            }
            None => outln!("\nno answer"),
        }
        ExitCode::SUCCESS
    })
}

/// Prints the failures that a running gateway remembers for a name.
fn remembered(socket: &Path, name: &str) {
    match admin::ask(socket, &format!("GET /failures/{name}"), ADMIN) {
        Ok(Response { code: 200, body }) if !body.is_empty() => {
            outln!("\nfailures that the running gateway remembers");
            body.lines().for_each(|line| outln!("  {line}"));
        }
        // None, or no gateway runs.
        Ok(_) | Err(_) => {}
    }
}

/// Resolves `query`, printing each upstream query and its reply.
async fn resolve(
    settings: Arc<Settings>,
    tls_config: Option<Arc<ClientConfig>>,
    client: IpAddr,
    query: &[u8],
) -> Option<Answer> {
    let clock = Clock::start();
    let mut engine = Engine::new(Arc::clone(&settings), 0);
    match engine.query(clock.now(), client, Transport::Tcp, query, || Ok(())) {
        QueryAction::Answer(answer) => return Some(answer),
        QueryAction::Drop(..) => return None,
        QueryAction::Pending => outln!("\nupstreams"),
    }
    let mut asks = FuturesUnordered::new();
    loop {
        while let Some(ask) = engine.poll_transmit() {
            print_event(clock, &asked(&settings, &ask));
            let via = settings.network.via.get(&ask.upstream).cloned().unwrap_or_default();
            let tls_config = tls_config.clone();
            asks.push(async move {
                let result = ask::ask(&ask, &via, tls_config).await;
                (ask, result)
            });
        }
        if let Some(((), answer)) = engine.poll_answer() {
            return Some(answer);
        }
        let deadline = engine.deadline();
        tokio::select! {
            Some((ask, result)) = asks.next() => match result {
                Ok(reply) => {
                    print_reply(clock, &settings, client, &asked(&settings, &ask), &reply);
                    engine.reply(clock.now(), ask.id, &reply);
                }
                Err(why) => {
                    print_event(clock, &format!("{}: {why}", asked(&settings, &ask)));
                    engine.failed(clock.now(), ask.id);
                }
            },
            () = clock.sleep_until(deadline) => engine.timeout(clock.now()),
        }
    }
}

fn print_reply(clock: Clock, settings: &Settings, client: IpAddr, asked: &str, reply: &[u8]) {
    let all = lines(reply);
    print_event(clock, &format!("{asked}: {}", all.first().map_or("", String::as_str)));
    all.iter().skip(1).for_each(|line| outln!("             {line}"));
    for (addr, fate) in address_decisions(settings, client, reply) {
        outln!("             -> {addr} {fate}");
    }
}

fn print_event(clock: Clock, what: &str) {
    outln!("  {:>6} ms  {what}", clock.elapsed().as_millis());
}

/// An upstream query in words.
fn asked(settings: &Settings, ask: &Transmit) -> String {
    format!("{} to {}", question(&ask.query), upstream(settings, ask.upstream))
}

fn question(query: &[u8]) -> String {
    message::question_text(query).map_or_else(String::new, |text| format!("{text}?"))
}
