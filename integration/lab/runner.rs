//! The third runner: the scenarios through `gate64 run` on a real TUN. One packet socket sends packets to the
//! device, another receives its output.

use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use gate64::addr::ZoneId;
use gate64::device::pcap::{Reader, Writer};
use gate64::lab::{Gateway, LabError, Namespace};
use gate64::nat64::{Pool, Zone};
use gate64::translator::Settings;

use super::{Test, lock_machine, program, wrong};
use crate::runners::{Left, chosen, in_words_of_a_file, name};
use crate::script::world::record;
use crate::script::{file, live};
use crate::translate::packet;

pub(super) const DEVICE: &str = "doors0";
/// Timeout of one scenario on a loaded machine, in seconds.
const LIMIT: u32 = 120;

/// Packet sockets for input and output of a device.
pub(super) struct Wire {
    child: Child,
    to: Writer<BufWriter<ChildStdin>>,
    from: Reader<BufReader<ChildStdout>>,
}

impl Wire {
    /// With `segment`, inputs are super-packets with segments of that size.
    pub(super) fn open(at: &Namespace, device: &str, segment: Option<u16>) -> Result<Self, LabError> {
        let failed = |what: &str| wrong(format!("the wire of {device}: {what}"));
        let segment = segment.map_or_else(String::new, |size| format!(" --segment {size}"));
        let line = format!(
            "netns exec {} timeout -s KILL {LIMIT} {} lab wire {device}{segment}",
            at.name(),
            program().display()
        );
        let mut child = Command::new("ip")
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let stdin = child.stdin.take().ok_or_else(|| failed("no input"))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no output"))?;
        let mut to = Writer::new(BufWriter::new(stdin)).map_err(|error| failed(&error.to_string()))?;
        to.flush().map_err(|error| failed(&error.to_string()))?;
        // Sent when the socket is ready.
        let from = Reader::new(BufReader::new(stdout)).map_err(|error| failed(&error.to_string()))?;
        Ok(Self { child, to, from })
    }

    pub(super) fn put(&mut self, packets: &[Vec<u8>]) -> Result<(), String> {
        for packet in packets {
            self.to.write(Duration::ZERO, packet).map_err(|error| error.to_string())?;
        }
        self.to.flush().map_err(|error| error.to_string())
    }

    /// The next packet.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, String> {
        match self.from.next_packet() {
            Ok(Some(packet)) => Ok(packet.bytes.to_vec()),
            Ok(None) => Err("nothing came in time".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The settings with an additional zone, whose packets act as a fence: when one leaves, all earlier packets
/// have left. Only packets end a wait: the clock is not advanced here.
fn with_fence(settings: &Settings) -> Settings {
    let mut settings = in_words_of_a_file(settings);
    let nat64 = &mut settings.nat64;
    nat64.zones.push(Zone {
        id: ZoneId(nat64.zones.iter().map(|zone| zone.id.0 + 1).max().unwrap_or(0)),
        clients: vec!["2001:db8:fe::/64".parse().expect("literal")],
        pref64: vec!["2001:db8:fe64::/96".parse().expect("literal")],
        pool: nat64.pools.len(),
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 256,
        sessions_per_host: 1,
        bindings_per_second: 0,
    });
    let ports = "1024-65535".parse().expect("literal");
    nat64.pools.push(Pool { ranges: vec![("198.18.0.1/32".parse().expect("literal"), ports)] });
    let limits = &mut nat64.limits;
    for limit in [&mut limits.sessions, &mut limits.bindings, &mut limits.blocks, &mut limits.hosts] {
        *limit += 1;
    }
    let hour = Duration::from_secs(3600);
    nat64.timers.fragment = hour;
    nat64.timers.tcp_incoming_syn = hour;
    settings
}

/// The daemon of one scenario, and the sockets of its device.
struct Live {
    wire: Wire,
    fences: u16,
    _gateway: Gateway,
}

impl Live {
    fn start(at: &Namespace, dir: &Path, settings: &Settings) -> Result<Self, LabError> {
        let path = dir.display();
        let more = format!(
            "device = \"{DEVICE}\"\noffloads = false\nfirewall = \"ignore\"\nannounce = \"routed\"\n\
             state_dir = \"{path}/state\"\n[observe]\nmetrics = \"off\"\nadmin = \"{path}/admin.sock\"\n"
        );
        let text = file::text(&with_fence(settings), 65_535, &more);
        let gateway = Gateway::with_file(program(), at, dir, &text)?;
        let wire = Wire::open(at, DEVICE, None)?;
        let mut live = Self { wire, fences: 0, _gateway: gateway };
        // The fence creates its session before the scenario fills tables.
        live.exchange(&[]).map_err(wrong)?;
        Ok(live)
    }

    /// Sends packets and then a fence; returns the packets received before the fence.
    fn exchange(&mut self, packets: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
        self.fences += 1;
        let len = self.fences;
        let fence = packet(&format!("udp 2001:db8:fe::1.5000 > 2001:db8:fe64::c000:209.9 data={len}"));
        self.wire.put(packets)?;
        self.wire.put(&[fence])?;
        let mut came = Vec::new();
        loop {
            let packet = self.wire.take()?;
            let fenced = packet.first() == Some(&0x45) && packet.get(12..16) == Some(&[198, 18, 0, 1]);
            match fenced && packet.len() == 28 + usize::from(len) {
                true => return Ok(came),
                false => came.push(packet),
            }
        }
    }
}

/// A network namespace in which only the gateway receives packets from the device.
pub(super) fn quiet(at: &Namespace) -> Test {
    let rules = format!(
        "table inet runner {{ chain quiet {{ type filter hook prerouting priority raw; iifname {DEVICE} drop; }}; }}"
    );
    at.run("nft -f -").input(rules).text().map(drop)
}

/// `SCENARIO=words` runs only files whose path contains the words.
#[test]
fn scenarios_hold_through_the_daemon() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    gate64::lab::sweep();
    let namespace = format!("g64lab-{}-runner", std::process::id());
    let at = Namespace::new(namespace)?;
    quiet(&at)?;
    let mut left = Left::default();
    let mut failures = Vec::new();
    for scenario in &chosen() {
        let recording = record(scenario).expect("it holds through the library");
        let skipped = recording.library_only().or_else(|| recording.skipped_by_the_daemon());
        if let Some(why) = skipped {
            left.skip(scenario, why);
            continue;
        }
        if let Err(why) = crate::runners::as_file(&recording.settings) {
            left.skip(scenario, &why);
            continue;
        }
        // A state directory each: a gateway restores the port blocks of an earlier one.
        let dir = tempfile::tempdir().map_err(|error| wrong(error.to_string()))?;
        let played = Live::start(&at, dir.path(), &recording.settings)
            .map_err(|error| error.to_string())
            .and_then(|mut live| live::play(&recording.steps, &mut |packets| live.exchange(packets)));
        match played {
            Ok(()) => left.pass(),
            Err(why) => failures.push(format!("{}: {why}", name(scenario))),
        }
    }
    left.report("daemon");
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
    left.check("daemon", 50);
    Ok(())
}
