//! A client that makes a handler wait for too long is given up, however it goes about it.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socketserver::layer::{GetRequestError, Stream};
use socketserver::{
    Address, BaseServer, DeadlineExceeded, Deadlines, ForkingTcpServer, HandlerFactory, MixIn,
    Serve, Server, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingTcpServer,
    ThreadingUnixStreamServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::own_process::alone;
use support::reports::{Reporter, Reports, reports};
use support::running_server::RunningServer;
use support::services::{read_line, stream_handler};
use support::waiting::LIMIT;

const LOOPBACK: &str = "127.0.0.1:0";
const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(600);
/// Between two bytes of a client that means to hold the server.
const PACE: Duration = Duration::from_millis(5);

fn deadline_behind(error: &io::Error) -> String {
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    match DeadlineExceeded::find_in(error) {
        Some(DeadlineExceeded::FirstByte(limit)) => format!("first byte {limit:?}"),
        Some(DeadlineExceeded::Idle(limit)) => format!("idle {limit:?}"),
        Some(DeadlineExceeded::Read(limit)) => format!("read {limit:?}"),
        Some(DeadlineExceeded::Write(limit)) => format!("write {limit:?}"),
        Some(DeadlineExceeded::Progress(limit)) => format!("progress {limit:?}"),
        Some(DeadlineExceeded::Lifetime(limit)) => format!("lifetime {limit:?}"),
        other => format!("{other:?}"),
    }
}

/// Answers lines, "much" with more than the buffers of a connection hold, until a deadline or the
/// client ends it; and reports which.
fn lines(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        let ended = answer_lines(request);
        match &ended {
            Ok(()) => reporter.say("client"),
            Err(error) => reporter.say(deadline_behind(error)),
        }
        Ok(ended?)
    })
}

fn answer_lines(request: &mut StreamRequest) -> io::Result<()> {
    while request.wait()? {
        match read_line(request)?.as_str() {
            "much" => request.write_all(&vec![b'm'; 64 << 20])?,
            line => writeln!(request, "{line}")?,
        }
    }
    Ok(())
}

fn threading(
    deadlines: Deadlines,
    factory: impl HandlerFactory<StreamRequest>,
) -> RunningServer<impl BaseServer> {
    start(
        ThreadingTcpServer::bind(LOOPBACK, factory).unwrap(),
        deadlines,
    )
}

fn start<S: BaseServer>(server: Server<S>, deadlines: Deadlines) -> RunningServer<S> {
    server.handle().set_deadlines(deadlines);
    RunningServer::start(server)
}

/// Sends a byte now and then until the server has closed.
fn send_byte_by_byte(client: &StreamClient) {
    let begin = Instant::now();
    while client.socket().write_all(b"x").is_ok() {
        assert!(begin.elapsed() < LIMIT, "the server lets itself be held");
        std::thread::sleep(PACE);
    }
}

#[test]
fn a_client_that_sends_nothing_is_closed_after_the_first_byte_deadline() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let deadlines = Deadlines::uniform(LONG).with_first_byte(SHORT);
        let running = threading(deadlines, lines(reporter));
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), format!("first byte {SHORT:?}"));
        client.wait_for_close();
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_client_that_stops_talking_is_closed_after_the_idle_deadline() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let deadlines = Deadlines::uniform(LONG).with_idle(SHORT);
        let running = threading(deadlines, lines(reporter));
        let mut client = StreamClient::connect(&running.address());
        for _ in 0..3 {
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        assert_eq!(reports.next_report(), format!("idle {SHORT:?}"));
        client.wait_for_close();
        running.close();
    });
}

#[test]
fn a_handler_that_reads_without_waiting_has_the_idle_deadline_too() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            loop {
                match read_line(request) {
                    Ok(line) => writeln!(request, "{line}")?,
                    Err(error) => {
                        reporter.say(deadline_behind(&error));
                        return Err(error.into());
                    }
                }
            }
        });
        let running = threading(Deadlines::uniform(LONG).with_idle(SHORT), factory);
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        assert_eq!(reports.next_report(), format!("idle {SHORT:?}"));
        running.close();
    });
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_does_not_outlive_the_read_deadline() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let running = threading(Deadlines::none().with_read(SHORT), lines(reporter));
        let client = StreamClient::connect(&running.address());
        send_byte_by_byte(&client);
        assert_eq!(reports.next_report(), format!("read {SHORT:?}"));
        running.close();
    });
}

