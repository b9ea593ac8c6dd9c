//! SIGINT, SIGTERM and SIGHUP: the first signal stops the program in order, the second at once.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// The signals that stop the program, caught from [`catch`](Self::catch) on.
///
/// Before the program has begun, the first signal ends the program at once, with 128 plus the
/// signal's number as exit status. So a step of the start that waits, such as a name look-up, does
/// not delay the end. From [`on_first`](Self::on_first) on, the first signal stops the program in
/// order, and the second ends the program at once.
///
/// A thread waits for the signals, so that the program also ends as process 1 of a container, for
/// which signals have no default action. The thread takes no lock that a handler or the logger
/// takes, since a forking server may fork at any time. A forked child does not have the thread. So
/// a signal that a terminal sends to the whole process group does not end the requests of children,
/// and neither does the second signal, which ends their parent.
#[derive(Debug)]
pub struct StopSignals(Arc<State>);

#[derive(Debug)]
struct State {
    phase: Mutex<Phase>,
    /// What SIGHUP does, if it does not stop the program.
    hangup: OnceLock<Hangup>,
    /// What SIGUSR2 does, if it is caught.
    restart: OnceLock<Hangup>,
}

struct Hangup(Box<dyn Fn() + Send + Sync>);

enum Phase {
    Starting,
    /// The program has begun; the function stops it.
    Begun(Box<dyn FnOnce(i32) + Send>),
    Stopping,
}

impl StopSignals {
    /// Catches SIGINT, SIGTERM and SIGHUP, and starts the thread that waits for them.
    ///
    /// A SIGHUP that is ignored stays ignored: nohup(1) starts a program that outlives its
    /// terminal. So does a SIGINT: a shell without job control ignores it in the programs that it
    /// starts in the background, since the user's Ctrl-C is for the program in front. SIGTERM is
    /// the stop request of supervisors, and is caught in any case.
    pub fn catch() -> io::Result<Self> {
        Self::catch_these(&[])
    }

    /// As [`catch`](Self::catch), and SIGUSR2, which does nothing until
    /// [`on_restart`](Self::on_restart).
    #[cfg(feature = "systemd")]
    pub fn catch_with_restart() -> io::Result<Self> {
        Self::catch_these(&[SIGUSR2])
    }

    fn catch_these(others: &[i32]) -> io::Result<Self> {
        let kept = [SIGINT, SIGHUP].into_iter().filter(|it| !is_ignored(*it));
        let caught = Vec::from_iter(kept.chain([SIGTERM]).chain(others.iter().copied()));
        let mut signals = Signals::new(caught)?;
        let state = Arc::new(State {
            phase: Mutex::new(Phase::Starting),
            hangup: OnceLock::new(),
            restart: OnceLock::new(),
        });
        let watched = Arc::clone(&state);
        let wait = move || {
            for signal in signals.forever() {
                if let Some(Hangup(act)) = watched.hangup.get().filter(|_| signal == SIGHUP) {
                    act();
                    continue;
                }
                if signal == SIGUSR2 {
                    if let Some(Hangup(act)) = watched.restart.get() {
                        act();
                    }
                    continue;
                }
                let mut phase = lock(&watched.phase);
                match std::mem::replace(&mut *phase, Phase::Stopping) {
                    Phase::Begun(stop) => {
                        drop(phase);
                        stop(signal);
                    }
                    // `_exit`: destructors and exit handlers might wait for a step that hangs.
                    Phase::Starting | Phase::Stopping => low_level::exit(128 + signal),
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(wait)?;
        Ok(Self(state))
    }

    /// Makes SIGHUP call `act` from now on, in the thread of the signals, and stop nothing.
    pub fn on_hangup(&self, act: impl Fn() + Send + Sync + 'static) {
        // Called once for a program.
        let _ = self.0.hangup.set(Hangup(Box::new(act)));
    }

    /// Makes SIGUSR2 call `act` from now on, in the thread of the signals.
    #[cfg(feature = "systemd")]
    pub fn on_restart(&self, act: impl Fn() + Send + Sync + 'static) {
        // Called once for a program.
        let _ = self.0.restart.set(Hangup(Box::new(act)));
    }

    /// Ends the start: the next signal calls `stop` with its number, in the thread of the signals.
    pub fn on_first(self, stop: impl FnOnce(i32) + Send + 'static) {
        *lock(&self.0.phase) = Phase::Begun(Box::new(stop));
    }

    /// Returns a connected socket whose other end is closed at the first signal. The second signal
    /// ends the program, as with [`on_first`](Self::on_first).
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        let (here, other_end) = UnixStream::pair()?;
        self.on_first(move |_| drop(other_end));
        Ok(here.into())
    }
}

fn lock(phase: &Mutex<Phase>) -> MutexGuard<'_, Phase> {
    // No code of others runs under the lock.
    phase.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hangup")
    }
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "Starting",
            Self::Begun(_) => "Begun",
            Self::Stopping => "Stopping",
        })
    }
}

/// Whether the process ignores the signal, from the mask `SigIgn` of Linux's `/proc`. False where
/// the system has no such file.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
