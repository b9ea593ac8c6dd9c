//! The clients in the kernel's queue when a forking server stops at its limit of children.

use std::io::Write;

use socketserver::{Backlog, ForkingMixIn, Serve, StreamRequest, TcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::reports::{gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{read_line, stream_handler};

#[test]
fn clients_in_the_queue_are_served_by_children_one_after_the_other() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            let line = read_line(request)?;
            if line == "first" {
                reporter.say("begun");
                gate.pass();
            }
            Ok(request.write_all(line.as_bytes())?)
        });
        let layers = TcpServer::new("127.0.0.1:0", factory).mix_in(ForkingMixIn::new);
        let server = layers.max_children(1).bind().unwrap();
        server.handle().set_backlog(Backlog::Serve);
        let running = RunningServer::start(server);
        let mut first = StreamClient::connect(&running.address());
        first.send("first\n");
        assert_eq!(reports.next_report(), "begun");
        let mut waiting = Vec::from_iter((0..3).map(|_| {
            let client = StreamClient::connect(&running.address());
            client.send("queued\n");
            client
        }));
        running.handle().request_shutdown();
        key.let_pass(1);
        assert_eq!(first.rest(), b"first");
        for client in &mut waiting {
            assert_eq!(client.rest(), b"queued");
        }
        let report = close(running.wait_for_end());
        assert_eq!((report.backlog, report.ended, report.aborted), (3, 4, 0));
    });
}
