//! The TCP state machine of RFC 6146 §3.5.2.2 as in the requirement matrix: one line per state, one column
//! per event; each cell has the new state and the timeout that starts.

use gate64::nat64::Timers;
use std::time::Duration;

/// The state of a session; UDP and ICMP sessions have `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum State {
    None,
    V4Init,
    V6Init,
    Est,
    V4Fin,
    V6Fin,
    BothFin,
    Trans,
    /// TRANS after a RST from outside: the client is probed before the session ends.
    Reset,
}

/// The event of a segment's flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Syn,
    Fin,
    Rst,
    Other,
    SynAck,
}

impl Event {
    /// Whether it opens a session.
    pub(super) fn is_syn(self) -> bool {
        matches!(self, Self::Syn | Self::SynAck)
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The event of a segment; `None` for flags that no TCP sends.
pub(super) fn event(flags: u8) -> Option<Event> {
    match flags & (FIN | SYN | RST) {
        _ if flags & 0x3f == 0 => None,
        SYN if flags & ACK != 0 => Some(Event::SynAck),
        SYN => Some(Event::Syn),
        FIN => Some(Event::Fin),
        RST => Some(Event::Rst),
        0 => Some(Event::Other),
        _ => None,
    }
}

/// The cell of a state and an event: `e`, `o` and `c` are the timeouts (established, opening, closing), `=`
/// keeps the running one. Unlike in the RFC, a SYN of the client after a FIN begins a connection.
const TABLE: [(State, [(State, char); 8]); 8] = {
    use State::{BothFin, Est, Reset, Trans, V4Fin, V4Init, V6Fin, V6Init};
    // V6 SYN, V4 SYN, V6 FIN, V4 FIN, V6 RST, V4 RST, V6 other, V4 other.
    [
        (
            V4Init,
            [
                (Est, 'e'),
                (V4Init, '='),
                (V4Init, '='),
                (V4Init, '='),
                (V4Init, '='),
                (V4Init, '='),
                (V4Init, '='),
                (V4Init, '='),
            ],
        ),
        (
            V6Init,
            [
                (V6Init, 'o'),
                (Est, 'e'),
                (V6Init, '='),
                (V6Init, '='),
                (V6Init, '='),
                (V6Init, '='),
                (V6Init, '='),
                (V6Init, '='),
            ],
        ),
        (
            Est,
            [
                (Est, 'e'),
                (Est, 'e'),
                (V6Fin, '='),
                (V4Fin, '='),
                (Trans, 'c'),
                (Reset, 'c'),
                (Est, 'e'),
                (Est, 'e'),
            ],
        ),
        (
            V4Fin,
            [
                (V6Init, 'o'),
                (V4Fin, 'e'),
                (BothFin, 'c'),
                (V4Fin, 'e'),
                (V4Fin, 'e'),
                (V4Fin, 'e'),
                (V4Fin, 'e'),
                (V4Fin, 'e'),
            ],
        ),
        (
            V6Fin,
            [
                (V6Init, 'o'),
                (V6Fin, 'e'),
                (V6Fin, 'e'),
                (BothFin, 'c'),
                (V6Fin, 'e'),
                (V6Fin, 'e'),
                (V6Fin, 'e'),
                (V6Fin, 'e'),
            ],
        ),
        (
            BothFin,
            [
                (V6Init, 'o'),
                (BothFin, '='),
                (BothFin, '='),
                (BothFin, '='),
                (BothFin, '='),
                (BothFin, '='),
                (BothFin, '='),
                (BothFin, '='),
            ],
        ),
        (
            Trans,
            [
                (Est, 'e'),
                (Est, 'e'),
                (Est, 'e'),
                (Est, 'e'),
                (Trans, '='),
                (Trans, '='),
                (Est, 'e'),
                (Est, 'e'),
            ],
        ),
        (
            Reset,
            [
                (Est, 'e'),
                (Est, 'e'),
                (Est, 'e'),
                (Est, 'e'),
                (Trans, '='),
                (Reset, '='),
                (Est, 'e'),
                (Est, 'e'),
            ],
        ),
    ]
};

/// The new state, and the timeout that starts, if any.
pub(super) fn step(state: State, from_v6: bool, event: Event, timers: &Timers) -> (State, Option<Duration>) {
    let event = match (state, event) {
        // A late SYN-ACK of the old connection begins none.
        (State::V4Fin | State::V6Fin | State::BothFin, Event::SynAck) => Event::Other,
        (_, Event::SynAck) => Event::Syn,
        (_, event) => event,
    };
    let column = 2 * event as usize + usize::from(!from_v6);
    let row = TABLE.iter().find(|(row, _)| *row == state).expect("a TCP session has a state");
    let (next, lifetime) = row.1[column];
    let lifetime = match lifetime {
        'e' => Some(timers.tcp_established),
        'o' => Some(timers.tcp_opening),
        'c' => Some(timers.tcp_closing),
        _ => None,
    };
    (next, lifetime)
}
