//! The load: flows that last, flows that begin, DNS queries, TCP transfers with a digest. All run until the load ends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gate64::lab::{CommandLine, LabError};

use super::super::wrong;

/// The server under the pref64.
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc000, 0x201);
const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
/// The echo server of `gate64 lab web`, and that of this module.
const ECHO: u16 = 3478;
const SHORT_ECHO: u16 = 7;

/// Length of a transfer in bytes, and its rate: 20 s.
const BYTES: u64 = 10 << 20;
const RATE: &str = "512K";
const TRANSFER: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "measures real processes by the real clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answers of one kind of traffic.
#[derive(Debug)]
pub(super) struct Trace {
    /// The column of the table that it belongs to.
    pub(super) column: Column,
    name: &'static str,
    answers: Mutex<Vec<Instant>>,
}

/// Columns of the table for gaps of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    /// Flows that exist for the whole run: UDP and ping.
    Old,
    /// New UDP flows and TCP connections.
    New,
    /// DNS queries for a cached name.
    Dns,
    /// DNS queries for names that need the upstream resolver.
    Names,
}

impl Trace {
    fn record(&self) {
        lock(&self.answers).push(now());
    }

    /// Whether there was an answer after `then`.
    pub(super) fn has_answered_since(&self, then: Instant) -> bool {
        lock(&self.answers).last().is_some_and(|last| *last > then)
    }

    /// The longest time without answer that overlaps `from` to `to`.
    pub(super) fn gap(&self, from: Instant, to: Instant) -> Duration {
        let answers = lock(&self.answers);
        let first = answers.partition_point(|at| *at <= from).saturating_sub(1);
        let last = answers.partition_point(|at| *at < to);
        let within = &answers[first..answers.len().min(last + 1)];
        within.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_else(|| to - from)
    }
}

/// A finished transfer.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Why it was not intact.
    pub(super) failure: Option<String>,
}

/// All that runs.
#[derive(Default)]
pub(super) struct Load {
    pub(super) traces: Vec<Arc<Trace>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// No new transfers.
    pause: AtomicBool,
    finished: Mutex<Vec<Transfer>>,
    /// Begin of each transfer in progress, by thread.
    in_progress: Mutex<Vec<Option<Instant>>>,
}

impl Shared {
    fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn in_progress(&self, thread: usize, began: Option<Instant>) {
        let mut all = lock(&self.in_progress);
        let len = all.len().max(thread + 1);
        all.resize(len, None);
        all[thread] = began;
    }
}

/// Runs `body` in a thread within a network namespace.
fn within(namespace: &str, body: impl FnOnce() + Send + 'static) -> Result<(), LabError> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).map_err(|why| wrong(format!("{path}: {why}")))?;
    thread::spawn(move || {
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
        body();
    });
    Ok(())
}

impl Load {
    /// Starts everything.
    pub(super) fn start() -> Result<Self, LabError> {
        let mut load = Self::default();
        echo()?;
        let old = SocketAddr::from((SERVER, ECHO));
        load.probe("UDP", Column::Old, 20, move |socket, n| ask(socket, &old, n))?;
        load.probe("new UDP", Column::New, 50, |_, n| {
            let to = SocketAddr::from((SERVER, SHORT_ECHO));
            ask(&mut None, &to, n)
        })?;
        load.probe("new TCP", Column::New, 100, |_, _| page())?;
        load.probe("DNS, cached", Column::Dns, 50, |socket, n| query(socket, n, "www.cached.example"))?;
        load.probe("DNS, new", Column::Names, 100, |socket, n| {
            query(socket, n, &format!("n{n}.new.example"))
        })?;
        load.ping()?;
        let want = original()?;
        for thread in 0..2 {
            let (shared, want) = (Arc::clone(&load.shared), want.clone());
            thread::spawn(move || transfers(&shared, thread, &want));
        }
        Ok(load)
    }

    fn trace(&mut self, name: &'static str, column: Column) -> Arc<Trace> {
        let trace = Arc::new(Trace { column, name, answers: Mutex::default() });
        self.traces.push(Arc::clone(&trace));
        trace
    }

    /// Calls `ask` on the host every `millis` ms with a number and a socket that it may keep.
    fn probe(
        &mut self,
        name: &'static str,
        column: Column,
        millis: u64,
        ask: impl Fn(&mut Option<UdpSocket>, u32) -> io::Result<()> + Send + 'static,
    ) -> Result<(), LabError> {
        let trace = self.trace(name, column);
        let shared = Arc::clone(&self.shared);
        within("host", move || {
            let (mut socket, mut number) = (None, 0);
            while !shared.has_stopped() {
                let next = now() + Duration::from_millis(millis);
                number += 1;
                if ask(&mut socket, number).is_ok() {
                    trace.record();
                }
                thread::park_timeout(next.saturating_duration_since(now()));
            }
        })
    }

    fn ping(&mut self) -> Result<(), LabError> {
        let trace = self.trace("ping", Column::Old);
        let shared = Arc::clone(&self.shared);
        let mut ping = Command::new("ip")
            .args(["netns", "exec", "host", "ping", "-n", "-i", "0.05", &SERVER.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| wrong(format!("ping: {why}")))?;
        let output = ping.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.contains("bytes from") {
                    trace.record();
                }
                if shared.has_stopped() {
                    break;
                }
            }
            let _ = ping.kill();
            let _ = ping.wait();
        });
        Ok(())
    }

    /// The traffic without an answer after `then`.
    pub(super) fn silent_since(&self, then: Instant) -> Vec<&'static str> {
        self.traces.iter().filter(|trace| !trace.has_answered_since(then)).map(|trace| trace.name).collect()
    }

    /// The longest time without answer of a column.
    pub(super) fn gap(&self, column: Column, from: Instant, to: Instant) -> Duration {
        let traces = self.traces.iter().filter(|trace| trace.column == column);
        traces.map(|trace| trace.gap(from, to)).max().unwrap_or_default()
    }

    /// Whether each transfer in progress is at least this old.
    pub(super) fn are_older_than(&self, age: Duration) -> bool {
        let now = now();
        lock(&self.shared.in_progress).iter().all(|began| began.is_some_and(|began| now - began >= age))
    }

    /// The transfers that have finished.
    pub(super) fn finished(&self) -> Vec<Transfer> {
        lock(&self.shared.finished).clone()
    }

    /// Stops. Transfers in progress continue to their end.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Begins no new transfers while paused.
    pub(super) fn pause(&self, pause: bool) {
        self.shared.pause.store(pause, Ordering::Relaxed);
    }

    /// Whether no transfer is in progress.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.shared.in_progress).iter().all(Option::is_none)
    }
}

