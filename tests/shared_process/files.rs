//! Files as answers: sendfile(2) on a socket, and a copy through layers and over mocks.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use socketserver::layer::Stream;
use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, DeadlineExceeded, Deadlines, HandlerResult, StreamRequest, ThreadingTcpServer,
    ThreadingUnixStreamServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::reports::{Reporter, Reports, reports};
use support::running_server::{RunningServer, close};
use support::services::stream_handler;
use support::waiting::eventually;

const SHORT: Duration = Duration::from_millis(50);
const LENGTH: usize = 3_000_000;

fn content(length: usize) -> Vec<u8> {
    Vec::from_iter((0..length).map(|number| (number / 3) as u8))
}

fn file(length: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content(length)).unwrap();
    file
}

/// Changes no byte, and lets nothing go around it.
#[derive(Debug)]
struct Plain(Box<dyn Stream>);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Plain);

type Begin = fn(&mut StreamRequest) -> HandlerResult;

const WAYS: [Begin; 2] = [
    |_| Ok(()),
    |request| {
        request.map_stream(|stream| Box::new(Plain(stream)));
        Ok(())
    },
];

/// A server that sends `length` bytes of a file of `LENGTH` bytes, and reports how that has failed.
fn sending(
    begin: Begin,
    offset: u64,
    length: u64,
    deadlines: Deadlines,
) -> (RunningServer<impl BaseServer>, StreamClient, Reports) {
    let (reporter, reports): (Reporter, _) = reports();
    let file = Arc::new(file(LENGTH));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        begin(request)?;
        request.write_all(b"head ")?;
        if let Err(error) = request.send_file(&file, offset, length) {
            reporter.say(format_args!("{:?}: {error}", error.kind()));
            let later = request.write_all(b"x").and_then(|()| request.flush());
            assert_eq!(later.unwrap_err().kind(), error.kind());
            return Err(error.into());
        }
        Ok(request.write_all(b" tail")?)
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    (running, client, reports)
}

#[test]
fn a_part_of_a_file_leaves_between_what_is_written_before_and_after() {
    let deadlines = [
        Deadlines::none(),
        Deadlines::uniform(Duration::from_secs(60)),
    ];
    for (begin, deadlines) in WAYS.into_iter().zip(deadlines.into_iter().rev()) {
        for (offset, length) in [(0, LENGTH), (1000, LENGTH - 2000), (7, 100), (5, 0)] {
            let (running, mut client, _) = sending(begin, offset, length as u64, deadlines);
            let start = usize::try_from(offset).unwrap();
            let part = &content(LENGTH)[start..start + length];
            let expected = [b"head ", part, b" tail"].concat();
            assert!(client.rest() == expected, "{offset} {length}");
            let handle = running.handle();
            running.close();
            assert_eq!(handle.statistics().sent, expected.len() as u64);
        }
    }
}

#[test]
fn a_unix_socket_and_a_connection_without_deadlines_have_the_file_too() {
    let file = Arc::new(file(LENGTH));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        Ok(request.send_file(&file, 0, LENGTH as u64)?)
    });
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let server = ThreadingUnixStreamServer::bind(path, factory.clone()).unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert!(client.rest() == content(LENGTH));
    running.close();
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert!(client.rest() == content(LENGTH));
    running.close();
}

#[test]
fn a_file_that_is_shorter_than_promised_is_an_error_and_nothing_follows() {
    for begin in WAYS {
        for (offset, length) in [(0, LENGTH as u64 + 1), (0, u64::MAX), (u64::MAX, 20_000)] {
            let (running, mut client, mut failures) =
                sending(begin, offset, length, Deadlines::none());
            let sent = if offset == 0 { LENGTH } else { 0 };
            let expected =
                format!("UnexpectedEof: the file ended after {sent} of the {length} bytes to send");
            assert_eq!(failures.next_report(), expected);
            let received = client.rest();
            assert!(received.len() <= b"head ".len() + sent);
            running.close();
        }
    }
}

