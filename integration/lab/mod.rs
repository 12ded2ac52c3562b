//! The kernel lab: runs the program between real kernels and observes it with standard tools.
//!
//! Needs root. Without root each test reports that it was skipped; with `CI=true` it fails.

mod announce;
mod basics;
mod binding_log;
mod cut;
mod datagrams;
mod dns;
mod egress;
mod firewall;
mod hairpin;
mod health;
mod kernel;
mod late;
mod ledger;
mod lifecycle;
mod local;
mod neighbours;
mod overload;
mod parts;
mod program;
mod prometheus;
mod reconcile;
mod runner;
mod sandbox;
mod siit;
mod transfer;
mod view;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gate64::lab::{CommandLine, Gateway, GatewayConfig, Lab, LabError, Namespace, Plan};

/// The result of a lab test: its first error.
pub(crate) type Test = Result<(), LabError>;

/// The IPv4-only servers, as addresses under the pref64.
pub(crate) const WWW: &str = "2001:db8:64::c633:6450";
pub(crate) const FAR: &str = "2001:db8:64::cb00:7150";

/// The tests share the CPU; in parallel they would run into their timeouts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gate64"))
}

/// Locks the machine for one test; `None` without root.
pub(crate) fn lock_machine() -> Option<MutexGuard<'static, ()>> {
    if gate64::lab::is_root() {
        return Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    }
    assert!(std::env::var_os("CI").is_none(), "with CI set, the lab tests must run, which need root");
    crate::uncaptured::skipped("the lab needs root; run `sudo -E make lab`");
    None
}

/// A lab and the lock on the machine.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    _machine: MutexGuard<'static, ()>,
}

/// A gateway under test. Prints its log if the test fails.
pub(crate) struct Tested(Option<Gateway>);

impl std::ops::Deref for Tested {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        self.0.as_ref().expect("taken only at its end")
    }
}

impl std::ops::DerefMut for Tested {
    fn deref_mut(&mut self) -> &mut Gateway {
        self.0.as_mut().expect("taken only at its end")
    }
}

impl Tested {
    /// Stops it with SIGTERM.
    pub(crate) fn stop(mut self) -> Test {
        self.0.take().map_or(Ok(()), |gateway| gateway.stop().map(|log| eprintln!("{log}")))
    }

    /// Kills it, so that it can't clean up.
    pub(crate) fn kill(mut self) -> Test {
        self.0.take().map_or(Ok(()), Gateway::kill)
    }
}

impl Drop for Tested {
    fn drop(&mut self) {
        if let Some(gateway) = &self.0 {
            eprintln!("{}", gateway.log());
        }
    }
}

impl Site {
    /// Starts the gateway.
    pub(crate) fn start(&self, config: &GatewayConfig) -> Result<Tested, LabError> {
        self.lab.start(config).map(|gateway| Tested(Some(gateway)))
    }

    /// The first host.
    pub(crate) fn host(&self) -> &Namespace {
        self.lab.host()
    }

    /// The path of a file in the lab's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// The command line of a command of gate64 with the gateway's configuration.
    pub(crate) fn gate64(&self, words: &str) -> String {
        format!("{} {words} --config {}", program().display(), self.file("gate64.toml").display())
    }

    /// Fetches the page by name from the first host.
    pub(crate) fn page(&self) -> Result<String, LabError> {
        self.host().text("curl -sS -m 5 http://www.v4only.example/")
    }
}

/// Builds a lab with this many hosts, and the far server on a link with MTU `far`.
pub(crate) fn build(hosts: u8, far: Option<u16>) -> Result<Option<Site>, LabError> {
    let Some(machine) = lock_machine() else { return Ok(None) };
    let lab = Lab::build(&Plan { hosts, far, gate64: program().to_owned() })?;
    Ok(Some(Site { lab, _machine: machine }))
}

/// Runs a tool of the lab: `probe` or `listen`.
pub(crate) fn tool(at: &Namespace, words: &str) -> CommandLine {
    at.run(&format!("{} lab {words}", program().display()))
}

/// An error of the test itself.
pub(crate) fn wrong(what: impl Into<String>) -> LabError {
    LabError::DemoFailed(what.into())
}

/// Fails with the output unless it contains `wanted`.
pub(crate) fn expect(output: &str, wanted: &str) -> Test {
    if output.contains(wanted) { Ok(()) } else { Err(wrong(format!("no `{wanted}` in: {output}"))) }
}

/// The SHA-256 of a file.
pub(crate) fn digest(file: &Path) -> Result<String, LabError> {
    let text = CommandLine::new("sha256sum").arg(file.display().to_string()).text()?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}
