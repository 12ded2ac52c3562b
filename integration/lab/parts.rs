//! Real servers for the DNS64: an authoritative `named` with signed and unsigned zones, a validating
//! `unbound`, and a mock upstream whose behaviour the queried names select.

use std::fs;
use std::path::{Path, PathBuf};

use gate64::lab::{CommandLine, Daemon, Deadline, LabError};

use super::{Site, program, wrong};

/// `named`, the authoritative server.
pub(crate) const AUTHORITY: &str = "198.51.100.56";
/// `unbound`, over UDP, TCP and, at port 853, TLS.
pub(crate) const VALIDATOR: &str = "198.51.100.54";
/// The mock upstream, and its IPv6 address.
pub(crate) const MOCK: &str = "198.51.100.55";
pub(crate) const MOCK6: &str = "2001:db8:80::55";

/// A zone with one name of each kind.
const ZONE: &str = "$TTL 300\n\
    @ IN SOA ns hostmaster 1 3600 600 86400 60\n\
    @ IN NS ns\n\
    ns IN A 198.51.100.56\n\
    v4 IN A 198.51.100.80\n\
    dual IN A 198.51.100.80\n\
    dual IN AAAA 2001:db8:80::80\n\
    alias IN CNAME v4\n\
    forged IN A 198.51.100.80\n\
    forged IN AAAA 2001:db8:80::80\n";

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(|source| LabError::Io { what: path.display().to_string(), source })
}

fn read(path: &Path) -> Result<String, LabError> {
    fs::read_to_string(path).map_err(|source| LabError::Io { what: path.display().to_string(), source })
}

fn folder(site: &Site, name: &str) -> Result<PathBuf, LabError> {
    let dir = site.file(name);
    fs::create_dir_all(&dir).map_err(|source| LabError::Io { what: dir.display().to_string(), source })?;
    Ok(dir)
}

/// Adds these addresses to the Internet namespace.
fn address(site: &Site, addr: &str) -> Result<(), LabError> {
    let len = if addr.contains(':') { 128 } else { 32 };
    site.lab.internet.ip(&format!("addr add {addr}/{len} dev lo nodad")).map(drop)
}

/// Signs a zone, with expired signatures if it is to be bogus. The AAAA record of `forged` is then removed,
/// so that its denial is forged.
fn sign(dir: &Path, zone: &str, past: bool) -> Result<(), LabError> {
    let run = |words: String| CommandLine::new(&format!("env -C {} {words}", dir.display())).limit(60).text();
    let key = run(format!("dnssec-keygen -q -a ECDSAP256SHA256 -f KSK {zone}"))?.trim().to_owned();
    run(format!("dnssec-keygen -q -a ECDSAP256SHA256 {zone}"))?;
    let times = if past { "-s 20200101000000 -e 20200201000000" } else { "" };
    run(format!("dnssec-signzone -q -P -S -O full {times} -o {zone} -f {zone}.signed {zone}.zone"))?;
    let signed = dir.join(format!("{zone}.signed"));
    let kept: String = read(&signed)?
        .lines()
        .filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let of = |at: usize| words.get(at).copied().unwrap_or_default();
            let denied = of(3) == "AAAA" || of(3) == "RRSIG" && of(4) == "AAAA";
            !(of(0).starts_with("forged.") && denied)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    write(&signed, &kept)?;
    let anchor = read(&dir.join(format!("{key}.key")))?;
    let anchor: String = anchor.lines().filter(|line| !line.starts_with(';')).collect();
    write(&dir.join(format!("{zone}.anchor")), &format!("{anchor}\n"))
}

/// Starts the authoritative server for `plain.lab`, `secure.lab`, `old.lab` (expired signatures) and
/// `check.lab`, the zone that `dns64-check` prints.
pub(crate) fn authority(site: &Site) -> Result<Daemon, LabError> {
    address(site, AUTHORITY)?;
    let dir = folder(site, "authority")?;
    for zone in ["plain.lab", "secure.lab", "old.lab"] {
        write(&dir.join(format!("{zone}.zone")), ZONE)?;
    }
    sign(&dir, "secure.lab", false)?;
    sign(&dir, "old.lab", true)?;
    let check = CommandLine::new(&format!("{} dns64-check --zone check.lab", program().display())).text()?;
    write(&dir.join("check.lab.zone"), &check)?;
    let zones: String = [
        ("plain.lab", "plain.lab.zone"),
        ("secure.lab", "secure.lab.signed"),
        ("old.lab", "old.lab.signed"),
        ("check.lab", "check.lab.zone"),
    ]
    .map(|(zone, file)| format!("zone \"{zone}\" {{ type primary; file \"{file}\"; }};\n"))
    .concat();
    let path = dir.display();
    write(
        &dir.join("named.conf"),
        &format!(
            "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion no; \
             listen-on {{ {AUTHORITY}; }}; listen-on-v6 {{ none; }}; empty-zones-enable no; }};\n\
             controls {{ }};\n{zones}"
        ),
    )?;
    // AppArmor's profile of named applies to its path; a copy has no profile.
    let copy = dir.join("named");
    fs::copy("/usr/sbin/named", &copy)
        .map_err(|source| LabError::Io { what: "copying named".to_owned(), source })?;
    let line = format!("{} -g -n 1 -c {path}/named.conf", copy.display());
    let named = site.lab.internet.daemon(&line, &dir.join("log"))?;
    answers(site, named, &format!("@{AUTHORITY} v4.plain.lab A"))
}

