//! The parser of the scenario language.

use std::time::Duration;

use gate64::addr::LocalAddresses;
use gate64::reason::Reason;

use super::packet::{self, Packet};
use super::settings;

/// One line with an action, and the effects expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) action: Action,
    pub(crate) expected: Vec<(usize, Expected)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// `set ...`, as words.
    Set(Vec<String>),
    /// Packets of one batch, and the values to repeat them for.
    Input { packets: Vec<(Side, Packet)>, each: Option<(String, u16, u16)> },
    /// Advances the clock to this time after the start.
    At(Duration),
    /// Advances the clock by this time.
    Wait(Duration),
    /// Reloads with the settings changed by `set` lines.
    Reload,
    /// The workers receive these addresses of this host.
    Local(LocalAddresses),
    /// A line that checks state, as words.
    Look(Vec<String>),
}

/// Which device side a packet is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    V6,
    V4,
}

#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Out(Box<Packet>),
    Drop(Reason),
    Reject(Reason),
    Hold,
}

/// Reads a scenario.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        read_line(&mut steps, number, line).map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(steps)
}

fn read_line(steps: &mut Vec<Step>, number: usize, line: &str) -> Result<(), String> {
    let (head, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let words = || line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if let Some(expected) = expectation(head, rest)? {
        let step = steps.last_mut().ok_or("nothing was done that this could come of")?;
        step.expected.push((number, expected));
        return Ok(());
    }
    let action = match head {
        "set" => Action::Set(words()[1..].to_vec()),
        "v6>" | "v4>" | "each" => input(line)?,
        "&" => {
            let Some(Step { action: Action::Input { packets, .. }, expected, .. }) = steps.last_mut() else {
                return Err("`&` joins a packet to the one before".into());
            };
            if !expected.is_empty() {
                return Err("packets of one batch stand together".into());
            }
            let Action::Input { packets: more, .. } = input(rest)? else { return Err("no packet".into()) };
            packets.extend(more);
            return Ok(());
        }
        "at" => Action::At(settings::duration(rest)?),
        "wait" => Action::Wait(settings::duration(rest)?),
        "reload" => Action::Reload,
        "local" => Action::Local(settings::local(rest)?),
        "sessions" | "bindings" | "blocks" | "event" | "no_events" | "check" | "session" | "handed_over"
        | "counter" => Action::Look(words()),
        other => return Err(format!("`{other}` begins no line")),
    };
    steps.push(Step { line: number, action, expected: Vec::new() });
    Ok(())
}

fn side(head: &str, arrow: char) -> Option<Side> {
    match head.strip_suffix(arrow)? {
        "v6" => Some(Side::V6),
        "v4" => Some(Side::V4),
        _ => None,
    }
}

/// `v6> PACKET` or `each $n 1-9 v6> PACKET`.
fn input(line: &str) -> Result<Action, String> {
    let (head, rest) = line.split_once(char::is_whitespace).ok_or("a packet is missing")?;
    if head == "each" {
        let mut words = rest.splitn(3, ' ');
        let mut next = || words.next().ok_or("each $NAME FIRST-LAST PACKET");
        let name = next()?.strip_prefix('$').ok_or("a name begins with $")?.to_owned();
        let (first, last) = next()?.split_once('-').ok_or("FIRST-LAST")?;
        let range = (name, packet::int(first)? as u16, packet::int(last)? as u16);
        let Action::Input { packets, .. } = input(next()?)? else { return Err("no packet".into()) };
        return Ok(Action::Input { packets, each: Some(range) });
    }
    let side = side(head, '>').ok_or_else(|| format!("`{head}` is not a side"))?;
    Ok(Action::Input { packets: vec![(side, Packet::parse(rest)?)], each: None })
}

fn expectation(head: &str, rest: &str) -> Result<Option<Expected>, String> {
    let reason = || {
        let known = Reason::ALL.iter().find(|reason| reason.name() == rest).copied();
        known.ok_or_else(|| format!("`{rest}` is not a reason"))
    };
    Ok(Some(match head {
        "v6<" | "v4<" => {
            let packet = Packet::parse(rest)?;
            if (head == "v4<") != packet.src.is_ipv4() {
                return Err("the packet is not of this side's family".into());
            }
            Expected::Out(Box::new(packet))
        }
        "drop" => Expected::Drop(reason()?),
        "reject" => Expected::Reject(reason()?),
        "hold" => Expected::Hold,
        _ => return Ok(None),
    }))
}
