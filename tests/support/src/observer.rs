//! A layer that reports the calls that pass through it, as a user's own mix-in would receive them.

use std::sync::Arc;

use socketserver::layer::RequestOf;
use socketserver::{BaseServer, HandlerError, HandlerPanic, HandlerResult, MixIn};

use crate::reports::Reporter;

/// Reports each hook of a request by its name, with the thread and the process in which it runs.
#[derive(Debug)]
pub struct Observer<S> {
    next: S,
    name: &'static str,
    reporter: Reporter,
}

impl<S: BaseServer> Observer<S> {
    /// Makes a layer around `next`, whose reports begin with `name`.
    pub fn new(next: S, name: &'static str, reporter: Reporter) -> Self {
        Self {
            next,
            name,
            reporter,
        }
    }

    fn report(&self, hook: &str) {
        self.reporter
            .say(format_args!("{} {hook} {}", self.name, place()));
    }
}

/// Returns the thread and the process of the caller.
pub fn place() -> String {
    let thread = std::thread::current().id();
    format!("in {thread:?} of {}", std::process::id())
}

impl<S: BaseServer> MixIn for Observer<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        self.report("verify_request");
        self.next.verify_request(request)
    }

    fn process_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.report("process_request");
        self.next.process_request(top, request);
    }

    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        self.report("finish_request");
        self.next.finish_request(request)
    }

    fn handle_error(&self, _request: &mut RequestOf<Self>, error: &HandlerError) {
        let kind = if error.is::<HandlerPanic>() {
            "panic"
        } else {
            "error"
        };
        self.report(&format!("handle_error ({kind}: {error})"));
    }

    fn shutdown_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.report("shutdown_request");
        self.next.shutdown_request(top, request);
    }

    fn close_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.report("close_request");
        self.next.close_request(top, request);
    }
}
