//! The variables that a started program does not inherit.

use std::process::Command;

/// The variables that a service manager sets for this process alone: sd_listen_fds(3),
/// sd_notify(3), sd_watchdog_enabled(3). A program that inherited them could send messages as the
/// service.
const OF_A_SERVICE_MANAGER: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// Removes the variables of a service manager from the environment of a program.
pub(super) fn leave_service_manager(program: &mut Command) {
    for name in OF_A_SERVICE_MANAGER {
        program.env_remove(name);
    }
}

/// Whether a service manager sets this variable for this process alone.
pub(crate) fn is_of_service_manager(name: &[u8]) -> bool {
    OF_A_SERVICE_MANAGER.iter().any(|it| name == it.as_bytes())
}
