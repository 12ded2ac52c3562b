//! The TCP state machine, cell by cell: 10 states, 9 events (RFC 6146 §3.5.2.2). Each cell becomes a
//! scenario: the shortest exchange that reaches the state, ten idle seconds, the event. It then checks the
//! output, the state and the remaining timeout. In one column gate64 deviates: a client's SYN after a FIN
//! begins a connection.

use crate::script;

/// One line per state, one column per event. A cell is `ACTION NEXT LIFETIME`: `fwd` forwards, `-` is the
/// same state or no session, `E` and `T` are the established and transitory timeouts, `=` is the running
/// one. `reset` refuses the segment with a RST.
const CELLS: &str = "
state        | V6S        | V4S        | V6F             | V4F             | V6R         | V4R         | V6o       | V4o       | TO
CLOSED       | fwd V6INIT T | hold - -   | reset - -       | no_binding - -  | no_session - - | no_binding - - | reset - -      | no_binding - - | none - -
CLOSED+BIB   | fwd V6INIT T | fwd V4INIT T | fwd - -       | fwd - -         | fwd - -     | fwd - -     | fwd - -   | fwd - -   | none - -
V4INIT       | fwd EST E  | fwd - =    | fwd - =         | fwd - =         | fwd - =     | fwd - =     | fwd - =   | fwd - =   | ends - -
V6INIT       | fwd - T    | fwd EST E  | fwd - =         | fwd - =         | fwd - =     | fwd - =     | fwd - =   | fwd - =   | ends - -
EST          | fwd - E    | fwd - E    | fwd V6FIN =     | fwd V4FIN =     | fwd TRANS T | fwd TRANS T | fwd - E   | fwd - E   | probe TRANS T
V4FIN        | fwd V6INIT T | fwd - E    | fwd V4FIN+V6FIN T | fwd - E       | fwd - E     | fwd - E     | fwd - E   | fwd - E   | ends - -
V6FIN        | fwd V6INIT T | fwd - E    | fwd - E         | fwd V4FIN+V6FIN T | fwd - E   | fwd - E     | fwd - E   | fwd - E   | ends - -
V4FIN+V6FIN  | fwd V6INIT T | fwd - =    | fwd - =         | fwd - =         | fwd - =     | fwd - =     | fwd - =   | fwd - =   | ends - -
TRANS        | fwd EST E  | fwd EST E  | fwd EST E       | fwd EST E       | fwd - =     | fwd - =     | fwd EST E | fwd EST E | ends - -
TRANS by V4R | fwd EST E  | fwd EST E  | fwd EST E       | fwd EST E       | fwd - =     | fwd - =     | fwd EST E | fwd EST E | probe TRANS T
";

const ESTABLISHED: u32 = 7200;
const TRANSITORY: u32 = 240;
/// Idle time before the event, so that a new timeout differs from the running one.
const SILENCE: u32 = 10;

/// A segment from one side, and the translated segment.
fn segment(side: &str, flags: &str) -> String {
    match side {
        "V6" => format!("v6> tcp C.40000 > Z6.80 {flags}\nv4< tcp T.40000 > Z.80 {flags}\n"),
        _ => format!("v4> tcp Z.80 > T.40000 {flags}\nv6< tcp Z6.80 > C.40000 {flags}\n"),
    }
}

/// A session of the same binding with another server.
const BINDING: &str = "v6> tcp C.40000 > W6.80 S\nv4< tcp T.40000 > W.80 S\n";

/// How a state is reached, and its timeout.
fn way_to(state: &str) -> (String, u32) {
    let conversation = |segments: &[(&str, &str)]| -> String {
        segments.iter().map(|(side, flags)| segment(side, flags)).collect()
    };
    let open = [("V6", "S"), ("V4", "SA")];
    let and = |more: &[(&'static str, &'static str)]| conversation(&[&open[..], more].concat());
    match state {
        "CLOSED" => (String::new(), 0),
        "CLOSED+BIB" => (BINDING.to_owned(), 0),
        "V4INIT" => (BINDING.to_owned() + &segment("V4", "S"), TRANSITORY),
        "V6INIT" => (segment("V6", "S"), TRANSITORY),
        "EST" => (and(&[]), ESTABLISHED),
        "V4FIN" => (and(&[("V4", "FA")]), ESTABLISHED),
        "V6FIN" => (and(&[("V6", "FA")]), ESTABLISHED),
        "V4FIN+V6FIN" => (and(&[("V4", "FA"), ("V6", "FA")]), TRANSITORY),
        "TRANS" => (and(&[("V6", "R")]), TRANSITORY),
        "TRANS by V4R" => (and(&[("V4", "R")]), TRANSITORY),
        other => panic!("no state is called {other}"),
    }
}