fn takes_nothing<S: BaseServer>(running: RunningServer<S>, expected: &str, reports: &mut Reports) {
    let client = StreamClient::connect(&running.address());
    client.send("much\n");
    assert_eq!(reports.next_report(), expected);
    drop(client);
    running.close();
}

#[test]
fn a_client_that_does_not_take_its_answer_is_closed_after_the_write_deadline() {
    alone(|| {
        let expected = format!("write {SHORT:?}");
        let deadlines = Deadlines::uniform(LONG).with_write(SHORT);
        let (reporter, mut reports) = reports();
        let factory = lines(reporter.clone());
        takes_nothing(threading(deadlines, factory), &expected, &mut reports);
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path, lines(reporter.clone())).unwrap();
        takes_nothing(start(server, deadlines), &expected, &mut reports);
        let server = ForkingTcpServer::bind(LOOPBACK, lines(reporter.clone())).unwrap();
        takes_nothing(start(server, deadlines), &expected, &mut reports);
        let server = TcpServer::new(LOOPBACK, lines(reporter)).bind().unwrap();
        takes_nothing(start(server, deadlines), &expected, &mut reports);
    });
}

fn takes_byte_by_byte<S: BaseServer>(running: RunningServer<S>, reports: &mut Reports) {
    let client = StreamClient::connect(&running.address());
    client.send("much\n");
    let reading = client.socket().try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut few = [0; 1024];
        while (&reading).read(&mut few).is_ok_and(|count| count > 0) {
            std::thread::sleep(PACE);
        }
    });
    assert_eq!(reports.next_report(), format!("write {SHORT:?}"));
    drop(client);
    reader.join().unwrap();
    running.close();
}

#[test]
fn a_client_that_takes_its_answer_bit_by_bit_does_not_outlive_the_write_deadline() {
    alone(|| {
        let deadlines = Deadlines::none().with_write(SHORT);
        let (reporter, mut reports) = reports();
        takes_byte_by_byte(threading(deadlines, lines(reporter.clone())), &mut reports);
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path, lines(reporter)).unwrap();
        takes_byte_by_byte(start(server, deadlines), &mut reports);
    });
}

#[test]
fn a_client_that_takes_nothing_more_is_closed_after_the_progress_deadline() {
    alone(|| {
        let expected = format!("progress {SHORT:?}");
        let deadlines = Deadlines::none().with_progress(SHORT);
        let (reporter, mut reports) = reports();
        let factory = lines(reporter.clone());
        takes_nothing(threading(deadlines, factory), &expected, &mut reports);
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path, lines(reporter.clone())).unwrap();
        takes_nothing(start(server, deadlines), &expected, &mut reports);
        let server = ForkingTcpServer::bind(LOOPBACK, lines(reporter.clone())).unwrap();
        takes_nothing(start(server, deadlines), &expected, &mut reports);
        let layers = TcpServer::new(LOOPBACK, lines(reporter)).mix_in(Wrapping);
        takes_nothing(
            start(layers.bind().unwrap(), deadlines),
            &expected,
            &mut reports,
        );
    });
}

#[test]
fn a_client_that_sends_nothing_more_is_closed_after_the_progress_deadline() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let deadlines = Deadlines::none().with_progress(SHORT);
        let running = threading(deadlines, lines(reporter));
        let mut client = StreamClient::connect(&running.address());
        client.send("a whole line\n");
        assert_eq!(client.line(), "a whole line");
        client.send("half a line");
        assert_eq!(reports.next_report(), format!("progress {SHORT:?}"));
        client.wait_for_close();
        running.close();
    });
}

/// Takes the answer of 64 MiB in small pieces, with a pause after each. Returns the longest time
/// between two pieces, and the time of all; `None` if the server has ended the connection before.
fn take_slowly(address: &Address) -> Option<(Duration, Duration)> {
    let client = StreamClient::connect(address);
    client.send("much\n");
    let (begin, mut last) = (Instant::now(), Instant::now());
    let (mut taken, mut longest) = (0, Duration::ZERO);
    let mut piece = vec![0; 512 << 10];
    while taken < 64 << 20 {
        taken += client
            .socket()
            .read(&mut piece)
            .ok()
            .filter(|count| *count > 0)?;
        std::thread::sleep(PACE);
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    Some((longest, begin.elapsed()))
}

fn serves_a_slow_client<S: BaseServer>(running: RunningServer<S>, limit: Duration) {
    let begin = Instant::now();
    loop {
        match take_slowly(&running.address()) {
            Some((_, all)) if all > limit => break,
            // On a busy machine the client itself may pause for too long.
            taken => assert!(
                begin.elapsed() < LIMIT,
                "it was ended, or too fast: {taken:?}"
            ),
        }
    }
    running.close();
}

#[test]
fn a_client_that_takes_its_answer_slowly_and_steadily_receives_all_of_it() {
    alone(|| {
        let limit = Duration::from_millis(300);
        let deadlines = Deadlines::none().with_progress(limit);
        let (reporter, _reports) = reports();
        serves_a_slow_client(threading(deadlines, lines(reporter.clone())), limit);
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path, lines(reporter.clone())).unwrap();
        serves_a_slow_client(start(server, deadlines), limit);
        // One write of the handler is one of the layer's stream, and many of the socket's.
        let layers = TcpServer::new(LOOPBACK, lines(reporter)).mix_in(Wrapping);
        serves_a_slow_client(start(layers.bind().unwrap(), deadlines), limit);
    });
}