#[test]
fn a_client_that_does_not_take_the_file_misses_the_write_deadline() {
    for begin in WAYS {
        let deadlines = Deadlines::none().with_write(SHORT);
        // Longer than what the kernel keeps for a client.
        let length = LENGTH as u64;
        let (reporter, mut failures) = reports();
        let file = Arc::new(file(LENGTH));
        let factory = stream_handler(move |request: &mut StreamRequest| {
            begin(request)?;
            let error = loop {
                if let Err(error) = request.send_file(&file, 0, length) {
                    break error;
                }
            };
            reporter.say(&error);
            Err(error.into())
        });
        let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        server.handle().set_deadlines(deadlines);
        let running = RunningServer::start(server);
        let client = StreamClient::connect(&running.address());
        let expected = DeadlineExceeded::Write(SHORT);
        let failure = failures.next_report();
        assert!(failure.starts_with(&expected.to_string()), "{failure}");
        drop(client);
        let handle = running.handle();
        running.close();
        let statistics = handle.statistics();
        assert_eq!(statistics.timed_out, 1);
        assert!(statistics.sent > 0);
    }
}

#[test]
fn a_client_that_leaves_ends_the_file_without_a_signal_and_an_abort_does_too() {
    for begin in WAYS {
        let (reporter, mut failures) = reports();
        let file = Arc::new(file(LENGTH));
        let factory = stream_handler(move |request: &mut StreamRequest| {
            begin(request)?;
            reporter.say("begun");
            let error = loop {
                if let Err(error) = request.send_file(&file, 0, LENGTH as u64) {
                    break error;
                }
            };
            reporter.say(format_args!("{:?}", error.kind()));
            Err(error.into())
        });
        let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        server.handle().set_drain_timeout(Some(SHORT));
        let running = RunningServer::start(server);
        let client = StreamClient::connect(&running.address());
        failures.next_report();
        client.reset();
        let kind = failures.next_report();
        assert!(
            ["ConnectionReset", "BrokenPipe"].contains(&&*kind),
            "{kind}"
        );
        let client = StreamClient::connect(&running.address());
        assert_eq!(failures.next_report(), "begun");
        let handle = running.handle();
        eventually("the client's buffers are full", || {
            let before = handle.statistics().sent;
            std::thread::sleep(SHORT);
            before > 100_000 && before == handle.statistics().sent
        });
        assert_eq!(close(running.stop()).aborted, 1);
        assert_eq!(failures.next_report(), "ConnectionAborted");
        drop(client);
    }
}

#[test]
fn what_is_not_a_regular_file_is_copied_or_refused() {
    let (mut request, recording) = MockStream::new().into_request();
    let directory = File::open("/").unwrap();
    let error = request.send_file(&directory, 0, 10).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the file to send cannot be read"),
        "{error}"
    );
    drop(request);
    assert_eq!(recording.written(), b"");
    let factory = stream_handler(|request: &mut StreamRequest| {
        // A device has no length.
        Ok(request.send_file(&File::open("/dev/zero")?, 0, 100_000)?)
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert!(client.rest() == [0; 100_000]);
    running.close();
}

#[test]
fn a_mock_records_the_file_in_whatever_pieces_its_client_takes() {
    for limit in [usize::MAX, 1000] {
        let (mut request, recording) = MockStream::new().write_limit(limit).into_request();
        request.write_all(b"head ").unwrap();
        request.send_file(&file(100_000), 10, 50_000).unwrap();
        request.write_all(b" tail").unwrap();
        request.flush().unwrap();
        let expected = [b"head ", &content(100_000)[10..50_010], b" tail"].concat();
        assert!(recording.written() == expected);
    }
    let (mut request, recording) = MockStream::new()
        .write_error_after(20_000, ErrorKind::ConnectionReset)
        .into_request();
    let error = request.send_file(&file(100_000), 0, 100_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(recording.written(), content(20_000));
}
