//! Packets made and counted: rings of the kernel, frames, and what they say of themselves.

pub(crate) mod frame;
pub(crate) mod ring;
pub(crate) mod sys;
pub(crate) mod tester;