#[test]
fn a_client_whose_pieces_are_smaller_than_the_room_that_a_socket_reports_is_not_late() {
    alone(|| {
        let limit = Duration::from_millis(400);
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            let socket = request.socket().unwrap().try_clone_to_owned()?;
            socket2::Socket::from(socket).set_send_buffer_size(4 << 20)?;
            request.set_deadlines(Deadlines::none().with_progress(limit));
            let sent = request.write_all(&vec![b'm'; 64 << 20]);
            reporter.say(sent.map_or_else(|error| deadline_behind(&error), |()| "all".into()));
            Ok(())
        });
        let running = threading(Deadlines::none(), factory);
        let client = StreamClient::connect(&running.address());
        // For three times the limit, the client takes much less than a third of what is sent.
        let begin = Instant::now();
        let mut piece = vec![0; 64 << 10];
        while begin.elapsed() < 3 * limit {
            assert!(client.socket().read(&mut piece).unwrap() > 0);
            std::thread::sleep(limit / 8);
        }
        std::thread::spawn(move || io::copy(&mut client.socket(), &mut io::sink()));
        assert_eq!(reports.next_report(), "all");
        running.close();
    });
}

/// Sends whatever it is given before it returns, in one call.
#[derive(Debug)]
struct Whole(Box<dyn Stream>);

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Whole);

struct Wrapping<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Wrapping<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn get_request(&self) -> Result<StreamRequest, GetRequestError> {
        let mut request = self.0.get_request()?;
        request.map_stream(|stream| Box::new(Whole(stream)));
        Ok(request)
    }
}

/// Works for a while for each line, without waiting for its client or looking for one.
fn never_waits(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request: &mut StreamRequest| {
        loop {
            let answered = read_line(request).and_then(|line| writeln!(request, "{line}"));
            if let Err(error) = answered {
                reporter.say(deadline_behind(&error));
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    })
}

/// A client that sends faster than its handler works does not outlive the lifetime.
fn is_not_held<S: BaseServer>(running: RunningServer<S>, reports: &mut Reports) {
    let client = StreamClient::connect(&running.address());
    let mut reading = client.socket().try_clone().unwrap();
    let reader = std::thread::spawn(move || io::copy(&mut reading, &mut io::sink()));
    let batch = "x\n".repeat(500);
    let begin = Instant::now();
    while client.socket().write_all(batch.as_bytes()).is_ok() {
        assert!(begin.elapsed() < LIMIT, "it lives for ever");
    }
    assert_eq!(reports.next_report(), format!("lifetime {SHORT:?}"));
    drop(client);
    let _ = reader.join().unwrap();
    running.close();
}

#[test]
fn a_client_that_pipelines_faster_than_the_handler_works_does_not_outlive_the_lifetime() {
    alone(|| {
        let deadlines = Deadlines::none().with_lifetime(SHORT);
        let (reporter, mut reports) = reports();
        let factory = never_waits(reporter.clone());
        is_not_held(threading(deadlines, factory), &mut reports);
        let server = TcpServer::bind(LOOPBACK, never_waits(reporter.clone())).unwrap();
        is_not_held(start(server, deadlines), &mut reports);
        let server = ForkingTcpServer::bind(LOOPBACK, never_waits(reporter.clone())).unwrap();
        is_not_held(start(server, deadlines), &mut reports);
        let layers = TcpServer::new(LOOPBACK, never_waits(reporter)).mix_in(ThreadPoolMixIn::new);
        is_not_held(start(layers.bind().unwrap(), deadlines), &mut reports);
    });
}

#[test]
fn a_client_that_talks_all_the_time_does_not_outlive_the_lifetime() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let running = threading(
            Deadlines::uniform(LONG).with_lifetime(SHORT),
            lines(reporter),
        );
        let client = StreamClient::connect(&running.address());
        let mut reading = client.socket().try_clone().unwrap();
        let reader = std::thread::spawn(move || io::copy(&mut reading, &mut io::sink()));
        let begin = Instant::now();
        while client.socket().write_all(b"x\n").is_ok() {
            assert!(begin.elapsed() < LIMIT, "it lives for ever");
        }
        assert_eq!(reports.next_report(), format!("lifetime {SHORT:?}"));
        drop(client);
        let _ = reader.join().unwrap();
        running.close();
    });
}

