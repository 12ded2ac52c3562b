//! The TCP state machine (RFC 6146 §3.5.2.2) as a function of state and event.

/// TCP session state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::nat64) enum State {
    /// A new session until its first SYN, a session of another protocol, and the end of one after a timeout.
    Closed,
    /// A SYN came from the IPv4 side.
    V4Init,
    /// A SYN came from the IPv6 side.
    V6Init,
    /// Both have sent a SYN.
    Established,
    /// The IPv4 side has sent a FIN.
    V4Fin,
    /// The IPv6 side has sent a FIN.
    V6Fin,
    /// Both have sent a FIN.
    BothFin,
    /// Reset by the client, or probed: the session ends unless a segment arrives.
    Transitory,
    /// Reset from the IPv4 side, perhaps by a forged RST: the client is probed before the session ends.
    Reset,
}

impl State {
    /// All states, in the order of their numbers.
    pub(in crate::nat64) const ALL: [Self; 9] = [
        Self::Closed,
        Self::V4Init,
        Self::V6Init,
        Self::Established,
        Self::V4Fin,
        Self::V6Fin,
        Self::BothFin,
        Self::Transitory,
        Self::Reset,
    ];

    /// Whether its timeout is that of an established connection.
    pub(in crate::nat64) const fn is_connection(self) -> bool {
        matches!(self, Self::Established | Self::V4Fin | Self::V6Fin)
    }

    /// Whether it is the transitory state of RFC 6146.
    pub(in crate::nat64) const fn is_ending(self) -> bool {
        matches!(self, Self::Transitory | Self::Reset)
    }

    /// The state with this number.
    pub(in crate::nat64) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// The side a segment comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Side {
    /// The client's.
    V6,
    /// The server's.
    V4,
}

/// The kind of a segment by its flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Kind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN.
    Fin,
    /// RST.
    Rst,
    /// No SYN, FIN or RST.
    Other,
}

impl Kind {
    /// Whether it opens a session: SYN, with or without ACK.
    pub(in crate::nat64) const fn is_syn(self) -> bool {
        matches!(self, Self::Syn | Self::SynAck)
    }
}

/// The timeout that a segment starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Lifetime {
    /// The current timeout continues.
    Keep,
    /// The timeout of an established connection.
    Established,
    /// The timeout of an opening connection.
    Opening,
    /// The timeout of a closing connection.
    Closing,
}

/// Returns the next state after a segment, and the timeout that starts.
///
/// In `Closed`, only a SYN opens. Filtering decides whether the segment is forwarded.
///
/// A SYN of the client after a FIN begins a connection with the ports of the old one. RFC 6146 §3.5.2.2 would
/// keep the state, and the timeout after both FINs would cut the new connection.
pub(in crate::nat64) const fn on_segment(state: State, side: Side, kind: Kind) -> (State, Lifetime) {
    use Kind::{Fin, Other, Rst, Syn, SynAck};
    use Lifetime::Keep;
    use Side::{V4, V6};
    match (state, side, kind) {
        (State::Closed, V6, Syn | SynAck) => (State::V6Init, Lifetime::Opening),
        (State::Closed, V4, Syn | SynAck) => (State::V4Init, Lifetime::Opening),
        (State::Closed, _, Fin | Rst | Other) => (State::Closed, Keep),

        (State::V4Init, V6, Syn | SynAck) | (State::V6Init, V4, Syn | SynAck) => {
            (State::Established, Lifetime::Established)
        }
        (State::V6Init, V6, Syn | SynAck) => (State::V6Init, Lifetime::Opening),
        (State::V4Init | State::V6Init, _, _) => (state, Keep),

        (State::Established, _, Syn | SynAck | Other) => (State::Established, Lifetime::Established),
        (State::Established, V6, Fin) => (State::V6Fin, Keep),
        (State::Established, V4, Fin) => (State::V4Fin, Keep),
        (State::Established, V6, Rst) => (State::Transitory, Lifetime::Closing),
        (State::Established, V4, Rst) => (State::Reset, Lifetime::Closing),

        (State::V4Fin | State::V6Fin | State::BothFin, V6, Syn) => (State::V6Init, Lifetime::Opening),
        (State::V4Fin, V6, Fin) | (State::V6Fin, V4, Fin) => (State::BothFin, Lifetime::Closing),
        (State::V4Fin | State::V6Fin, _, _) => (state, Lifetime::Established),

        (State::BothFin, _, _) | (State::Transitory, _, Rst) | (State::Reset, V4, Rst) => (state, Keep),
        // The client confirms the reset: no probe is needed.
        (State::Reset, V6, Rst) => (State::Transitory, Keep),
        (State::Transitory | State::Reset, _, Syn | SynAck | Fin | Other) => {
            (State::Established, Lifetime::Established)
        }
    }
}

