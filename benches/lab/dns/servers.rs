//! The compared servers, each with one thread on the same CPU, all with the same upstream.

use std::fs;
use std::path::{Path, PathBuf};

use gate64::lab::{CommandLine, Daemon, Deadline, Gateway, GatewayConfig, Lab, LabError};

use super::bare;

/// Listen address of all servers; each has its own port.
pub(super) const SERVER: &str = "2001:db8:1::53";
/// Address of the upstream.
pub(super) const UPSTREAM: &str = "127.0.0.1:5300";
/// The CPU of the servers; the client and the upstream use the other.
const CPU: &str = "0";

/// A DNS64 server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Server {
    Gate64,
    Unbound,
    Bind,
    Pdns,
    Knot,
    /// The upper limit; no DNS64.
    Bare,
}

impl Server {
    /// The DNS64 servers.
    pub(super) const ALL: [Self; 5] = [Self::Gate64, Self::Unbound, Self::Bind, Self::Pdns, Self::Knot];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gate64 => "gate64",
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Pdns => "pdns-recursor",
            Self::Knot => "knot-resolver",
            Self::Bare => "bare UDP",
        }
    }

    const fn program(self) -> Option<&'static str> {
        match self {
            Self::Gate64 | Self::Bare => None,
            Self::Unbound => Some("/usr/sbin/unbound"),
            Self::Bind => Some("/usr/sbin/named"),
            Self::Pdns => Some("/usr/sbin/pdns_recursor"),
            Self::Knot => Some("/usr/sbin/kresd"),
        }
    }

    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Gate64 => 53,
            Self::Unbound => 5311,
            Self::Bind => 5312,
            Self::Pdns => 5313,
            Self::Knot => 5314,
            Self::Bare => 5315,
        }
    }
}

enum Process {
    Gate64(Gateway),
    Other(Daemon),
}

/// A running server.
pub(super) struct Running {
    pub(super) server: Server,
    process: Process,
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(|source| LabError::Io { what: path.display().to_string(), source })
}

/// Starts the upstream on the client's CPU.
pub(super) fn upstream(lab: &Lab) -> Result<Daemon, LabError> {
    let line = format!("taskset -c 1 {} lab upstream {UPSTREAM}", env!("CARGO_BIN_EXE_gate64"));
    let mut upstream = lab.gateway.daemon(&line, &lab.dir().join("upstream.log"))?;
    let (host, port) = UPSTREAM.split_once(':').unwrap_or((UPSTREAM, "53"));
    let ask = lab.gateway.run(&format!("dig +time=1 +tries=1 +short -p {port} @{host} a.example A"));
    let answers = |_: &Daemon| ask.outcome().is_ok_and(|output| output.stdout.contains("198.51.100.80"));
    upstream.ready(Deadline::after(10), "the upstream answers", answers)?;
    Ok(upstream)
}

