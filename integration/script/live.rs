//! Runs a scenario through an interface that passes packets only. Compares the outputs and learns names from
//! them; the library run has checked the state.

use gate64::wire::buf::Offload;

use super::build::{Blank, build};
use super::language::{Action, Expected, Side, Step};
use super::packet::{Packet, Vars};
use super::world::{Effect, compare};

/// Sends packets and returns all outputs.
pub(crate) type Exchange<'a> = &'a mut dyn FnMut(&[Vec<u8>]) -> Result<Vec<Vec<u8>>, String>;

/// Runs the scenario; the error names the line.
pub(crate) fn play(steps: &[Step], exchange: Exchange<'_>) -> Result<(), String> {
    let (mut vars, mut input) = (Vars::new(), Vec::new());
    for step in steps {
        let Action::Input { packets, each } = &step.action else { continue };
        let rounds: Vec<Option<(&String, u16)>> = match each {
            None => vec![None],
            Some((name, first, last)) => (*first..=*last).map(|value| Some((name, value))).collect(),
        };
        for round in rounds {
            if let Some((name, value)) = round {
                vars.insert(name.clone(), value);
            }
            one(&mut vars, &mut input, packets, &step.expected, exchange)
                .map_err(|error| format!("line {}: {error}", step.line))?;
        }
    }
    Ok(())
}

fn one(
    vars: &mut Vars,
    input: &mut Vec<u8>,
    packets: &[(Side, Packet)],
    expected: &[(usize, Expected)],
    exchange: Exchange<'_>,
) -> Result<(), String> {
    let blank = Blank { vars, hop: Some(64), actual: None, input };
    let bytes: Vec<_> = packets.iter().map(|(_, packet)| build(packet, blank)).collect::<Result<_, _>>()?;
    input.clone_from(&bytes[0]);
    let mut came = exchange(&bytes)?.into_iter();
    let mut seen = Vec::new();
    let mut rejected = false;
    for (_, expected) in expected {
        // A verdict is not visible from outside; the absence of output is.
        seen.extend(match expected {
            Expected::Drop(reason) => Some(Effect::Drop(*reason)),
            Expected::Reject(reason) => Some(Effect::Reject(*reason)),
            Expected::Hold => Some(Effect::Hold),
            Expected::Out(_) => came.next().map(|bytes| out(bytes, !rejected)),
        });
        rejected = matches!(expected, Expected::Reject(_));
    }
    seen.extend(came.map(|bytes| out(bytes, true)));
    compare(vars, input, seen, expected)
}

fn out(bytes: Vec<u8>, forwarded: bool) -> Effect {
    Effect::Out { bytes, offload: Offload::default(), forwarded }
}
