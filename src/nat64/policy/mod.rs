//! The policy: what may pass and under which rules. Immutable between reloads.

pub(in crate::nat64) mod zones;
