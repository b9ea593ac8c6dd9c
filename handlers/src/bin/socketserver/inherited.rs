//! The signal mask that the program inherits from its parent.

use nix::sys::signal::{SigSet, Signal};

/// Unblocks the signals that stop or restart the program. The signal mask survives exec(2): if a
/// supervisor blocks signals in its threads, the programs that it starts would not receive them.
///
/// Called before the program has another thread. All other signals keep their state.
pub fn unblock_stop_signals() {
    let signals = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR2,
    ];
    // pthread_sigmask(3) fails for an invalid `how` only.
    let _ = SigSet::from_iter(signals).thread_unblock();
}
