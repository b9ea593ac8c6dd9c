//! Lines to the program's log.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use log::Level;

/// Writes a line at the level, as [`log::error!`] and its siblings do. A panic of the program's
/// logger ends neither the loop nor a worker.
macro_rules! log_line {
    ($level:expr, $($line:tt)+) => {
        if $level <= log::max_level() {
            $crate::support::log::write($level, format_args!($($line)+));
        }
    };
}
pub(crate) use log_line;

/// What [`log_line!`] calls.
pub(crate) fn write(level: Level, line: fmt::Arguments<'_>) {
    // A line that a logger has panicked over has no reader, and the panic hook has printed the
    // panic.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        log::log!(target: "socketserver", level, "{line}");
    }));
}
