//! One thread of the crew.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::base_server::BaseServer;
use crate::mix_ins::reactor::acceptor::accept;
use crate::mix_ins::reactor::calls::Calls;
use crate::mix_ins::reactor::core::Core;
use crate::mix_ins::reactor::crew::{Look, Need, Task};
use crate::mix_ins::reactor::sentinel;
use crate::mix_ins::reactor::service::take_turn;
use crate::requests::parking::Buffers;
use crate::support::log::{Level, log_line};
use crate::transport::waits::{WaitObserver, observe_this_thread};

/// Starts a member. Fails if the system has no further thread.
pub(super) fn start_member<T: BaseServer>(
    core: &Arc<Core<T::Request>>,
    top: &Arc<T>,
) -> io::Result<()> {
    let calls = Arc::new(Calls::default());
    let id = core.crew.enter_member(calls.clone());
    let (member_core, member_top) = (core.clone(), top.clone());
    let started = core.threads.start_thread(&core.thread_name, (), move |()| {
        work(&member_core, &member_top, id, &calls);
    });
    started.map_err(|((), error)| {
        core.crew.leave_member(id);
        error
    })
}

/// Starts a member if the crew needs one. A failure is logged, and the sentinel tries again.
pub(super) fn start_if_needed<T: BaseServer>(
    core: &Arc<Core<T::Request>>,
    top: &Arc<T>,
    need: Need,
) {
    if need == Need::Member
        && let Err(error) = start_member(core, top)
    {
        let address = core.server_address();
        log_line!(
            Level::Warn,
            "{address}: cannot start a thread in place of one that waits: {error}"
        );
    }
}

fn work<T: BaseServer>(core: &Arc<Core<T::Request>>, top: &Arc<T>, id: usize, calls: &Calls) {
    calls.open_status();
    observe_this_thread(Rc::new(Announcements {
        core: core.clone(),
        top: top.clone(),
        id,
    }));
    let mut look = Look::new();
    let mut buffers = Buffers::default();
    while let Some(task) = core.crew.next(id, &mut look) {
        calls.begin_or_end();
        watch(core, top);
        match task {
            Task::Turn(place) => take_turn(core, top, &place, &mut buffers),
            Task::Accept => accept(core, top),
        }
        calls.begin_or_end();
    }
    if core.crew.is_over() {
        core.sentinel.close();
    }
}

/// Lets the sentinel look at the turn that begins.
fn watch<T: BaseServer>(core: &Arc<Core<T::Request>>, top: &Arc<T>) {
    let started = core.sentinel.call(|| {
        let (thread_core, thread_top) = (core.clone(), top.clone());
        let started = core.threads.start_thread(&core.thread_name, (), move |()| {
            sentinel::run(&thread_core.sentinel, &thread_core.crew, |need| {
                start_if_needed(&thread_core, &thread_top, need);
            });
        });
        started.map_err(|((), error)| error)
    });
    if let Err(error) = started {
        let address = core.server_address();
        log_line!(
            Level::Warn,
            "{address}: cannot start the thread that replaces waiting threads: {error}"
        );
    }
}

/// The waits that a member announces.
struct Announcements<T: BaseServer> {
    core: Arc<Core<T::Request>>,
    top: Arc<T>,
    id: usize,
}

impl<T: BaseServer> WaitObserver for Announcements<T> {
    fn begin_wait(&self) {
        let need = self.core.crew.stick(self.id);
        start_if_needed(&self.core, &self.top, need);
    }

    fn end_wait(&self) {
        self.core.crew.unstick(self.id);
    }
}
