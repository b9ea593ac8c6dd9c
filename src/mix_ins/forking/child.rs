//! The life of a forked child, from the fork to its exit.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use signal_hook::low_level;

use crate::base_server::{BaseServer, process_request_thread};
use crate::requests::request::Request;
use crate::running::client_name::ClientName;
use crate::running::in_child::DrainNotice;
use crate::running::parent_link::ParentLink;
use crate::support::log::{Level, log_line};

/// Serves the request and ends the process, even after a panic. `mask` is the signal mask that the
/// parent had before it blocked `SIGTERM`.
pub(super) fn live_as_child<T: BaseServer>(
    top: &Arc<T>,
    request: T::Request,
    parent: Arc<dyn ParentLink>,
    mut mask: SigSet,
) -> ! {
    let _ends_with_this_frame = ExitOnDrop;
    top.layer_handle().shared().enter_child(parent);
    drain_on_sigterm(&request);
    // The child unblocks the signal even if the parent blocks it, as a program does that waits for
    // the signal with sigwait(3).
    mask.remove(Signal::SIGTERM);
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    top.after_fork_in_child();
    let succeeded = process_request_thread(top, request);
    low_level::exit(i32::from(!succeeded))
}

/// Ends the process when a panic unwinds. The frames below are copies of the parent's frames. In
/// them the child would go on as a second server.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        low_level::exit(1);
    }
}

/// The drain notice of a child's request, for the handler of `SIGTERM`; null in every other
/// process.
static DRAIN_NOTICE: AtomicPtr<DrainNotice> = AtomicPtr::new(ptr::null_mut());

/// Makes `SIGTERM` begin the drain of this child's request, in place of the program's own action,
/// which is for the parent.
///
/// `signal-hook` cannot be used: its registration waits until no thread runs an action, and a
/// thread that ran one at the fork does not exist in the child.
#[allow(unsafe_code)]
fn drain_on_sigterm(request: &impl Request) {
    let notice = Box::new(request.guard().drain_notice());
    // Release: pairs with the load in the signal handler, which may run in another thread of the
    // child.
    DRAIN_NOTICE.store(Box::into_raw(notice), Ordering::Release);
    let handler = SigHandler::Handler(notify_of_drain);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler may call async-signal-safe functions only. The documentation of
    // `notify_of_drain` lists its calls.
    if let Err(error) = unsafe { sigaction(Signal::SIGTERM, &action) } {
        let (client, server) = (request.client_address(), request.guard().server());
        let client = ClientName { client, server };
        log_line!(
            Level::Warn,
            "{client}: cannot handle SIGTERM in the child, so the child does not drain: {error}"
        );
    }
}

/// The action of `SIGTERM` in a child.
///
/// `DrainNotice::notify` stores to and exchanges atomics and calls shutdown(2), which POSIX lists
/// as async-signal-safe. It takes no lock, allocates nothing, and does not panic.
#[allow(unsafe_code)]
extern "C" fn notify_of_drain(_: nix::libc::c_int) {
    // `errno` is saved, because the interrupted code may be about to read it.
    let errno = Errno::last_raw();
    // SAFETY: the pointer is null, or comes from `Box::into_raw` in `drain_on_sigterm`; that box is
    // never freed, and nothing takes it by exclusive reference.
    if let Some(notice) = unsafe { DRAIN_NOTICE.load(Ordering::Acquire).as_ref() } {
        notice.notify();
    }
    Errno::set_raw(errno);
}
