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

/// Whether lines of this level are written at all.
pub(crate) fn is_logged(level: Level) -> bool {
    level <= log::max_level()
}

/// The function behind [`log_line!`].
pub(crate) fn write(level: Level, line: fmt::Arguments<'_>) {
    // Ignored: the panic hook has printed the logger's panic.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        log::log!(target: "socketserver", level, "{line}");
    }));
}
