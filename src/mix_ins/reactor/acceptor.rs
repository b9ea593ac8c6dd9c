//! Accepting in the threads of the crew, so that a new client needs no other thread.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::base_server::BaseServer;
use crate::mix_ins::reactor::accepting::{MOST_ACCEPTED, State};
use crate::mix_ins::reactor::core::Core;
use crate::requests::request::Request;
use crate::running::acceptor::Acceptor;
use crate::server::pass::{Next, Pass, Reason};
use crate::support::lock::lock;
use crate::support::sync::TryLockError;

/// The most requests that a member gets in a row: those of two batches.
const MOST_IN_A_ROW: u32 = 2 * MOST_ACCEPTED;

/// Accepts the clients that wait, in the thread of a member.
///
/// The poller reports the listening socket again if a further client waits there. Requests that a
/// layer has received ahead are in no socket, so the member gets those before it ends.
pub(super) fn accept<T: BaseServer>(core: &Arc<Core<T::Request>>, top: &Arc<T>) {
    let mut state = match core.accepting.state.try_lock() {
        Ok(state) => state,
        Err(TryLockError::Poisoned(state)) => state.into_inner(),
        // Another member accepts, or the loop takes over.
        Err(TryLockError::WouldBlock) => return,
    };
    if state.socket.is_none() {
        return;
    }
    let shared = top.layer_handle().shared();
    let _accepts = shared.stoppers().accepts();
    let mut accepted = 0;
    while accepted < state.batch.size() || !shared.socket_reports_all() {
        if accepted >= MOST_IN_A_ROW {
            // A layer that always has another request: the loop serves that layer.
            return leave_to_loop(core, top, &mut state);
        }
        match accept_one(top, &mut state) {
            Accepted::Client => accepted += 1,
            Accepted::Lost => {}
            Accepted::NoClient => break,
            Accepted::LoopHasToLook => {
                return leave_to_loop(core, top, &mut state);
            }
        }
    }
    state.batch.note(accepted);
}

enum Accepted {
    Client,
    NoClient,
    /// A client has left before it was accepted.
    Lost,
    /// The loop gets the same result, and waits or ends.
    LoopHasToLook,
}

fn accept_one<T: BaseServer>(top: &Arc<T>, state: &mut State) -> Accepted {
    let pass = Pass::new(top);
    if top.layer_handle().shared().lifecycle().is_draining() {
        return Accepted::LoopHasToLook;
    }
    let accepted = match pass.next_request() {
        Ok(Next::Request(request)) => {
            pass.dispatch(request);
            Accepted::Client
        }
        Ok(Next::Wait(Reason::NoClient)) => return Accepted::NoClient,
        Ok(Next::Wait(Reason::Lost)) => Accepted::Lost,
        Ok(Next::Wait(_)) | Err(_) => return Accepted::LoopHasToLook,
    };
    match catch_unwind(AssertUnwindSafe(|| top.service_actions())) {
        Ok(()) => accepted,
        Err(panic) => {
            state.panic = Some(panic);
            Accepted::LoopHasToLook
        }
    }
}

fn leave_to_loop<T: BaseServer>(core: &Core<T::Request>, top: &Arc<T>, state: &mut State) {
    ignore_listener(core, state);
    top.layer_handle().shared().wake();
}

fn ignore_listener<R>(core: &Core<R>, state: &mut State) {
    if let Some(socket) = state.socket.take() {
        core.crew.poller().ignore_listener(socket.as_fd());
    }
}

/// The acceptor of a server with a reactor.
pub(super) struct ReactorAcceptor<R>(pub Arc<Core<R>>);

impl<R: Request> Acceptor for ReactorAcceptor<R> {
    fn arm(&self, socket: &Arc<OwnedFd>) -> bool {
        let core = &self.0;
        if !core.crew.is_here() || !core.crew.has_members() {
            return false;
        }
        let mut state = lock(&core.accepting.state);
        let watched = core.crew.poller().watch_listener(socket.as_fd());
        state.socket = watched.is_ok().then(|| socket.clone());
        watched.is_ok()
    }

    fn disarm(&self) {
        let core = &self.0;
        if !core.crew.is_here() {
            return;
        }
        let mut state = lock(&core.accepting.state);
        ignore_listener(core, &mut state);
        if let Some(panic) = state.panic.take() {
            drop(state);
            resume_unwind(panic);
        }
    }
}

impl<R> fmt::Debug for ReactorAcceptor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor")
    }
}
