//! The contract between the loop and a mix-in whose threads accept in the loop's place.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A mix-in that waits for clients together with its connections.
///
/// The loop keeps its policy. The loop itself accepts whenever a limit, a layer or the system needs
/// attention. The loop hands the listening socket over while it waits only for the next client.
pub(crate) trait Acceptor: fmt::Debug + Send + Sync {
    /// Waits for clients on `socket` from now on, and accepts them. Returns false if the mix-in
    /// cannot do so; then the loop waits itself. The mix-in wakes the loop when the loop has to
    /// look.
    fn arm(&self, socket: &Arc<OwnedFd>) -> bool;

    /// Accepts no further client. Returns when no accept is under way in another thread.
    ///
    /// # Panics
    ///
    /// If `service_actions` has panicked in a thread that accepted, this method resumes that panic.
    fn disarm(&self);
}