/// Starts a server and waits until it answers; `None` if it is not installed.
pub(super) fn start(lab: &Lab, server: Server) -> Result<Option<Running>, LabError> {
    if server.program().is_some_and(|program| !Path::new(program).exists()) {
        eprintln!("{} is not installed: skipped", server.name());
        return Ok(None);
    }
    let dir = lab.dir().join(format!("bench-{}", server.name()));
    fs::create_dir_all(&dir).map_err(|source| LabError::Io { what: dir.display().to_string(), source })?;
    let process = match server {
        // The same cache size as unbound.
        Server::Gate64 => Process::Gate64(lab.start(&GatewayConfig {
            dns: format!(
                "listen = [\"[{SERVER}]:53\"]\nupstreams = [\"{UPSTREAM}\"]\nthreads = 1\n\
                 queries_per_second = 0\nresponses_per_second = 0\nresponse_bytes_per_second = 0\nin_flight_per_client = 4096\n\
                 cache_bytes = 402653184"
            ),
            ..GatewayConfig::default()
        })?),
        other => Process::Other(lab.gateway.daemon(&line(other, &dir)?, &dir.join("log"))?),
    };
    let mut running = Running { server, process };
    running.pin()?;
    match running.await_answer(lab) {
        Ok(()) => Ok(Some(running)),
        Err(error) if server != Server::Gate64 => {
            eprintln!("{} is skipped: {error}", server.name());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes the configuration of a server and returns its command line.
fn line(server: Server, dir: &Path) -> Result<String, LabError> {
    let (port, path) = (server.port(), dir.display());
    let (host, up) = UPSTREAM.split_once(':').unwrap_or((UPSTREAM, "53"));
    let pinned = format!("taskset -c {CPU} ");
    Ok(pinned
        + &match server {
            Server::Gate64 => String::new(),
            Server::Bare => {
                let myself = std::env::current_exe()
                    .map_err(|source| LabError::Io { what: "this program".to_owned(), source })?;
                format!("{} {} [{SERVER}]:{port}", myself.display(), bare::WORD)
            }
            Server::Unbound => {
                let text = format!(
                    "server:\n num-threads: 1\n interface: {SERVER}@{port}\n access-control: ::/0 allow\n \
                     module-config: \"dns64 iterator\"\n dns64-prefix: 2001:db8:64::/96\n chroot: \"\"\n \
                     username: \"\"\n use-syslog: no\n directory: \"{path}\"\n pidfile: \"\"\n \
                     do-daemonize: no\n do-not-query-localhost: no\n outgoing-range: 4096\n \
                     num-queries-per-thread: 2048\n msg-cache-size: 128m\n rrset-cache-size: 256m\n \
                     minimal-responses: yes\n verbosity: 0\n so-rcvbuf: 4m\n\
                     remote-control:\n control-enable: no\n\
                     forward-zone:\n name: \".\"\n forward-addr: {host}@{up}\n"
                );
                write(&dir.join("unbound.conf"), &text)?;
                format!("/usr/sbin/unbound -d -c {path}/unbound.conf")
            }
            Server::Bind => {
                let text = format!(
                    "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion yes; \
                     listen-on {{ none; }}; listen-on-v6 port {port} {{ {SERVER}; }}; \
                     dnssec-validation no; forward only; forwarders port {up} {{ {host}; }}; \
                     dns64 2001:db8:64::/96 {{ clients {{ any; }}; }}; max-cache-size 512m; \
                     minimal-responses yes; empty-zones-enable no; allow-query {{ any; }}; \
                     allow-recursion {{ any; }}; recursive-clients 4096; }};\ncontrols {{ }};\n"
                );
                write(&dir.join("named.conf"), &text)?;
                let copy = dir.join("named");
                fs::copy("/usr/sbin/named", &copy)
                    .map_err(|source| LabError::Io { what: "copying named".to_owned(), source })?;
                format!("{} -g -n 1 -c {path}/named.conf", copy.display())
            }
            Server::Pdns => {
                write(&dir.join("recursor.conf"), "")?;
                format!(
                    "/usr/sbin/pdns_recursor --config-dir={path} --daemon=no --threads=1 \
                     --pdns-distributes-queries=no --local-address=[{SERVER}]:{port} \
                     --forward-zones-recurse=.={host}:{up} --dns64-prefix=2001:db8:64::/96 --dnssec=off \
                     --allow-from=::/0 --socket-dir={path} --security-poll-suffix= --dont-query= \
                     --max-cache-entries=1000000 --max-packetcache-entries=1000000 --quiet=yes"
                )
            }
            Server::Knot => {
                let text = format!(
                    "net.listen('{SERVER}', {port}, {{ kind = 'dns' }})\ntrust_anchors.remove('.')\n\
                     modules = {{ 'policy', 'dns64' }}\ndns64.config({{ prefix = '2001:db8:64::' }})\n\
                     cache.size = 500 * MB\npolicy.add(policy.all(policy.FORWARD({{'{host}@{up}'}})))\n"
                );
                write(&dir.join("kresd.conf"), &text)?;
                format!("/usr/sbin/kresd -n -q -c {path}/kresd.conf {path}")
            }
        })
}

impl Running {
    fn pid(&self) -> u32 {
        match &self.process {
            Process::Gate64(gateway) => gateway.pid(),
            Process::Other(daemon) => daemon.pid(),
        }
    }

    fn log(&self) -> String {
        match &self.process {
            Process::Gate64(gateway) => gateway.log(),
            Process::Other(daemon) => daemon.log(),
        }
    }

    fn pin(&self) -> Result<(), LabError> {
        CommandLine::new(&format!("taskset -a -p -c {CPU} {}", self.pid())).text().map(drop)
    }

    fn await_answer(&mut self, lab: &Lab) -> Result<(), LabError> {
        let port = self.server.port();
        let ask = lab.gateway.run(&format!(
            "dig +time=1 +tries=1 +short -b 2001:db8:1::1 -p {port} @{SERVER} ready.example AAAA"
        ));
        let ready = || ask.outcome().is_ok_and(|output| output.stdout.contains("2001:db8:64::c633:6450"));
        gate64::lab::until(Deadline::after(20), self.server.name(), ready).map_err(|_| LabError::Failed {
            command: self.server.name().to_owned(),
            status: "no answer".to_owned(),
            output: self.log(),
        })
    }

    /// CPU time of all its threads in nanoseconds, in user space and kernel.
    pub(super) fn cpu(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let time = |task: PathBuf| -> Option<u64> {
            fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
        };
        tasks.filter_map(|task| time(task.path())).sum()
    }

    /// Resident memory in KiB.
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }
}
