//! The numbers of a forking server while a request goes over to a child.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socketserver::layer::RequestOf;
use socketserver::{BaseServer, ForkingMixIn, MixIn, Serve, Statistics, TcpServer, UdpServer};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::reports::{Reporter, reports};
use support::running_server::RunningServer;
use support::services::EchoLine;
use support::waiting::{eventually, within_limit};

/// Reports the numbers at the time at which the parent closes its copy of a request.
struct Counted<S> {
    next: S,
    reporter: Reporter,
}

impl<S: BaseServer> MixIn for Counted<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn close_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let statistics = self.layer_handle().server().statistics();
        let Statistics {
            accepted, active, ..
        } = statistics;
        self.reporter.say(format!("{accepted} and {active}"));
        self.next.close_request(top, request);
    }
}

#[test]
fn a_request_is_counted_once_while_it_goes_over_to_a_child() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let tcp = TcpServer::new("127.0.0.1:0", EchoLine::default).mix_in(ForkingMixIn::new);
        let counted = |next| Counted {
            next,
            reporter: reporter.clone(),
        };
        let running = RunningServer::start(tcp.mix_in(counted).bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "1 and 1");
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        running.close();

        let udp = UdpServer::new("127.0.0.1:0", EchoLine::default).mix_in(ForkingMixIn::new);
        let counted = |next| Counted {
            next,
            reporter: reporter.clone(),
        };
        let running = RunningServer::start(udp.mix_in(counted).bind().unwrap());
        let client = DatagramClient::connect(&running.address());
        client.send(b"hello\n");
        assert_eq!(reports.take(1), ["1 and 1"]);
        client.receive();
        running.close();
    });
}

#[test]
fn a_wait_for_requests_includes_those_of_children() {
    alone(|| {
        let tcp = TcpServer::new("127.0.0.1:0", EchoLine::default).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(tcp.bind().unwrap());
        let handle = running.handle();
        let mut client = StreamClient::connect(&running.address());
        eventually("the request runs", || handle.active_request_count() == 1);
        assert!(!handle.wait_for_requests(Duration::from_millis(10)));
        let waiting = thread::spawn(move || handle.wait_for_requests(Duration::MAX));
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        assert!(within_limit("the wait", || waiting.join().unwrap()));
        assert!(running.server().stack().child_pids().is_empty());
        running.close();
    });
}
