//! The Internet's name server: `named` with one zone of examples.

use std::fs;
use std::path::Path;

use super::{Daemon, Deadline, LabError, Namespace};

/// The zone `example`: IPv4-only, dual-stack and IPv6-only names, and a chain of CNAMEs.
const ZONE: &str = "\
$TTL 300
@            IN SOA  ns.example. admin.example. 1 3600 600 86400 60
@            IN NS   ns.example.
ns           IN A    198.51.100.53
www.v4only   IN A    198.51.100.80
far.v4only   IN A    203.0.113.80
www.dual     IN A    198.51.100.80
www.dual     IN AAAA 2001:db8:80::80
www.v6only   IN AAAA 2001:db8:80::80
shop         IN CNAME alias.v4only
alias.v4only IN CNAME www.v4only
big.v4only   IN TXT  \"0123456789012345678901234567890123456789\"
";

/// Starts `named` in `namespace` with its files in `dir`. Returns when it answers.
pub(super) fn start(namespace: &Namespace, dir: &Path) -> Result<Daemon, LabError> {
    let dir = dir.join("named");
    fs::create_dir_all(&dir).map_err(LabError::io(dir.display().to_string()))?;
    let write = |file: &str, text: &str| {
        let path = dir.join(file);
        fs::write(&path, text).map_err(LabError::io(path.display().to_string()))
    };
    write("example.zone", ZONE)?;
    write(
        "root.zone",
        "$TTL 60\n@ IN SOA ns.example. admin.example. 1 3600 600 86400 60\n@ IN NS ns.example.\n",
    )?;
    let path = dir.display();
    write(
        "named.conf",
        &format!(
            "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion yes; \
             listen-on {{ 198.51.100.53; }}; listen-on-v6 {{ none; }}; dnssec-validation no; empty-zones-enable no; \
             allow-query {{ any; }}; allow-recursion {{ any; }}; }};\n\
             controls {{ }};\n\
             zone \".\" {{ type primary; file \"root.zone\"; }};\n\
             zone \"example\" {{ type primary; file \"example.zone\"; }};\n"
        ),
    )?;
    // The AppArmor profile of /usr/sbin/named forbids our directory. It does not apply to a copy.
    let program = dir.join("named");
    fs::copy("/usr/sbin/named", &program).map_err(LabError::io("copying /usr/sbin/named"))?;
    let line = format!("{path}/named -g -n 1 -c {path}/named.conf");
    let mut named = namespace.daemon(&line, &dir.join("log"))?;
    let query = namespace.run("dig +time=1 +tries=1 +short @198.51.100.53 www.v4only.example A").limit(3);
    named.ready(Deadline::after(15), "named answers", |_| {
        query.outcome().is_ok_and(|out| out.stdout.contains("198.51.100.80"))
    })?;
    Ok(named)
}
