//! Lines to the program's log.

use std::fmt;

use crate::values::error::catch_panic;

pub(crate) use log::Level;

/// Writes a line to the log. A panic of the program's logger goes no further: a line that is not
/// written must end neither the loop nor a worker.
pub(crate) fn log(level: Level, line: fmt::Arguments<'_>) {
    let logged = catch_panic(|| {
        log::log!(target: "socketserver", level, "{line}");
        Ok(())
    });
    // There is nobody left to tell.
    drop(logged);
}
