//! Writing to standard output and standard error without panics.
//!
//! `println!` panics when the reader of a pipe has closed it, as in `gate64 status | head -1`. These macros ignore
//! a closed pipe, so that the exit code stays that of the command.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// `println!` without the panic.
macro_rules! outln {
    () => { $crate::output::to_stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::to_stdout(format_args!("{}\n", format_args!($($text)*))) };
}

/// `print!` without the panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::to_stdout(format_args!($($text)*)) };
}

/// `eprintln!` without the panic.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::to_stderr(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {errln, out, outln};

/// Writes to standard output. Exits with code 1 if that fails for another reason than a closed pipe: incomplete
/// output must not look like success.
pub(crate) fn to_stdout(text: Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => {
            to_stderr(format_args!("gate64: standard output: {why}\n"));
            std::process::exit(1);
        }
        Ok(()) | Err(_) => {}
    }
}

/// Writes to standard error. There is nowhere to report a failure.
pub(crate) fn to_stderr(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}
