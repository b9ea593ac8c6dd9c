//! The waits of a handler: for its client, for another descriptor, and for a time.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc::channel};
use std::time::{Duration, Instant};

use socketserver::layer::Stream;
use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, DeadlineExceeded, Deadlines, HandlerFactory, HandlerResult, StreamRequest,
    ThreadingTcpServer, Waited,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::reports::{Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::stream_handler;
use support::waiting::{LIMIT, eventually};

const LOOK: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(20);

/// A server whose handler reports each end of its waits, and a client of the server.
fn serve(
    handle: impl Fn(&mut StreamRequest, &dyn Fn(Waited)) -> HandlerResult + Send + Sync + 'static,
) -> (RunningServer<impl BaseServer>, StreamClient, Reports) {
    let (reporter, reports) = reports();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        handle(request, &|waited| reporter.say(format!("{waited:?}")))
    });
    let running = start(factory);
    let client = StreamClient::connect(&running.address());
    (running, client, reports)
}

fn start(factory: impl HandlerFactory<StreamRequest>) -> RunningServer<impl BaseServer> {
    RunningServer::start(ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap())
}

#[test]
fn bytes_that_are_buffered_count_as_sent_at_once() {
    let (_silent, other) = UnixStream::pair().unwrap();
    let (running, client, mut reports) = serve(move |request, report| {
        assert_eq!(request.next_line(10)?.as_deref(), Some("a"));
        // The socket is silent: poll(2) would wait.
        for _ in 0..2 {
            report(request.wait_timeout(LIMIT)?);
            report(request.wait_beside(other.as_fd(), None)?);
            report(request.wait_timeout(LOOK)?);
            assert_eq!(request.buffer(), b"b\n");
        }
        Ok(())
    });
    client.send("a\nb\n");
    assert_eq!(reports.take(6), ["Sent"; 6]);
    running.close();
}

#[test]
fn a_look_returns_what_the_client_has_done_so_far() {
    let (passed, key) = gate();
    let (running, client, mut reports) = serve(move |request, report| {
        report(request.wait_timeout(LOOK)?);
        passed.pass();
        // The bytes of a loopback arrive a little later.
        while request.wait_timeout(LOOK)? == Waited::Nothing {}
        report(request.wait_timeout(LOOK)?);
        let count = request.buffer().len();
        request.consume(count);
        report(request.wait_timeout(LOOK)?);
        passed.pass();
        while request.wait_timeout(LOOK)? == Waited::Nothing {}
        report(request.wait_timeout(LOOK)?);
        Ok(request.write_all(b"a client that ends its side still reads")?)
    });
    assert_eq!(reports.next_report(), "Nothing");
    client.send("x");
    key.let_pass(1);
    assert_eq!(reports.take(2), ["Sent", "Nothing"]);
    client.finish_sending();
    key.let_pass(1);
    assert_eq!(reports.next_report(), "Closed");
    let mut client = client;
    assert_eq!(client.rest(), b"a client that ends its side still reads");
    running.close();
}

#[test]
fn a_wait_in_vain_lasts_as_long_as_was_asked_and_sends_what_is_written_before() {
    let (running, mut client, mut reports) = serve(|request, report| {
        request.write_all(b"prompt\n")?;
        let begun = Instant::now();
        report(request.wait_timeout(SHORT)?);
        assert!(begun.elapsed() >= SHORT);
        let (_silent, other) = UnixStream::pair()?;
        report(request.wait_beside(other.as_fd(), Some(SHORT))?);
        assert!(begun.elapsed() >= 2 * SHORT);
        report(request.wait_timeout(Duration::MAX)?);
        Ok(())
    });
    assert_eq!(client.line(), "prompt");
    assert_eq!(reports.take(2), ["Nothing", "Nothing"]);
    client.send("answer");
    assert_eq!(reports.next_report(), "Sent");
    running.close();
}

