//! SIGINT and SIGTERM: the first signal stops the program in order, the second at once.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// SIGINT and SIGTERM, caught from [`catch`](Self::catch) on.
#[derive(Debug)]
pub struct StopSignals(Signals);

impl StopSignals {
    /// Catches both signals. A signal that arrives early is kept for
    /// [`on_first`](Self::on_first).
    pub fn catch() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM]).map(Self)
    }

    /// Starts a thread that calls `stop` at the first signal. The second signal ends the program at
    /// once, with 128 plus its number as exit status.
    ///
    /// The thread only waits, and takes no lock that a handler or the logger takes: a forking
    /// server may fork at any time. A forked child does not have the thread. A signal that a
    /// terminal sends to the whole process group therefore does not end the requests of children,
    /// and neither does the second signal, which ends their parent.
    pub fn on_first(mut self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            let mut signals = self.0.forever();
            if signals.next().is_some() {
                stop();
            }
            if let Some(second) = signals.next() {
                // `_exit`: destructors and exit handlers might wait for the request that hangs.
                low_level::exit(128 + second);
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(wait).map(drop)
    }

    /// Returns a connected socket whose other end is closed at the first signal. The second signal
    /// ends the program, as with [`on_first`](Self::on_first).
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        let (here, other_end) = UnixStream::pair()?;
        self.on_first(move || drop(other_end))?;
        Ok(here.into())
    }
}
