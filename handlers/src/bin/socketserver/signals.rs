//! SIGINT and SIGTERM: the first stops the server, the second ends the program.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use socketserver::ServerHandle;

/// Signals that have come, or will.
#[derive(Debug)]
pub struct StopSignals(Signals);

impl StopSignals {
    /// From here on a signal is kept until somebody listens.
    pub fn catch() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM]).map(Self)
    }

    /// Starts the thread that listens for as long as the program runs.
    ///
    /// It does nothing but wait, and takes no lock that a handler or the logger takes: a forking
    /// server may fork at any time. In its children this thread does not exist, so a signal that a
    /// terminal sends to all of them does not end their requests. Neither does the second signal:
    /// what it ends is the server, and its children end with the requests that they have.
    pub fn stop(mut self, server: ServerHandle) -> io::Result<()> {
        let listen = move || {
            let mut signals = self.0.forever();
            if signals.next().is_some() {
                server.request_shutdown();
                // Cuts off what holds the loop of a server without a mix-in when its time is over, while
                // this thread listens on. Without it the second signal is what is left.
                let _ = thread::Builder::new().spawn(move || server.shutdown());
            }
            if let Some(second) = signals.next() {
                // Neither destructors nor handlers at exit: they might wait for what hangs.
                low_level::exit(128 + second);
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(listen).map(drop)
    }
}
