//! The machinery of a reactor.

use std::sync::Arc;

use crate::mix_ins::reactor::accepting::Accepting;
use crate::mix_ins::reactor::crew::Crew;
use crate::mix_ins::reactor::sentinel::Sentinel;
use crate::running::server_handle::ServerHandle;
use crate::running::threads::Threads;
use crate::values::address::Address;

/// The machinery of a reactor, which its threads share.
pub(super) struct Core<R> {
    pub crew: Arc<Crew<R>>,
    pub sentinel: Sentinel,
    pub accepting: Accepting,
    pub threads: Arc<Threads>,
    /// The name of every thread.
    pub thread_name: String,
    pub server: ServerHandle,
}

impl<R> Core<R> {
    pub fn server_address(&self) -> Address {
        self.server.server_address()
    }
}
