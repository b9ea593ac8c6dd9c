//! A connection as the handler and the client see it: waiting, buffers, timeouts, ends.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use socketserver::{
    BaseServer, HandlerFactory, HandlerResult, RequestHandler, Serve, Server, StreamRequest,
    ThreadingTcpServer, UnixStreamServer,
};
use support::clients::StreamClient;
use support::reports::{Reporter, Reports, gate, reports};
use support::running_server::RunningServer;
use support::services::{read_line, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

fn start(
    factory: impl HandlerFactory<StreamRequest>,
) -> RunningServer<impl BaseServer<Request = StreamRequest>> {
    RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap())
}

#[test]
fn a_prompt_arrives_before_the_read_that_waits_for_its_answer() {
    type Ask = fn(&mut StreamRequest) -> std::io::Result<String>;
    let ways: [Ask; 4] = [
        read_line,
        |request| {
            assert!(request.wait()?);
            read_line(request)
        },
        |request| {
            let mut answer = vec![0; 100_000];
            let length = request.read(&mut answer)?;
            answer.truncate(length);
            Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
        },
        |request| {
            let mut answer = String::new();
            request.take(5).read_to_string(&mut answer)?;
            Ok(answer)
        },
    ];
    for ask in ways {
        let running = start(stream_handler(move |request| {
            write!(request, "your name? ")?;
            let name = ask(request)?;
            Ok(write!(request, "hello {name}")?)
        }));
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(client.receive_exactly(11), b"your name? ");
        client.send("monty\n");
        assert_eq!(client.rest(), b"hello monty");
        running.close();
    }
}

#[test]
fn requests_that_arrive_together_are_answered_together() {
    let running = start(stream_handler(|request| {
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{}", line.to_uppercase())?;
        }
        Ok(())
    }));
    let client = StreamClient::connect(&running.address());
    client.send("one\ntwo\nthree\n");
    // What is sent in one system call is received in one.
    let mut answers = [0; 100];
    let length = client.socket().read(&mut answers).unwrap();
    assert_eq!(&answers[..length], b"ONE\nTWO\nTHREE\n");
    client.finish_sending();
    running.close();
}

#[test]
fn what_was_flushed_arrives_while_the_handler_works() {
    let (gate, key) = gate();
    let running = start(stream_handler(move |request| {
        request.write_all(b"working on it\n")?;
        request.flush()?;
        gate.pass();
        Ok(request.write_all(b"done\n")?)
    }));
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "working on it");
    key.let_pass(1);
    assert_eq!(client.rest(), b"done\n");
    running.close();
}

#[test]
fn without_a_write_buffer_every_write_is_sent_at_once() {
    let (gate, key) = gate();
    let running = start(stream_handler(move |request| {
        request.set_wbufsize(0)?;
        request.write_all(b"at once\n")?;
        gate.pass();
        Ok(())
    }));
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "at once");
    key.let_pass(1);
    client.wait_for_close();
    running.close();
}

#[test]
fn a_full_write_buffer_is_sent_while_the_handler_works() {
    let (gate, key) = gate();
    let running = start(stream_handler(move |request| {
        request.set_wbufsize(100)?;
        for _ in 0..11 {
            request.write_all(b"ten bytes\n")?;
        }
        gate.pass();
        Ok(())
    }));
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.receive_exactly(110), b"ten bytes\n".repeat(11));
    key.let_pass(1);
    client.wait_for_close();
    running.close();
}

/// Reports the first error that its conversation meets.
struct Impatient {
    reporter: Reporter,
    talk: fn(&mut StreamRequest) -> std::io::Result<()>,
}

impl RequestHandler for Impatient {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        Ok(request.set_timeout(Some(Duration::from_millis(20)))?)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let error = (self.talk)(request).unwrap_err();
        self.reporter
            .say(format_args!("{:?}: {error}", error.kind()));
        Ok(request.write_all(b"too slow\n")?)
    }
}

fn times_out(server: Server<impl BaseServer>, reports: &mut Reports, what: &str) {
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    let said = reports.next_report();
    assert!(said.starts_with("TimedOut: "), "{said}");
    assert!(said.contains(what), "{said}");
    assert!(said.contains("20ms"), "{said}");
    // The connection can still be written to.
    assert!(client.rest().ends_with(b"too slow\n"));
    running.close();
}

#[test]
fn a_client_that_sends_nothing_in_time_differs_from_one_that_has_left() {
    let talks: [fn(&mut StreamRequest) -> std::io::Result<()>; 3] = [
        |request| request.wait().map(drop),
        |request| read_line(request).map(drop),
        |request| request.read(&mut [0; 100_000]).map(drop),
    ];
    for talk in talks {
        let (reporter, mut reports) = reports();
        let handler = {
            let reporter = reporter.clone();
            move || Impatient {
                reporter: reporter.clone(),
                talk,
            }
        };
        let server = ThreadingTcpServer::bind(LOOPBACK, handler).unwrap();
        times_out(server, &mut reports, "received");

        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let handler = move || Impatient {
            reporter: reporter.clone(),
            talk,
        };
        let server = UnixStreamServer::new(path, handler).bind().unwrap();
        times_out(server, &mut reports, "received");
    }
}

