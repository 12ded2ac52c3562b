//! Bytes: packet buffers, and views whose constructors check so that accessors cannot fail.

pub mod batch;
pub mod buf;
