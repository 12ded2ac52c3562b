//! The tables: what is kept from packet to packet.
//!
//! They know no packet and no policy. They import values of the ground floor and
//! [`Settings`](super::Settings) for their sizes, never a step of RFC 6146. All memory is taken when
//! a translator is made; every table has a bound.
//!
//! | table | what it holds |
//! |---|---|
//! | `bib` | bindings (RFC 6146 §3.1), found by protocol and IPv6 transport address |
//! | `session` with `expiry` | sessions (§3.2) and their timer wheel; `tcp` is the state machine of one |
//! | `pool4` with `block`, `hosts` | port blocks, and the hosts that hold them |
//! | `statics` | static bindings |
//! | `syn` | unsolicited SYNs that wait for their simultaneous open (§3.5.2.2) |
//! | `fragment` | fragments that wait for their first (§3.4) |
//! | `events` | records for logs and for another translator |
//!
//! `slab`, `index` and `hash` are what they are built of.

pub(in crate::nat64) mod bib;
pub(in crate::nat64) mod block;
pub(in crate::nat64) mod events;
pub(in crate::nat64) mod fragment;
pub(in crate::nat64) mod hash;
pub(in crate::nat64) mod hosts;
pub(in crate::nat64) mod index;
pub(in crate::nat64) mod pool4;
pub(in crate::nat64) mod session;
pub(in crate::nat64) mod slab;
pub(in crate::nat64) mod statics;
pub(in crate::nat64) mod syn;
pub(in crate::nat64) mod tcp;
pub(in crate::nat64) mod timer_wheel;
