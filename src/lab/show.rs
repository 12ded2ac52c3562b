//! `gate64 lab`: demonstrates DNS64 and NAT64 in the laboratory, or opens a shell in it.

use std::process::ExitCode;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::{
    Action, Args, CommandLine, Gateway, GatewayConfig, Lab, LabError, Plan, mock, probe, sweep, web, wire,
};
use crate::output::{errln, outln};

/// Exit code of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs the action of `gate64 lab` and prints errors. The exit code is 0, or 1 after an error.
pub fn run(args: &Args) -> ExitCode {
    let done = match &args.action {
        None => clean_at_signals().and_then(|()| story()),
        Some(Action::Shell) => clean_at_signals().and_then(|()| shell()),
        Some(Action::Sweep) => {
            outln!("removed: {}", sweep().join(" "));
            Ok(())
        }
        Some(Action::Web { dir, listen }) => web::serve(listen, dir.clone()),
        Some(Action::Probe { bind, sizes, targets }) => probe::probe(*bind, targets, *sizes),
        Some(Action::Upstream { listen }) => mock::serve(listen),
        Some(Action::Wire { interface, segment }) => wire::wire(interface, *segment),
        Some(Action::Listen { bind, server }) => probe::listen(*bind, *server),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("gate64 lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove the laboratory before they end the program.
fn clean_at_signals() -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("watching for signals"))?;
    let inside = runtime.enter();
    let watch = |kind| signal(kind).map_err(LabError::io("watching for signals"));
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hangup = watch(SignalKind::hangup())?;
    drop(inside);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        errln!("\nRemoving the lab.");
        sweep::sweep_own();
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

fn build() -> Result<(Lab, Gateway), LabError> {
    outln!(
        "Creating network namespaces: an IPv6-only host, a gateway, and an Internet with a name server and a web server."
    );
    let gate64 = std::env::current_exe().map_err(LabError::io("finding this program"))?;
    let lab = Lab::build(&Plan { hosts: 1, far: Some(1500), gate64 })?;
    let gateway = lab.start(&GatewayConfig::default())?;
    Ok((lab, gateway))
}

/// Runs one step on the host and prints its purpose, command and output.
fn step(lab: &Lab, why: &str, line: &str, expect: &str) -> Result<(), LabError> {
    outln!("\n{why}\n  host$ {line}");
    let said = lab.host().run(line).outcome()?;
    for line in said.stdout.lines().chain(said.stderr.lines()).filter(|l| !l.trim().is_empty()) {
        outln!("  {line}");
    }
    if said.ok && said.stdout.contains(expect) {
        return Ok(());
    }
    Err(LabError::DemoFailed(format!("expected `{expect}` from `{line}`, exit code {:?}", said.code)))
}

fn story() -> Result<(), LabError> {
    let (lab, gateway) = build()?;
    outln!("The gateway's configuration:\n");
    for line in GatewayConfig::default().text(lab.dir()).lines() {
        outln!("  {line}");
    }
    step(&lab, "The host has no IPv4 address.", "ip -br addr show eth0", "2001:db8:1::10")?;
    step(
        &lab,
        "The server has only an IPv4 address; DNS64 synthesizes an IPv6 address from it.",
        "dig +noall +answer www.v4only.example AAAA",
        "2001:db8:64::c633:6450",
    )?;
    step(&lab, "An alias (CNAME).", "dig +noall +answer shop.example AAAA", "2001:db8:64::c633:6450")?;
    step(
        &lab,
        "DNS64 does not change the address of a server that has IPv6.",
        "dig +noall +answer www.dual.example AAAA",
        "2001:db8:80::80",
    )?;
    step(
        &lab,
        "The page, by name. The server sees a source address from pool4.",
        "curl -s http://www.v4only.example/",
        "192.0.2.",
    )?;
    step(&lab, "Ping, from IPv6 to IPv4.", "ping -c 2 -i 0.2 www.v4only.example", " 0% packet loss")?;
    speed(&lab)?;
    outln!("\nStopping the gateway and removing the lab.");
    gateway.stop()?;
    Ok(())
}

/// Measures the throughput of a large download.
fn speed(lab: &Lab) -> Result<(), LabError> {
    let line = "curl -s -o /dev/null -w %{speed_download} http://www.v4only.example/bytes/268435456";
    outln!("\n256 MiB through the gateway.\n  host$ {line}");
    let said = lab.host().text(line)?;
    let bytes: f64 = said.trim().parse().unwrap_or(0.0);
    outln!("  {:.2} Gbit/s", bytes * 8.0 / 1e9);
    Ok(())
}

fn shell() -> Result<(), LabError> {
    let (lab, gateway) = build()?;
    outln!(
        "\nThis is a shell on the IPv6-only host. Try:\n\
         \x20 curl http://www.v4only.example/      a page of a server that has only IPv4\n\
         \x20 dig shop.example AAAA                a synthesized address of an alias\n\
         \x20 ping far.v4only.example              tracepath far.v4only.example\n\
         The gateway is `ip netns exec {} ...`; `exit` removes the lab.\n",
        lab.gateway.name()
    );
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    // Ignore its exit code, which is that of the last command run in it.
    CommandLine::new(&shell).within(lab.host().name()).interact()?;
    gateway.stop()?;
    outln!("The lab is removed.");
    Ok(())
}