/// Returns the next state after a timeout: `Transitory` to probe and wait once more, or `Closed`.
pub(in crate::nat64) const fn on_timeout(state: State) -> State {
    match state {
        State::Established | State::Reset => State::Transitory,
        State::Closed
        | State::V4Init
        | State::V6Init
        | State::V4Fin
        | State::V6Fin
        | State::BothFin
        | State::Transitory => State::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of RFC 6146 §3.5.2.2 as text: a line a state, a column an event in the order
    /// V6 SYN, V4 SYN, V6 FIN, V4 FIN, V6 RST, V4 RST, V6 other, V4 other, timeout.
    const MATRIX: &str = "
        Closed      V6Init/O      V4Init/O      -/=      -/=      -/=      -/=      -/=     -/=     -
        V4Init      Established/E -/=           -/=      -/=      -/=      -/=      -/=     -/=     Closed
        V6Init      -/O           Established/E -/=      -/=      -/=      -/=      -/=     -/=     Closed
        Established -/E           -/E           V6Fin/=  V4Fin/=  Transitory/C Reset/C -/E -/E Transitory
        V4Fin       V6Init/O      -/E           BothFin/C -/E     -/E      -/E      -/E     -/E     Closed
        V6Fin       V6Init/O      -/E           -/E      BothFin/C -/E     -/E      -/E     -/E     Closed
        BothFin     V6Init/O      -/=           -/=      -/=      -/=      -/=      -/=     -/=     Closed
        Transitory  Established/E Established/E Established/E Established/E -/= -/= Established/E Established/E Closed
        Reset       Established/E Established/E Established/E Established/E Transitory/= -/= Established/E Established/E Transitory";

    #[test]
    fn every_cell_of_the_matrix() {
        // A closed session beside a binding differs from the first row only in what is forwarded;
        // `integration/tcp_matrix.rs` drives all 81 cells with packets.
        let events = [Kind::Syn, Kind::Fin, Kind::Rst, Kind::Other]
            .into_iter()
            .flat_map(|kind| [(Side::V6, kind), (Side::V4, kind)]);
        let mut cells = 0;
        for line in MATRIX.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let name = words.next().expect("state");
            let state = *State::ALL.iter().find(|s| format!("{s:?}") == name).expect("a state");
            for (side, kind) in events.clone() {
                let (next, life) = words.next().and_then(|w| w.split_once('/')).expect("state and lifetime");
                let (got, lifetime) = on_segment(state, side, kind);
                let want = if next == "-" { name } else { next };
                assert_eq!(format!("{got:?}"), want, "{name} {side:?} {kind:?}");
                let want = match life {
                    "=" => Lifetime::Keep,
                    "E" => Lifetime::Established,
                    "O" => Lifetime::Opening,
                    _ => Lifetime::Closing,
                };
                assert_eq!(lifetime, want, "{name} {side:?} {kind:?}");
                cells += 1;
            }
            let timeout = words.next().expect("timeout");
            let want = if timeout == "-" { name } else { timeout };
            assert_eq!(format!("{:?}", on_timeout(state)), want, "{name} timeout");
            cells += 1;
        }
        assert_eq!(cells, 81);
    }

    #[test]
    fn a_syn_ack_counts_as_syn_but_begins_no_connection_after_a_fin() {
        for state in State::ALL {
            for side in [Side::V6, Side::V4] {
                let after_fin = matches!(state, State::V4Fin | State::V6Fin | State::BothFin);
                let as_kind = if after_fin { Kind::Other } else { Kind::Syn };
                assert_eq!(on_segment(state, side, Kind::SynAck), on_segment(state, side, as_kind));
            }
        }
    }

    #[test]
    fn states_survive_their_numbers() {
        for state in State::ALL {
            assert_eq!(State::from_number(state as u8), Some(state));
        }
        assert_eq!(State::from_number(9), None);
    }
}