#[test]
fn a_handler_s_own_deadlines_come_before_the_server_s() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            let deadlines = request.deadlines();
            request.set_deadlines(Deadlines::none().with_first_byte(SHORT));
            reporter.say(deadline_behind(&request.wait().unwrap_err()));
            request.set_deadlines(deadlines);
            writeln!(request, "go on")?;
            assert!(request.wait()?);
            reporter.say(read_line(request)?);
            Ok(())
        });
        let running = threading(Deadlines::uniform(LONG), factory);
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), format!("first byte {SHORT:?}"));
        assert_eq!(client.line(), "go on");
        client.send("hello\n");
        assert_eq!(reports.next_report(), "hello");
        running.close();
    });
}

#[test]
fn a_deadline_shorter_than_the_one_before_and_then_a_longer_one_are_both_kept() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            for limit in [SHORT, SHORT / 6, SHORT * 2] {
                request.set_deadlines(Deadlines::uniform(limit));
                let begin = Instant::now();
                let error = request.wait().unwrap_err();
                assert!(begin.elapsed() >= limit);
                reporter.say(deadline_behind(&error));
            }
            Ok(())
        });
        let running = threading(Deadlines::none(), factory);
        let mut client = StreamClient::connect(&running.address());
        for limit in [SHORT, SHORT / 6, SHORT * 2] {
            assert_eq!(reports.next_report(), format!("first byte {limit:?}"));
        }
        client.wait_for_close();
        running.close();
    });
}

#[test]
fn a_timeout_shorter_than_the_deadline_is_reported_as_a_timeout() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            request.set_timeout(Some(SHORT))?;
            let error = request.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            reporter.say(error);
            Ok(())
        });
        let running = threading(Deadlines::uniform(LONG), factory);
        let _client = StreamClient::connect(&running.address());
        assert_eq!(
            reports.next_report(),
            format!("nothing was received within {SHORT:?}")
        );
        running.close();
    });
}

#[test]
fn what_has_arrived_is_read_also_after_the_deadline() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            request.set_deadlines(Deadlines::uniform(Duration::ZERO));
            // Waits for the bytes without reading them.
            let mut byte = [std::mem::MaybeUninit::uninit()];
            let socket = request.socket().unwrap().try_clone_to_owned()?;
            socket2::Socket::from(socket).peek(&mut byte)?;
            assert!(request.wait()?);
            reporter.say(read_line(request)?);
            Ok(())
        });
        let running = threading(Deadlines::none(), factory);
        let client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(reports.next_report(), "hello");
        running.close();
    });
}

#[test]
fn connections_accepted_before_the_deadlines_were_set_have_none() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let running = threading(Deadlines::none(), lines(reporter));
        let mut before = StreamClient::connect(&running.address());
        before.send("hello\n");
        assert_eq!(before.line(), "hello");
        running.handle().set_deadlines(Deadlines::uniform(SHORT));
        let mut after = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), format!("first byte {SHORT:?}"));
        after.wait_for_close();
        before.send("still here\n");
        assert_eq!(before.line(), "still here");
        drop(before);
        assert_eq!(reports.next_report(), "client");
        running.close();
    });
}

#[test]
fn a_timeout_shorter_than_the_system_can_count_is_kept_too() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            request.set_timeout(Some(Duration::from_nanos(1)))?;
            let error = request.wait().unwrap_err();
            reporter.say(error.kind());
            let error = request.write_all(&vec![b'm'; 64 << 20]).unwrap_err();
            reporter.say(error.kind());
            Ok(())
        });
        let running = threading(Deadlines::none(), factory);
        let _takes_nothing = StreamClient::connect(&running.address());
        let expected = ErrorKind::TimedOut.to_string();
        assert_eq!(reports.take(2), [expected.clone(), expected]);
        running.close();
    });
}
