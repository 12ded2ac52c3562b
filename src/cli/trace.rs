//! `gate64 trace`: follows packets through a running gateway, with what became of each.

mod pcapng;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::admin::{AdminSocket, failed};
use super::exit;
use super::protocol::protocol;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Proto};
use crate::control::clock;
use crate::observe::trace::{TraceLine, TracedPacket};
use crate::output::{errln, outln};
use crate::reason::Reason;
use crate::replay::Summary;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    socket: AdminSocket,
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    output: Output,
}

#[derive(clap::Args, Debug)]
struct Conditions {
    /// Only packets of this client, or of clients in this prefix.
    #[arg(long, value_name = "PREFIX")]
    host: Option<Ipv6Prefix>,
    /// Only packets of clients of this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Only packets with this IPv4 address, of a server or of pool4, or in this prefix.
    #[arg(long, value_name = "PREFIX")]
    address: Option<Ipv4Prefix>,
    /// Only packets with this port, of either side, or ICMP identifier.
    #[arg(long)]
    port: Option<u16>,
    /// Only this protocol.
    #[arg(long, value_parser = protocol())]
    protocol: Option<Proto>,
    /// Only dropped and refused packets.
    #[arg(long)]
    dropped: bool,
}

#[derive(clap::Args, Debug)]
struct Output {
    /// End after so many packets.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Write the first 256 bytes of each packet to a pcapng file, with what became of it as a comment. `-` is standard
    /// output.
    #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

impl Conditions {
    /// The conditions, as the admin socket expects them.
    fn query(&self) -> String {
        let mut all = Vec::new();
        all.extend(self.host.map(|host| format!("host={host}")));
        all.extend(self.zone.as_ref().map(|zone| format!("zone={zone}")));
        all.extend(self.address.map(|address| format!("address={address}")));
        all.extend(self.port.map(|port| format!("port={port}")));
        all.extend(self.protocol.map(|proto| format!("protocol={}", proto.name())));
        all.extend(self.dropped.then(|| "dropped".to_owned()));
        all.join("&")
    }
}

/// Follows packets until interrupted, or until enough packets or seconds.
pub(super) fn trace(args: &Args) -> ExitCode {
    let socket = args.socket.path();
    let stream = match begin(&socket, &args.conditions.query()) {
        Ok(stream) => stream,
        Err(why) => return failed(&socket, &why.to_string()),
    };
    let mut sink = match Sink::open(&args.output) {
        Ok(sink) => sink,
        Err(why) => return exit::fail(why),
    };
    match follow(stream, &args.output, &mut sink) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => exit::fail(why),
    }
}

/// Begins a trace.
///
/// # Errors
/// No gateway listens there, or it refuses the conditions.
fn begin(socket: &Path, query: &str) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("GET /trace?{query} HTTP/1.0\r\nHost: gate64\r\n\r\n").as_bytes())?;
    let mut stream = BufReader::new(stream);
    let (mut status, mut header) = (String::new(), String::new());
    stream.read_line(&mut status)?;
    loop {
        header.clear();
        if stream.read_line(&mut header)? == 0 || header == "\r\n" {
            break;
        }
    }
    if status.split(' ').nth(1) == Some("200") {
        return Ok(stream);
    }
    let mut message = String::new();
    stream.read_line(&mut message)?;
    Err(io::Error::other(if message.is_empty() { status.trim().to_owned() } else { message }))
}

/// Reads lines until the end.
///
/// # Errors
/// Reading or writing fails.
fn follow(mut stream: BufReader<UnixStream>, output: &Output, sink: &mut Sink) -> io::Result<()> {
    let end = output.seconds.map(|seconds| clock::monotonic() + std::time::Duration::from_secs(seconds));
    let (mut line, mut received) = (String::new(), 0);
    loop {
        if let Some(end) = end {
            let rest = end.saturating_duration_since(clock::monotonic());
            if rest.is_zero() {
                return Ok(());
            }
            stream.get_ref().set_read_timeout(Some(rest))?;
        }
        match stream.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => continue,
            Err(why) => return Err(why),
        }
        match serde_json::from_str(&line) {
            Ok(TraceLine::Packet(packet)) => {
                received += u64::from(packet.event != SENT);
                // The packets sent because of the last one belong to it.
                if output.count.is_some_and(|count| received > count) {
                    return Ok(());
                }
                sink.packet(&packet, line.trim_end())?;
                if output.count == Some(received) && !expects_more(&packet) {
                    return Ok(());
                }
            }
            Ok(TraceLine::Lost { records }) => {
                errln!("gate64: {records} packets were lost: there are too many; add conditions");
            }
            Err(why) => return Err(io::Error::other(why)),
        }
        line.clear();
    }
}

