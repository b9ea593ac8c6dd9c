//! Clients that take too long.

use std::time::Duration;

use socketserver::mock::MockStream;
use socketserver::{BaseServer, Deadlines, ReactorMixIn, Serve, Server, TcpServer, ThreadingMixIn};
use socketserver_handlers::http::{Http, HttpLimits};
use support::clients::StreamClient;
use support::running_server::RunningServer;

use crate::replies::Reply;
use crate::services::Reflect;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_head_or_a_body_that_does_not_come_in_time_is_refused_with_408() {
    for begin in [
        "GET / HTTP/1.1\r\nHo",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
    ] {
        let client = MockStream::new().chunk(begin).timeout();
        let recording = client.run(Http::new(Reflect::default()));
        let reply = Reply::only(&recording.written());
        assert_eq!((reply.status, reply.closes()), (408, true), "{begin}");
    }
}

fn with_both_mix_ins(limits: HttpLimits, deadlines: Deadlines, check: impl Fn(StreamClient)) {
    let bottom = || {
        TcpServer::new("127.0.0.1:0", move || {
            Http::new(Reflect::default()).limits(limits)
        })
    };
    fn with<S: BaseServer>(server: Server<S>, deadlines: Deadlines, check: &dyn Fn(StreamClient)) {
        server.handle().set_deadlines(deadlines);
        let server = RunningServer::start(server);
        check(StreamClient::connect(&server.address()));
        server.close();
    }
    with(
        ThreadingMixIn::new(bottom()).bind().unwrap(),
        deadlines,
        &check,
    );
    with(
        ReactorMixIn::new(bottom()).bind().unwrap(),
        deadlines,
        &check,
    );
}

#[test]
fn a_slow_head_is_refused_with_408_under_threads_and_a_reactor() {
    let limits = HttpLimits::default().with_head_time(SHORT);
    with_both_mix_ins(limits, Deadlines::none(), |mut client| {
        client.send("GET / HTTP/1.1\r\nHos");
        assert_eq!(Reply::only(&client.rest()).status, 408);
    });
}

#[test]
fn a_body_that_makes_no_progress_is_refused_with_408_under_threads_and_a_reactor() {
    let limits = HttpLimits::default().with_progress_time(SHORT);
    with_both_mix_ins(limits, Deadlines::none(), |mut client| {
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
        assert_eq!(Reply::only(&client.rest()).status, 408);
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_response() {
    let limits = HttpLimits::default().with_idle_time(SHORT);
    with_both_mix_ins(limits, Deadlines::none(), |mut client| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(Reply::only(&client.rest()).status, 200);
    });
}

#[test]
fn the_deadlines_of_the_server_hold_where_they_are_shorter() {
    let deadlines = Deadlines::none().with_read(SHORT);
    with_both_mix_ins(HttpLimits::default(), deadlines, |mut client| {
        client.send("GET / HTTP/1.1\r\nHos");
        assert_eq!(Reply::only(&client.rest()).status, 408);
    });
}

#[test]
fn a_body_has_more_time_than_a_head() {
    let limits = HttpLimits::default().with_head_time(SHORT);
    with_both_mix_ins(limits, Deadlines::none(), |mut client| {
        for _ in 0..2 {
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n");
            client.send("Expect: 100-continue\r\n\r\n");
            let permission = client.receive_exactly(25);
            assert_eq!(permission, b"HTTP/1.1 100 Continue\r\n\r\n");
            // More than the time of a head passes: that is what the test is about.
            std::thread::sleep(2 * SHORT);
            client.send("abc");
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"PUT / abc") {
                bytes.extend(client.receive_exactly(1));
            }
        }
        // The next head has the time of a head again.
        client.send("GET");
        let rest = client.rest();
        assert_eq!(Reply::only(&rest).status, 408);
    });
}