/// A certificate for `dns.example`, and its key.
pub(crate) fn certificate(site: &Site) -> Result<(PathBuf, PathBuf), LabError> {
    let (certificate, key) = (site.file("dns.crt"), site.file("dns.key"));
    let run = CommandLine::new(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30",
    )
    .arg("-subj")
    .arg("/CN=dns.example")
    .arg("-addext")
    .arg("subjectAltName=DNS:dns.example")
    .arg("-addext")
    .arg("basicConstraints=critical,CA:FALSE")
    .arg("-keyout")
    .arg(key.display().to_string())
    .arg("-out")
    .arg(certificate.display().to_string());
    run.text()?;
    Ok((certificate, key))
}

/// Starts a validating `unbound`, with extended errors if `ede`; with `dns64` it is a DNS64 itself.
pub(crate) fn validator(site: &Site, ede: bool, dns64: bool) -> Result<Daemon, LabError> {
    // The address exists if this is the second one.
    let _ = address(site, VALIDATOR);
    let dir = folder(site, "validator")?;
    let (certificate, key) = certificate(site)?;
    let ede = if ede { "yes" } else { "no" };
    let modules = if dns64 { "dns64 validator iterator" } else { "validator iterator" };
    let prefix = if dns64 { " dns64-prefix: 2001:db8:64::/96\n" } else { "" };
    let authority = folder(site, "authority")?;
    let (path, authority) = (dir.display(), authority.display());
    let stubs: String = ["plain.lab", "secure.lab", "old.lab", "check.lab"]
        .map(|zone| format!("stub-zone:\n name: \"{zone}\"\n stub-addr: {AUTHORITY}\n"))
        .concat();
    let (certificate, key) = (certificate.display(), key.display());
    write(
        &dir.join("unbound.conf"),
        &format!(
            "server:\n num-threads: 1\n interface: {VALIDATOR}\n interface: {VALIDATOR}@853\n \
             tls-port: 853\n tls-service-key: \"{key}\"\n tls-service-pem: \"{certificate}\"\n \
             access-control: 0.0.0.0/0 allow\n access-control: ::/0 allow\n module-config: \"{modules}\"\n{prefix} \
             trust-anchor-file: \"{authority}/secure.lab.anchor\"\n \
             trust-anchor-file: \"{authority}/old.lab.anchor\"\n ede: {ede}\n chroot: \"\"\n \
             username: \"\"\n use-syslog: no\n directory: \"{path}\"\n pidfile: \"\"\n do-daemonize: no\n \
             local-zone: \"lab.\" transparent\n local-data-ptr: \"198.41.0.4 a.root-servers.net\"\n\
             remote-control:\n control-enable: no\n{stubs}"
        ),
    )?;
    let unbound =
        site.lab.internet.daemon(&format!("unbound -d -c {path}/unbound.conf"), &dir.join("log"))?;
    answers(site, unbound, &format!("@{VALIDATOR} v4.plain.lab A"))
}

/// Starts the mock upstream.
pub(crate) fn mock(site: &Site) -> Result<Daemon, LabError> {
    address(site, MOCK)?;
    address(site, MOCK6)?;
    let line = format!("{} lab upstream {MOCK}:53 [{MOCK6}]:53", program().display());
    let mock = site.lab.internet.daemon(&line, &site.file("mock.log"))?;
    answers(site, mock, &format!("@{MOCK} any.lab A"))
}

/// Waits until an A query is answered.
fn answers(site: &Site, mut daemon: Daemon, question: &str) -> Result<Daemon, LabError> {
    let ask = site.lab.internet.run(&format!("dig +time=1 +tries=1 +short {question}")).limit(3);
    daemon.ready(Deadline::after(20), "an answer", |_| {
        ask.outcome().is_ok_and(|output| output.stdout.contains("198.51.100.80"))
    })?;
    Ok(daemon)
}

/// The numbers of queries for A, AAAA and other types at the mock, and of those over TCP.
pub(crate) fn counted(site: &Site) -> Result<[u64; 4], LabError> {
    let output = site.lab.internet.text(&format!("dig +short @{MOCK} count. TXT"))?;
    let words: Vec<_> = output.trim().trim_matches('"').split_whitespace().collect();
    let number = |label: &str| {
        let found = words.iter().find_map(|word| word.strip_prefix(label)?.parse().ok());
        found.ok_or_else(|| wrong(format!("no {label} in {output}")))
    };
    Ok([number("A=")?, number("AAAA=")?, number("other=")?, number("TCP=")?])
}
