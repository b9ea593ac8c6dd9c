//! The variables that a started program does not inherit.

use std::env;
use std::process::Command;

/// The variables that a service manager sets for this process alone: sd_listen_fds(3),
/// sd_notify(3), sd_watchdog_enabled(3). A program that inherited them could send messages as the
/// service.
///
/// The variables that describe the unit (`INVOCATION_ID`, `CREDENTIALS_DIRECTORY`,
/// `MEMORY_PRESSURE_WATCH`, `MANAGERPID`) are as true for a program of the service, which inherits
/// them.
const OF_A_SERVICE_MANAGER: [&str; 5] = [
    "NOTIFY_SOCKET",
    "MAINPID",
    "SYSTEMD_EXEC_PID",
    "JOURNAL_STREAM",
    "FDSTORE",
];

/// The beginnings of further such names: newer versions of systemd add variables, such as
/// `LISTEN_PIDFDID`.
const BEGINNINGS: [&str; 2] = ["LISTEN_", "WATCHDOG_"];

/// Removes the variables of a service manager from the environment of a program.
pub(super) fn leave_service_manager(program: &mut Command) {
    let names = env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| is_of_service_manager(name.as_encoded_bytes())) {
        program.env_remove(name);
    }
}

/// Whether a service manager sets this variable for this process alone.
pub(crate) fn is_of_service_manager(name: &[u8]) -> bool {
    let begins = |beginning: &&str| name.starts_with(beginning.as_bytes());
    OF_A_SERVICE_MANAGER.iter().any(|it| name == it.as_bytes()) || BEGINNINGS.iter().any(begins)
}
