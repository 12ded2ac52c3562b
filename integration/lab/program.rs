//! `gate64 lab` as a user runs it.

use std::fs;

use gate64::lab::{CommandLine, Daemon, Deadline, LabError, until};

use super::{Test, expect, lock_machine, program, wrong};

/// Names that contain the pid of one lab.
fn traces(pid: u32) -> Result<Vec<String>, LabError> {
    let mark = format!("g64lab-{pid}-");
    let mut found: Vec<_> = CommandLine::new("ip netns list")
        .text()?
        .lines()
        .filter(|l| l.contains(&mark))
        .map(str::to_owned)
        .collect();
    for dir in ["/tmp", "/etc/netns"] {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        found.extend(names.filter(|name| name.contains(&mark)));
    }
    let processes = CommandLine::new("pgrep -af").arg(&mark).outcome()?;
    found.extend(processes.stdout.lines().filter(|l| !l.contains("pgrep")).map(str::to_owned));
    Ok(found)
}

#[test]
fn the_lab_shows_itself() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let output = CommandLine::new(&format!("{} lab", program().display())).limit(60).text()?;
    expect(&output, "Hello! To this server you are 192.0.2.")?;
    expect(&output, "Gbit/s")
}

#[test]
fn a_shell_in_the_zone_fetches_the_page() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let output = CommandLine::new(&format!("{} lab shell", program().display()))
        .env("SHELL", "/bin/sh")
        .input("curl -s http://www.v4only.example/\nexit\n")
        .limit(30)
        .text()?;
    expect(&output, "Hello! To this server you are 192.0.2.")
}

/// Starts a waiting lab, and ends it with this signal.
fn ended_by(signal: &str) -> Result<u32, LabError> {
    let log = std::env::temp_dir().join(format!("lab-test-{}", std::process::id()));
    let run = CommandLine::new(&format!("{} lab shell", program().display())).env("SHELL", "sleep 1000");
    let mut lab = Daemon::start(&run, &log)?;
    let pid = lab.pid();
    let ready = lab.ready(Deadline::after(20), "the lab is up", |lab| lab.log().contains("This is a shell"));
    if !traces(pid)?.iter().any(|trace| trace.contains("zone")) {
        return Err(wrong("a lab without namespaces"));
    }
    lab.end(signal, Deadline::after(20))?;
    let _ = fs::remove_file(log);
    ready.map(|()| pid)
}

#[test]
fn a_signal_takes_the_lab_down() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let pid = ended_by("INT")?;
    assert_eq!(traces(pid)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn the_next_start_removes_a_crashed_lab() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let pid = ended_by("KILL")?;
    let removed = CommandLine::new(&format!("{} lab sweep", program().display())).text()?;
    expect(&removed, &format!("g64lab-{pid}-"))?;
    let clean = || traces(pid).is_ok_and(|traces| traces.is_empty());
    until(Deadline::ample(), "every trace is removed", clean)
}
