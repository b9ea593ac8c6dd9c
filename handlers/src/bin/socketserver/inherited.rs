//! What the program inherits from whoever has started it.

use nix::sys::signal::{SigSet, Signal};

/// Unblocks the signals that stop or restart the program. The signal mask survives exec(2): a
/// supervisor that blocks signals in its threads starts programs that a signal does not reach.
///
/// Called before the program has another thread. Every other signal stays blocked or not, as it
/// was.
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
