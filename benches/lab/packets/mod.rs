//! Packet generation and counting: packet socket rings, frames and their tags.

pub(crate) mod frame;
pub(crate) mod ring;
pub(crate) mod sys;
pub(crate) mod tester;