#[test]
fn the_first_of_client_and_other_ends_the_wait_and_both_have_their_turns() {
    let (outside, inside) = UnixStream::pair().unwrap();
    let inside = Mutex::new(inside);
    let (running, client, mut reports) = serve(move |request, report| {
        let mut inside = inside.lock().unwrap();
        let mut last = Waited::Nothing;
        let mut bytes_of_other = 0;
        while bytes_of_other < 2 {
            let waited = request.wait_beside(inside.as_fd(), None)?;
            if waited == Waited::Other {
                inside.read_exact(&mut [0])?;
                bytes_of_other += 1;
            }
            if waited != last {
                report(waited);
            }
            last = waited;
        }
        // The end of the other connection is one of its events.
        let count = request.buffer().len();
        request.consume(count);
        report(request.wait_beside(inside.as_fd(), None)?);
        Ok(())
    });
    (&outside).write_all(b"1").unwrap();
    assert_eq!(reports.next_report(), "Other");
    client.send("unread");
    assert_eq!(reports.next_report(), "Sent");
    // The client's bytes stay unread, and do not keep the other waiting.
    (&outside).write_all(b"2").unwrap();
    assert_eq!(reports.next_report(), "Other");
    drop(outside);
    assert_eq!(reports.next_report(), "Other");
    running.close();
}

#[test]
fn a_drain_ends_every_kind_of_wait_at_once_as_idle() {
    let kinds: [fn(&mut StreamRequest) -> io::Result<Waited>; 3] = [
        |request| request.wait_timeout(10 * LIMIT),
        |request| {
            let (_silent, other) = UnixStream::pair()?;
            request.wait_beside(other.as_fd(), None)
        },
        |request| {
            request.outbox()?;
            request.wait_timeout(10 * LIMIT)
        },
    ];
    for wait in kinds {
        let (running, mut client, mut reports) = serve(move |request, report| {
            report(wait(request)?);
            // Whoever asks again learns the same.
            report(wait(request)?);
            report(request.wait_timeout(LOOK)?);
            Ok(request.write_all(b"goodbye\n")?)
        });
        let handle = running.handle();
        eventually("the handler waits", || handle.statistics().idle == 1);
        let report = close(running.stop());
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
        assert_eq!(reports.take(3), ["Draining"; 3]);
        assert_eq!(client.rest(), b"goodbye\n");
    }
}

#[test]
fn the_outbox_is_delivered_during_every_kind_of_wait() {
    let (sender, outboxes) = channel();
    let sender = Mutex::new(sender);
    let (_silent, other) = UnixStream::pair().unwrap();
    let (running, mut client, mut reports) = serve(move |request, report| {
        sender.lock().unwrap().send(request.outbox()?).unwrap();
        report(request.wait_timeout(LIMIT)?);
        let count = request.buffer().len();
        request.consume(count);
        report(request.wait_beside(other.as_fd(), None)?);
        Ok(())
    });
    let outbox = outboxes.recv_timeout(LIMIT).unwrap();
    for _ in 0..2 {
        outbox.send(b"push\n").unwrap();
        assert_eq!(client.line(), "push");
        client.send("x");
        assert_eq!(reports.next_report(), "Sent");
    }
    running.close();
}

#[test]
fn waits_in_vain_share_the_idle_deadline_which_neither_messages_nor_looks_prolong() {
    let (sender, outboxes) = channel();
    let sender = Mutex::new(sender);
    let (failures, mut ends) = reports();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        sender.lock().unwrap().send(request.outbox()?).unwrap();
        assert_eq!(request.next_line(10)?.as_deref(), Some("x"));
        let error = loop {
            let wait = request.wait_timeout(SHORT / 4);
            match wait.and_then(|_| request.wait_timeout(LOOK)) {
                Ok(waited) => assert_eq!(waited, Waited::Nothing),
                Err(error) => break error,
            }
        };
        failures.say(&error);
        Err(error.into())
    });
    let running = start(factory);
    let deadlines = Deadlines::none().with_idle(10 * SHORT);
    running.handle().set_deadlines(deadlines);
    let client = StreamClient::connect(&running.address());
    let outbox = outboxes.recv_timeout(LIMIT).unwrap();
    client.send("x\n");
    // Messages come all the time.
    while outbox.send(b"push\n").is_ok() {
        std::thread::sleep(SHORT / 2);
    }
    let expected = DeadlineExceeded::Idle(10 * SHORT);
    assert_eq!(ends.next_report(), expected.to_string());
    let handle = running.handle();
    running.close();
    assert_eq!(handle.statistics().timed_out, 1);
}

