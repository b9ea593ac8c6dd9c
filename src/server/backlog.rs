//! The end of the loop: the clients that are in the backlog when the server stops.

use std::os::fd::AsFd;

use super::Server;
use super::serving::{Pacing, Until};
use crate::base_server::{BaseServer, guarded};
use crate::requests::request::Request;
use crate::running::shared::LoopGuard;
use crate::server::pass::{Next, Reason};
use crate::transport::sys;
use crate::values::backlog::Backlog;
use crate::values::error::Error;
use crate::values::request_event::{Refusal, RequestEvent};

impl<S: BaseServer> Server<S> {
    /// Serves or refuses the clients in the backlog, if the server's [`Backlog`] demands it.
    /// Returns when the backlog is empty, or the drain timeout is over. If the server has handed
    /// its sockets over to another process, it serves the datagrams that it has received already.
    pub(super) fn drain_backlog(
        &self,
        serving: &LoopGuard<'_>,
        pacing: &mut Pacing,
    ) -> Result<(), Error> {
        let is_handed_over = self.shared().lifecycle().is_handed_over();
        let how = match is_handed_over {
            true => Backlog::Serve,
            false => self.shared().settings().backlog(),
        };
        let is_left = match is_handed_over {
            true => !self.shared().serves_datagrams(),
            false => how == Backlog::Close,
        };
        if is_left || self.shared().lifecycle().is_suspended() {
            return Ok(());
        }
        let deadline = self.shared().stop_deadline();
        let mut left = match is_handed_over {
            true => usize::MAX,
            false => sys::accept_queue_length(self.as_fd()).unwrap_or(usize::MAX),
        };
        while left > 0 && !deadline.is_over() {
            let next = match how {
                Backlog::Refuse => self.pass().get_request()?,
                _ => self.pass().next_request()?,
            };
            match next {
                Next::Request(request) => {
                    left -= 1;
                    if !is_handed_over {
                        self.shared().requests().count_from_backlog();
                    }
                    match how {
                        Backlog::Refuse => self.refuse_stopping(request),
                        _ => self.pass().dispatch(request),
                    }
                }
                Next::Wait(Reason::NoClient) => return Ok(()),
                Next::Wait(reason) => {
                    self.wait(serving, pacing, reason, Until::OneRequest(deadline))?;
                }
            }
            self.top.service_actions();
        }
        Ok(())
    }

    fn refuse_stopping(&self, mut request: S::Request) {
        let top = guarded(&self.top);
        request.guard_mut().announce();
        top.observe(request.client_address(), &RequestEvent::Accepted);
        top.refuse(&mut request, &self.shared().settings().refusal());
        self.pass().refuse(request, Refusal::Stopping);
    }
}
