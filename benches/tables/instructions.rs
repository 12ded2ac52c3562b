//! Instructions per packet: runs this program under valgrind, which counts inside [`counted`](crate::counted).

use std::process::Command;

use crate::rig::{Rig, Work};

/// Batches to count.
const BATCHES: u64 = 100;

/// Prints instructions per packet for all kinds of work.
pub fn run(sizes: &[u64]) {
    for &sessions in sizes {
        for work in Work::ALL {
            match count(work, sessions) {
                Ok(count) => println!("{:<18} {sessions:>10} {count:>8.1} instructions", work.name()),
                Err(why) => return eprintln!("{why}"),
            }
        }
    }
}

fn count(work: Work, sessions: u64) -> Result<f64, String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted*")
        .arg(this)
        .args(["--once", work.name(), &sessions.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let (stdout, counted) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    let done: f64 = stdout.trim().parse().map_err(|_| counted.clone())?;
    let after = counted.split("Collected : ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let all: f64 = after.and_then(|number| number.parse().ok()).ok_or_else(|| counted.clone())?;
    Ok(all / done)
}

/// Runs under valgrind: does one kind of work and prints the number of packets or sessions.
pub fn once(words: &[String]) {
    let work = words.first().and_then(|name| Work::ALL.into_iter().find(|work| work.name() == name));
    let sessions = words.get(1).and_then(|sessions| sessions.parse().ok());
    let (Some(work), Some(sessions)) = (work, sessions) else { return };
    let mut rig = Rig::new(sessions);
    // Warm up: the first packet of each session takes the slow path.
    repeat(&mut rig, work);
    rig.counting = true;
    let done = repeat(&mut rig, work);
    println!("{done}");
}

/// Repeats the work often enough to count. Returns the number of packets or sessions.
fn repeat(rig: &mut Rig, work: Work) -> u64 {
    let (mut done, mut batches) = (0, 0);
    while batches < BATCHES && done < BATCHES * 64 {
        done += rig.batch(work).1;
        batches += 1;
    }
    done
}
