//! The tables: state kept between packets.
//!
//! They look up no zone and do not parse. They hold copies of packets (`syn`, `fragment`), and `pool4` applies
//! the sharing rules of [`Settings`](super::Settings). All memory is allocated when a translator is built; every
//! table has a bound.
//!
//! | table | content |
//! |---|---|
//! | `bib` | bindings (RFC 6146 §3.1), found by protocol and IPv6 transport address |
//! | `session` with `timer_wheel` | sessions (§3.2) and their timeouts; `tcp` is the TCP state machine |
//! | `pool4` with `range`, `block`, `release_queue` | port ranges and the blocks assigned of them |
//! | `hosts`, `sites` | the hosts that hold blocks, and their sites |
//! | `known_hosts` | hosts without blocks that were answered before |
//! | `zone_rates` | rates of new sessions of zones |
//! | `statics` | static bindings |
//! | `syn` | stored unsolicited SYNs (§3.5.2.2) |
//! | `fragment` | fragments of incomplete datagrams (§3.4) |
//! | `events` | events for logs, and records for another translator |
//!
//! They are built of `slab`, `index`, `hash` and `port_set`.

pub(in crate::nat64) mod bib;
pub(in crate::nat64) mod block;
pub(in crate::nat64) mod events;
pub(in crate::nat64) mod fragment;
pub(in crate::nat64) mod hash;
pub(in crate::nat64) mod hosts;
pub(in crate::nat64) mod index;
pub(in crate::nat64) mod known_hosts;
pub(in crate::nat64) mod pool4;
pub(in crate::nat64) mod port_set;
pub(in crate::nat64) mod range;
pub(in crate::nat64) mod release_queue;
pub(in crate::nat64) mod session;
pub(in crate::nat64) mod sites;
pub(in crate::nat64) mod slab;
pub(in crate::nat64) mod statics;
pub(in crate::nat64) mod syn;
pub(in crate::nat64) mod tcp;
pub(in crate::nat64) mod timer_wheel;
pub(in crate::nat64) mod zone_rates;