#[test]
fn a_client_that_takes_nothing_in_time_ends_the_write() {
    let (reporter, mut reports) = reports();
    let running = start(stream_handler(move |request| {
        request.set_timeout(Some(Duration::from_millis(20)))?;
        // More than the buffers of both sockets take from one that does not read.
        let error = request.write_all(&vec![0; 64 << 20]).unwrap_err();
        reporter.say(format_args!("{:?}: {error}", error.kind()));
        Ok(())
    }));
    let _client = StreamClient::connect(&running.address());
    let said = reports.next_report();
    assert!(said.starts_with("TimedOut: nothing was taken"), "{said}");
    running.close();
}

#[test]
fn a_timeout_of_none_is_none_and_one_of_zero_is_refused() {
    let running = start(stream_handler(|request| {
        let refused = request.set_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        request.set_timeout(Some(Duration::from_secs(1)))?;
        request.set_timeout(None)?;
        let socket = request.socket().ok_or("no descriptor")?;
        let timeout = SockRef::from(&socket).read_timeout()?;
        Ok(write!(request, "{timeout:?}")?)
    }));
    assert_eq!(StreamClient::connect(&running.address()).rest(), b"None");
    running.close();
}

#[test]
fn wait_is_false_when_the_client_has_closed_and_an_error_when_it_has_reset() {
    let (reporter, mut reports) = reports();
    let running = start(stream_handler(move |request| {
        request.write_all(b"welcome\n")?;
        match request.wait() {
            Ok(more) => reporter.say(more),
            Err(error) => reporter.say(format_args!("{:?}", error.kind())),
        }
        Ok(())
    }));
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "welcome");
    drop(client);
    assert_eq!(reports.next_report(), "false");
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "welcome");
    client.reset();
    assert_eq!(reports.next_report(), "ConnectionReset");
    running.close();
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answer() {
    let running = start(stream_handler(|request| {
        let mut all = Vec::new();
        request.read_to_end(&mut all)?;
        Ok(write!(request, "{} bytes", all.len())?)
    }));
    let mut client = StreamClient::connect(&running.address());
    client.send(&"x".repeat(100_000));
    client.finish_sending();
    assert_eq!(client.rest(), b"100000 bytes");
    running.close();
}

#[test]
fn a_handler_can_finish_sending_and_read_on() {
    let (reporter, mut reports) = reports();
    let running = start(stream_handler(move |request| {
        request.write_all(b"all I have to say")?;
        request.shutdown(Shutdown::Write)?;
        reporter.say(read_line(request)?);
        Ok(())
    }));
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.rest(), b"all I have to say");
    client.send("and me\n");
    assert_eq!(reports.next_report(), "and me");
    running.close();
}

#[test]
fn a_message_in_pieces_is_read_whole() {
    let running = start(stream_handler(|request| {
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{line}")?;
        }
        Ok(())
    }));
    let mut client = StreamClient::connect(&running.address());
    client.socket().set_tcp_nodelay(true).unwrap();
    for piece in ["a line ", "in three ", "pieces\nand a second", " one\n"] {
        client.send(piece);
    }
    assert_eq!(client.line(), "a line in three pieces");
    assert_eq!(client.line(), "and a second one");
    client.finish_sending();
    assert_eq!(client.rest(), b"");
    running.close();
}

#[test]
fn small_writes_are_not_held_back_unless_asked_for() {
    let nodelay = |request: &StreamRequest| -> std::io::Result<bool> {
        let socket = request.socket().ok_or(ErrorKind::NotConnected)?;
        SockRef::from(&socket).tcp_nodelay()
    };
    let running = start(stream_handler(move |request| {
        let line = read_line(request)?;
        if line == "hold back" {
            request.set_nodelay(false)?;
        }
        for _ in 0..3 {
            request.write_all(b".")?;
            request.flush()?;
        }
        let nodelay = nodelay(request)?;
        Ok(write!(request, "{nodelay}")?)
    }));
    for (line, answer) in [
        ("usual\n", b"...true".to_vec()),
        ("hold back\n", b"...false".to_vec()),
    ] {
        let mut client = StreamClient::connect(&running.address());
        client.send(line);
        assert_eq!(client.rest(), answer);
    }
    running.close();
}

#[test]
fn the_handler_knows_its_client_and_its_server() {
    let running = start(stream_handler(|request| {
        let (client, server) = (request.client_address().clone(), request.server().clone());
        writeln!(request, "{client}")?;
        writeln!(request, "{}", server.server_address())?;
        Ok(writeln!(request, "{}", server.active_request_count())?)
    }));
    let mut client = StreamClient::connect(&running.address());
    let own = client.socket().local_addr().unwrap().as_socket().unwrap();
    assert_eq!(client.line(), own.to_string());
    assert_eq!(client.line(), running.address().to_string());
    assert_eq!(client.line(), "1");
    client.wait_for_close();
    running.close();
}
