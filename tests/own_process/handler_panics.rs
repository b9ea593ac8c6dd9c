//! A panic in any step of a handler, and in `handle_error` after it, costs one client and is
//! counted.

use std::io::Write;

use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, ForkingMixIn, HandlerError, HandlerResult, MixIn, ReactorMixIn, Request,
    RequestHandler, Serve, Statistics, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::children;
use support::reports::{Reporter, reports};
use support::running_server::RunningServer;
use support::services::{read_line, silent_panic};

/// Panics in the step that the client's first line names, and reports the steps that it has ended.
struct Clumsy {
    reporter: Reporter,
    line: String,
}

impl Clumsy {
    fn step(&self, name: &'static str) -> HandlerResult {
        if self.line.starts_with(name) {
            let is_to_fail_twice = self.line.ends_with("handle_error");
            silent_panic(if is_to_fail_twice { "twice" } else { "once" });
        }
        self.reporter.say(name);
        Ok(())
    }
}

impl RequestHandler for Clumsy {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.line = read_line(request)?;
        self.step("setup")
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.step("handle")?;
        Ok(request.write_all(self.line.as_bytes())?)
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.step("finish")
    }
}

/// A layer whose `handle_error` reports the error, and then panics if the error is "twice".
struct ClumsyLayer<S> {
    next: S,
    reporter: Reporter,
}

impl<S: BaseServer> MixIn for ClumsyLayer<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
        let client = request.client_address();
        self.reporter.say(format_args!("{client} {error}"));
        if error.to_string().ends_with("twice") {
            silent_panic("handle_error fails");
        }
    }
}

fn clumsy(reporter: Reporter) -> impl BaseServer<Request = StreamRequest> {
    let in_handler = reporter.clone();
    let factory = move || Clumsy {
        reporter: in_handler.clone(),
        line: String::new(),
    };
    TcpServer::new("127.0.0.1:0", factory).mix_in(|next| ClumsyLayer { next, reporter })
}

/// Lets every step panic, without and with `handle_error`, and serves another client after each.
fn survives<S: BaseServer>(layers: impl FnOnce(Reporter) -> S) {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(layers(reporter).bind().unwrap());
    let converse = |line: &str| {
        let mut client = StreamClient::connect(&running.address());
        let name = client.socket().local_addr().unwrap().as_socket().unwrap();
        client.send(&format!("{line}\n"));
        (client.rest(), name)
    };
    for (panics, what_else) in [("once", ""), ("twice", " and handle_error")] {
        for (step, ended, is_answered) in [
            ("setup", &[][..], false),
            ("handle", &["setup", "finish"], false),
            ("finish", &["setup", "handle"], true),
        ] {
            let line = format!("{step}{what_else}");
            let (answered, name) = converse(&line);
            let answer = if is_answered { line.as_str() } else { "" };
            assert_eq!(answered, answer.as_bytes());
            assert_eq!(reports.take(ended.len()), ended, "{line}");
            assert_eq!(reports.next_report(), format!("{name} panicked: {panics}"));
            assert_eq!(converse("well").0, b"well", "after {line}");
            assert_eq!(reports.take(3), ["setup", "handle", "finish"]);
        }
    }
    let handle = running.handle();
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
    let Statistics {
        accepted,
        finished,
        failed,
        panicked,
        active,
        ..
    } = handle.statistics();
    assert_eq!((accepted, finished, panicked), (12, 6, 6));
    assert_eq!((failed, active), (0, 0));
    assert_eq!(reports.so_far(), [""; 0]);
    assert_eq!(children(), [0; 0]);
}

#[test]
fn a_panic_in_any_step_costs_one_client_without_a_mix_in() {
    alone(|| survives(clumsy));
}

#[test]
fn a_panic_in_any_step_costs_one_client_and_not_its_thread() {
    alone(|| survives(|reporter| clumsy(reporter).mix_in(ThreadingMixIn::new)));
}

#[test]
fn a_panic_in_any_step_costs_one_client_and_not_the_pool_s_only_worker() {
    alone(|| {
        survives(|reporter| {
            clumsy(reporter)
                .mix_in(ThreadPoolMixIn::new)
                .workers(1)
                .queue_size(0)
        })
    });
}

#[test]
fn a_panic_in_any_step_costs_one_client_and_not_the_reactor() {
    alone(|| survives(|reporter| clumsy(reporter).mix_in(ReactorMixIn::new)));
}

#[test]
fn a_panic_in_any_step_of_a_child_costs_one_client() {
    alone(|| survives(|reporter| clumsy(reporter).mix_in(ForkingMixIn::new)));
}
