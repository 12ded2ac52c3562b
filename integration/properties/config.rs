//! Any text as a configuration: it loads or reports an error with its position, and a loaded configuration
//! can run.

use std::net::IpAddr;

use gate64::addr::WorkerId;
use gate64::config::{Config, HostInfo, OwnAddress};
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Translator, Verdict};
use gate64::wire::buf::PacketBuf;

/// A host with an address of each family and a route for everything.
struct AnyHost([OwnAddress; 2]);

impl HostInfo for AnyHost {
    fn addresses(&self) -> &[OwnAddress] {
        &self.0
    }

    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        self.0.iter().map(|own| own.addr).find(|addr| addr.is_ipv4() == to.is_ipv4())
    }

    fn cpus(&self) -> usize {
        4
    }
}

fn any_host() -> AnyHost {
    let own = |addr: &str, len| OwnAddress {
        interface: "eth0".to_owned(),
        addr: addr.parse().expect("literal"),
        len,
    };
    AnyHost([own("198.51.100.1", 24), own("2001:db8:1::1", 64)])
}

/// The text of a file; bytes that are not UTF-8 are replaced.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.matches('\n').count() + 1;
    match Config::parse("any.toml", &text, &any_host()) {
        Ok(config) => {
            for warning in &config.warnings {
                assert!((1..=lines).contains(&warning.line), "a warning at no line:\n{warning}");
            }
            run(&config);
        }
        Err(error) => {
            assert!(!error.diagnostics.is_empty(), "refused without a word");
            for diagnostic in &error.diagnostics {
                assert!((1..=lines).contains(&diagnostic.line), "a diagnostic without a line:\n{diagnostic}");
                assert!(diagnostic.column >= 1 && !diagnostic.found.is_empty(), "{diagnostic}");
            }
            assert!(error.to_string().starts_with("any.toml:"));
        }
    }
}

/// Builds small tables from the configuration and processes a packet of each family.
fn run(config: &Config) {
    let mut settings = config.worker(WorkerId(0), 1, 1, 1);
    let limits = &mut settings.nat64.limits;
    limits.sessions = limits.sessions.min(16);
    limits.bindings = limits.bindings.min(16);
    limits.blocks = limits.blocks.min(16);
    limits.hosts = limits.hosts.min(16);
    limits.fragment_bytes = limits.fragment_bytes.min(4096);
    limits.unsolicited_syns = limits.unsolicited_syns.min(16);
    limits.events = limits.events.min(16);
    let pool: u64 = settings.nat64.pools.iter().flat_map(|p| &p.ranges).map(|(net, _)| net.size()).sum();
    if pool > 1024 {
        return;
    }
    let client = settings.nat64.zones.first().and_then(|zone| zone.clients.first()).map(|net| net.addr());
    let pref64 = settings.nat64.zones.first().and_then(|zone| zone.pref64.first()).copied();
    let mut translator = Translator::new(settings, gate64::config::MAX_ZONES);
    let (Some(client), Some(pref64)) = (client, pref64) else { return };
    let mut packet = vec![0x60, 0, 0, 0, 0, 9, 17, 64];
    packet.extend(client.octets());
    packet.extend(pref64.embed("8.8.8.8".parse().expect("literal")).octets());
    packet.extend([0x9c, 0x40, 0, 53, 0, 9, 0x12, 0x34, 1]);
    let (mut verdict, mut extra) = ([Verdict::Hold], ExtraPackets::new(4, 2048));
    let mut buf = PacketBuf::new(2048);
    buf.fill(&packet);
    translator.process(Instant::from_secs(1), std::slice::from_mut(&mut buf), &mut verdict, &mut extra);
    assert!(!matches!(verdict[0], Verdict::Hold | Verdict::HandOver(_)), "{:?}", verdict[0]);
}