#[test]
fn a_shorter_timeout_of_the_connection_ends_the_wait_as_it_ends_a_read() {
    let (running, _client, mut reports) = serve(|request, report| {
        request.set_timeout(Some(SHORT))?;
        report(request.wait_timeout(SHORT / 4)?);
        let error = request.wait_timeout(LIMIT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("within 20ms"), "{error}");
        // The next one begins anew.
        report(request.wait_timeout(SHORT / 4)?);
        Ok(())
    });
    assert_eq!(reports.take(2), ["Nothing", "Nothing"]);
    running.close();
}

/// Bytes in records of four, of which none comes out before all of it has come in.
#[derive(Debug)]
struct Records(Box<dyn Stream>, Vec<u8>);

impl Read for Records {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.1.len() < 4 {
            let mut bytes = [0; 4];
            match self.0.read(&mut bytes[self.1.len()..])? {
                0 => return Ok(0),
                count => {
                    let start = self.1.len();
                    self.1.extend_from_slice(&bytes[start..start + count]);
                }
            }
        }
        let count = self.1.as_slice().read(buffer)?;
        self.1.clear();
        Ok(count)
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Records);

#[test]
fn a_part_of_what_a_layer_needs_neither_ends_a_wait_nor_holds_it() {
    let (arrived, key) = gate();
    let arrived = Arc::new(arrived);
    let (running, client, mut reports) = serve(move |request, report| {
        request.map_stream(|stream| Box::new(Records(stream, Vec::new())));
        report(request.wait_timeout(LOOK)?);
        arrived.pass();
        report(request.wait_timeout(SHORT)?);
        let (_silent, other) = UnixStream::pair()?;
        report(request.wait_beside(other.as_fd(), Some(SHORT))?);
        arrived.pass();
        report(request.wait_timeout(LIMIT)?);
        assert_eq!(request.buffer(), b"four");
        Ok(())
    });
    assert_eq!(reports.next_report(), "Nothing");
    client.send("fo");
    key.let_pass(1);
    assert_eq!(reports.take(2), ["Nothing", "Nothing"]);
    client.send("ur");
    key.let_pass(1);
    assert_eq!(reports.next_report(), "Sent");
    running.close();
}

#[test]
fn the_steps_of_a_mock_end_its_waits() {
    let (mut request, recording) = MockStream::new()
        .timeout()
        .chunk("a\n")
        .timeout()
        .into_request();
    request.write_all(b"? ").unwrap();
    assert_eq!(request.wait_timeout(LIMIT).unwrap(), Waited::Nothing);
    assert_eq!(recording.written(), b"? ");
    assert_eq!(request.wait_timeout(LOOK).unwrap(), Waited::Sent);
    assert_eq!(request.buffer(), b"a\n");
    request.consume(2);
    assert_eq!(request.wait_timeout(LIMIT).unwrap(), Waited::Nothing);
    assert_eq!(request.wait_timeout(LIMIT).unwrap(), Waited::Closed);

    for timeout in [LIMIT, LOOK] {
        let (mut request, _) = MockStream::new().drain().chunk("late").into_request();
        assert_eq!(request.wait_timeout(timeout).unwrap(), Waited::Draining);
    }
}

#[test]
fn a_mock_waits_beside_a_descriptor_that_is_real() {
    let (outside, other) = UnixStream::pair().unwrap();
    let client = MockStream::new().chunk("a").timeout().timeout();
    let (mut request, _) = client.into_request();
    let wait = |request: &mut StreamRequest, timeout| request.wait_beside(other.as_fd(), timeout);
    assert_eq!(wait(&mut request, None).unwrap(), Waited::Sent);
    request.consume(1);
    let waited = wait(&mut request, Some(LOOK)).unwrap();
    assert_eq!(waited, Waited::Nothing);
    let answering = std::thread::spawn(move || {
        (&outside).write_all(b"x").unwrap();
        outside
    });
    assert_eq!(wait(&mut request, None).unwrap(), Waited::Other);
    let _outside = answering.join().unwrap();
    assert_eq!(wait(&mut request, None).unwrap(), Waited::Other);
    (&other).read_exact(&mut [0]).unwrap();
    // A step is left if the other was faster.
    let rest = || wait(&mut request, Some(LOOK)).unwrap();
    let rest = std::iter::repeat_with(rest).find(|waited| *waited != Waited::Nothing);
    assert_eq!(rest, Some(Waited::Closed));
}