/// Event of a packet that was sent because of the packet before.
const SENT: &str = "sent";

/// Whether packets that were sent because of this one follow.
fn expects_more(packet: &TracedPacket) -> bool {
    matches!(packet.event.as_str(), "forwarded" | "refused")
}

/// Where packets go.
enum Sink {
    Text,
    Json,
    File(pcapng::Writer<Box<dyn Write>>),
}

impl Sink {
    fn open(output: &Output) -> io::Result<Self> {
        let to: Box<dyn Write> = match &output.write {
            None if output.json => return Ok(Self::Json),
            None => return Ok(Self::Text),
            Some(path) if path == Path::new("-") => Box::new(io::stdout()),
            Some(path) => Box::new(File::create(path)?),
        };
        pcapng::Writer::new(to).map(Self::File)
    }

    fn packet(&mut self, packet: &TracedPacket, line: &str) -> io::Result<()> {
        let bytes = bytes(&packet.bytes);
        match self {
            Self::Json => outln!("{line}"),
            Self::Text => outln!("{}", text(packet, &bytes)),
            Self::File(writer) => {
                let comment = comment(packet);
                let TracedPacket { at, len, .. } = *packet;
                return writer.write(&pcapng::Packet { at, len, bytes: &bytes, comment: &comment });
            }
        }
        Ok(())
    }
}

/// The bytes of hexadecimal digits; empty if they are none.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>().unwrap_or_default()
}

/// One line: time, packet, and what became of it.
fn text(packet: &TracedPacket, bytes: &[u8]) -> String {
    let at = i128::from(packet.at);
    let time = jiff::Timestamp::from_nanosecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let time = jiff::tz::TimeZone::system().to_datetime(time).strftime("%H:%M:%S%.6f");
    let indent = if packet.event == SENT { "  " } else { "" };
    format!("{time}  {indent}{}  {}", Summary::of(bytes), comment(packet))
}

/// What became of a packet.
fn comment(packet: &TracedPacket) -> String {
    let worker = packet.worker;
    let reason = packet.reason.as_deref().unwrap_or_default();
    let meaning = Reason::ALL.into_iter().find(|known| known.name() == reason).map_or("", Reason::meaning);
    match (packet.to, reason) {
        (Some(to), _) => format!("worker {worker}: {} to worker {to}", packet.event),
        (None, "") => format!("worker {worker}: {}", packet.event),
        (None, reason) => format!("worker {worker}: {} {reason}:{meaning}", packet.event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_builder::Packet6;

    fn packet(event: &str, reason: Option<&str>, to: Option<u8>) -> TracedPacket {
        let addr = |text: &str| text.parse().expect("an address");
        let bytes = Packet6::new(addr("2001:db8:1::2"), addr("2001:db8:64::c633:6407")).udp(5000, 53, b"q");
        TracedPacket {
            at: 1_700_000_000_123_456_789,
            worker: 1,
            event: event.to_owned(),
            reason: reason.map(str::to_owned),
            to,
            len: bytes.len() as u32,
            bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    #[test]
    fn a_packet_in_words() {
        for (packet, want) in [
            (packet("forwarded", None, None), "worker 1: forwarded"),
            (packet("handed over", None, Some(2)), "worker 1: handed over to worker 2"),
            (
                packet("dropped", Some("no_zone"), None),
                "worker 1: dropped no_zone: The IPv6 source lies in no zone.",
            ),
        ] {
            assert_eq!(comment(&packet), want);
            let line = text(&packet, &bytes(&packet.bytes));
            assert!(line.contains("2001:db8:1::2") && line.ends_with(want), "{line}");
        }
        assert_eq!((bytes("0aff"), bytes("0g")), (vec![10, 255], vec![]));
    }

    #[test]
    fn conditions_become_a_query() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            conditions: Conditions,
        }
        let words = ["x", "--host", "2001:db8::/64", "--port", "53", "--protocol", "udp", "--dropped"];
        let cli = Cli::try_parse_from(words).expect("valid");
        assert_eq!(cli.conditions.query(), "host=2001:db8::/64&port=53&protocol=udp&dropped");
    }
}