/// An echo server for flows whose sessions shall end soon: its port is below 1024.
fn echo() -> Result<(), LabError> {
    within("server", || {
        let socket = UdpSocket::bind(("192.0.2.1", SHORT_ECHO)).expect("a free port");
        let mut buffer = [0; 1500];
        loop {
            if let Ok((count, from)) = socket.recv_from(&mut buffer) {
                // Without a route there is no answer.
                let _ = socket.send_to(&buffer[..count], from);
            }
        }
    })
}

/// These hosts of the zone, which all have their address on the first one, send a datagram each. Waits for the answers.
pub(super) fn hosts(numbers: RangeInclusive<u16>) -> Result<(), LabError> {
    let (sender, result) = mpsc::channel();
    within("host", move || {
        let lost = numbers.filter(|number| {
            let from = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, *number);
            // The first datagram may be lost while the router looks up its neighbour.
            !(0..10).any(|_| hello(from).is_ok())
        });
        let _ = sender.send(lost.count());
    })?;
    match result.recv() {
        Ok(0) => Ok(()),
        Ok(lost) => Err(wrong(format!("no answer for {lost} new hosts"))),
        Err(why) => Err(wrong(why.to_string())),
    }
}

fn hello(from: Ipv6Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect((SERVER, SHORT_ECHO))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(b"hello")?;
    socket.recv(&mut [0; 64]).map(drop)
}

/// Sends a number, and waits for an answer, also to an earlier number.
fn ask(socket: &mut Option<UdpSocket>, to: &SocketAddr, number: u32) -> io::Result<()> {
    exchange(socket, to, &number.to_be_bytes(), |_| true)
}

/// Sends `data`, and waits at most 100 ms for a datagram that `matches` accepts.
fn exchange(
    socket: &mut Option<UdpSocket>,
    to: &SocketAddr,
    data: &[u8],
    matches: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => {
            let new = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            new.connect(to)?;
            new.set_read_timeout(Some(Duration::from_millis(100)))?;
            socket.insert(new)
        }
    };
    socket.send(data)?;
    let mut buffer = [0; 1500];
    loop {
        let count = socket.recv(&mut buffer)?;
        if matches(&buffer[..count]) {
            return Ok(());
        }
    }
}

/// Opens a TCP connection and fetches a page.
fn page() -> io::Result<()> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((SERVER, 80)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.contains("Hello!") {
        true => Ok(()),
        false => Err(io::Error::other(answer)),
    }
}

/// Asks DNS64 for the AAAA records of a name.
fn query(socket: &mut Option<UdpSocket>, number: u32, name: &str) -> io::Result<()> {
    let id = (number as u16).to_be_bytes();
    let mut message = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 28, 0, 1]);
    let is_answer = |answer: &[u8]| answer.len() > 12 && answer[..2] == id;
    let has_records = |answer: &[u8]| answer[3] & 15 == 0 && answer[7] > 0;
    exchange(socket, &SocketAddr::from((DNS, 53)), &message, |answer| {
        is_answer(answer) && has_records(answer)
    })
}

/// The digest of the file that the transfers carry, which is stored for uploads.
fn original() -> Result<String, LabError> {
    let line = format!("curl -sS -o /run/lab/original http://192.0.2.1/bytes/{BYTES}");
    CommandLine::new(&line).within("server").text()?;
    digest("/run/lab/original")
}

fn digest(path: &str) -> Result<String, LabError> {
    let text = CommandLine::new("sha256sum").arg(path).text()?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Transfers one after the other, downloads and uploads in turn.
fn transfers(shared: &Shared, thread: usize, want: &str) {
    // So that one transfer always is half done.
    thread::park_timeout(TRANSFER / 2 * thread as u32);
    let mut number = thread;
    while !shared.has_stopped() {
        if shared.pause.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(100));
            continue;
        }
        let began = now();
        shared.in_progress(thread, Some(began));
        let failure = transfer(number, want).err().map(|why| why.to_string());
        shared.in_progress(thread, None);
        lock(&shared.finished).push(Transfer { began, ended: now(), failure });
        number += 3;
    }
}

fn transfer(number: usize, want: &str) -> Result<(), LabError> {
    let curl = format!("curl -sS -m 110 --limit-rate {RATE}");
    let (line, file) = if number.is_multiple_of(2) {
        let file = format!("/run/lab/down{number}");
        (format!("{curl} -o {file} http://[{SERVER}]/bytes/{BYTES}"), file)
    } else {
        let file = format!("/run/lab/up/up{number}");
        (format!("{curl} -T /run/lab/original http://[{SERVER}]/up/up{number}"), file)
    };
    let done = CommandLine::new(&line).within("host").limit(120).text();
    let got = digest(&file);
    let _ = std::fs::remove_file(&file);
    done?;
    if got? == want { Ok(()) } else { Err(wrong(format!("another digest: {line}"))) }
}