/// Flag combinations of this event: only SYN, FIN and RST may matter, and after a FIN the ACK of a SYN.
fn flags_of(state: &str, event: &str) -> &'static [&'static str] {
    match &event[2..] {
        "S" if event == "V6S" && state.contains("FIN") => &["S", "SEC"],
        "S" => &["S", "SA", "SEC"],
        "F" => &["F", "FA", "FPA"],
        "R" => &["R", "RA"],
        _ => &["A", "PA", "UA"],
    }
}

/// The scenario of one cell with one combination of flags.
fn scenario(state: &str, event: &str, cell: &str, flags: &str) -> String {
    let (mut text, running) = way_to(state);
    let words: Vec<_> = cell.split_whitespace().collect();
    let [action, next, lifetime] = words[..] else { panic!("{state} {event}: `{cell}`") };
    if event != "TO" {
        text += &format!("wait {SILENCE}s\n");
    }
    let input = segment(&event[..2], flags).lines().next().expect("two lines").to_owned();
    match action {
        "fwd" => text += &segment(&event[..2], flags),
        "hold" => text += &format!("{input}\nhold\n"),
        "none" => text += "wait 5s\n",
        "ends" => text += &format!("wait {running}s\n"),
        "probe" => {
            text += &format!("wait {running}s\nv6< tcp Z6.80 > C.40000 A seq=0 ack=0 win=0 hl=64\n");
        }
        "reset" => {
            let reset = match flags {
                "F" => "RA seq=0 ack=1001",
                _ if flags.contains('A') => "R seq=0 ack=0",
                _ => "RA seq=0 ack=1000",
            };
            text += &format!("{input}\nreject no_session\nv6< tcp Z6.80 > C.40000 {reset} win=0 hl=64\n");
        }
        reason => text += &format!("{input}\ndrop {reason}\n"),
    }
    let remaining = match lifetime {
        "E" => ESTABLISHED,
        "T" => TRANSITORY,
        _ => running - if event == "TO" { running } else { SILENCE.min(running) },
    };
    let has_session = next != "-" || !state.starts_with("CLOSED");
    if has_session && action != "ends" {
        let now = if next == "-" { state.trim_end_matches(" by V4R") } else { next };
        text += &format!("session tcp C.40000 T.40000 Z.80 remaining={remaining}s state={now}\n");
    } else {
        // The session that keeps the binding has expired, too, where the tested one has.
        let others = u32::from(state == "CLOSED+BIB");
        text += &format!("sessions tcp {others}\nbindings tcp {others}\n");
    }
    text
}

#[test]
fn every_cell() {
    // ids 6146-3.5.2.2-*, 7857-2
    let mut lines = CELLS.trim().lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let events = lines.next().expect("a heading");
    let (mut cells, mut failures) = (0, Vec::new());
    for line in lines {
        for (event, cell) in events.iter().zip(&line).skip(1) {
            cells += 1;
            let flags: &[&str] = if *event == "TO" { &[""] } else { flags_of(line[0], event) };
            for flags in flags {
                let text = scenario(line[0], event, cell, flags);
                if let Err(error) = script::run_text(&text, |act| act()) {
                    failures.push(format!("{}-{event} {flags}: {error}\n{text}", line[0]));
                }
            }
        }
    }
    assert_eq!(cells, 90);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A late SYN-ACK of a client that is the server of the old connection begins none.
#[test]
fn a_syn_ack_after_a_fin_changes_no_state() {
    // ids 6146-3.5.2.2-V4FIN-V6S, 6146-3.5.2.2-V6FIN-V6S, 6146-3.5.2.2-V4FIN+V6FIN-V6S
    for (state, cell) in [("V4FIN", "fwd - E"), ("V6FIN", "fwd - E"), ("V4FIN+V6FIN", "fwd - =")] {
        let text = scenario(state, "V6S", cell, "SA");
        script::run_text(&text, |act| act()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

/// A session that began with a stored SYN: the cells of V4INIT also apply where filtering stores the SYN.
#[test]
fn a_stored_syn_is_v4init_too() {
    // ids 6146-3.5.2.2-V4INIT-V6S, 6146-3.5.2.2-V4INIT-TO, 6146-3.5.2.2-CLOSED+BIB-V4S
    let stored = format!(
        "set filtering address\n{BINDING}v4> tcp Z.80 > T.40000 S\nhold\nsessions tcp 1\nwait 5999ms\n"
    );
    let opened = format!(
        "{stored}v6> tcp C.40000 > Z6.80 S\nv4< tcp T.40000 > Z.80 S\n\
         session tcp C.40000 T.40000 Z.80 remaining=7200s state=EST\nwait 10s\n"
    );
    let given_up = format!(
        "{stored}wait 1ms\nv4< icmp4 3/3 G4 > Z {{ tcp Z.80 > T.40000 S }}\nsessions tcp 1\n\
         v6> tcp C.40000 > Z6.80 S\nv4< tcp T.40000 > Z.80 S\n\
         session tcp C.40000 T.40000 Z.80 remaining=240s state=V6INIT\n"
    );
    for text in [opened, given_up] {
        script::run_text(&text, |act| act()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
