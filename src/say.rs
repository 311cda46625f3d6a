//! Lines for people on the standard output and the standard error, which `println!` and `eprintln!` would answer with a
//! panic where nobody reads them any more (`| head`).

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints a line on the standard output. Where its reader has left the line is left out, and the command goes on to its
/// end and its own exit status.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(format_args!($($text)*)) };
}

/// Prints a line on the standard error, if anybody reads it.
macro_rules! remark {
    ($($text:tt)*) => { $crate::say::remark(format_args!($($text)*)) };
}

/// Whether the standard output belongs to user data.
static IS_DATA: AtomicBool = AtomicBool::new(false);

/// From now on what would be said on the standard output goes to the standard error, as data does there.
pub(crate) fn leave_standard_output_to_data() {
    IS_DATA.store(true, Ordering::Relaxed);
}

/// What [`say!`] does.
pub(crate) fn line(text: Arguments<'_>) {
    if IS_DATA.load(Ordering::Relaxed) {
        return remark(text);
    }
    match writeln!(stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            // A full disk: what was asked for is not there, and nobody may believe that it is.
            remark!("issc: standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// What [`remark!`] does.
pub(crate) fn remark(text: Arguments<'_>) {
    drop(writeln!(stderr().lock(), "{text}"));
}
