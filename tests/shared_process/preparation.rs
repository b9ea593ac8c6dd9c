//! `prepare_request`: what a layer does with a connection before its handler, without holding up
//! other clients.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketserver::layer::{Preparation, RequestOf, Stream};
use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, Deadlines, HandlerError, HandlerFactory, HandlerPanic, Limits, MixIn, ReactorMixIn,
    Serve, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UnixStreamServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::preamble::{Name, Preamble, named_echo};
use support::reports::reports;
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, read_line, silent_panic, stream_handler};
use support::task_limit::ErrorReports;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

fn tcp() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    TcpServer::new(LOOPBACK, named_echo())
}

/// One client sends its preamble byte by byte, others are served between any two bytes.
fn a_slow_preamble_holds_up_nobody<S: BaseServer<Request = StreamRequest>>(layers: S) {
    let running = RunningServer::start(layers.mix_in(Preamble::new).bind().unwrap());
    let mut slow = StreamClient::connect(&running.address());
    let mut silent = StreamClient::connect(&running.address());
    for byte in ["s", "l", "o", "w"] {
        slow.send(byte);
        let mut quick = StreamClient::connect(&running.address());
        quick.send("quick\nhello\n");
        assert_eq!(quick.line(), "quick: hello");
    }
    slow.send("\nhello\nag");
    assert_eq!(slow.line(), "slow: hello");
    slow.send("ain\n");
    assert_eq!(slow.line(), "slow: again");
    let server = running.stop();
    assert_eq!(slow.rest(), b"");
    assert_eq!(silent.rest(), b"");
    let report = close(server);
    assert_eq!((report.aborted, report.running), (0, 0));
}

#[test]
fn with_threads_a_slow_preamble_holds_up_nobody() {
    a_slow_preamble_holds_up_nobody(tcp().mix_in(ThreadingMixIn::new));
    let directory = support::short_paths::directory();
    let unix = UnixStreamServer::new(directory.path().join("socket"), named_echo());
    a_slow_preamble_holds_up_nobody(unix.mix_in(ThreadingMixIn::new));
}

#[test]
fn with_a_pool_a_slow_preamble_holds_up_nobody_but_its_worker() {
    a_slow_preamble_holds_up_nobody(tcp().mix_in(ThreadPoolMixIn::new).workers(3));
}

#[test]
fn with_a_reactor_a_slow_preamble_holds_up_nobody() {
    a_slow_preamble_holds_up_nobody(tcp().mix_in(ReactorMixIn::new));
}

#[test]
fn without_a_mix_in_a_preamble_is_read_before_the_next_client_is_served() {
    let running = RunningServer::start(tcp().mix_in(Preamble::new).bind().unwrap());
    let mut slow = StreamClient::connect(&running.address());
    slow.send("sl");
    let mut next = StreamClient::connect(&running.address());
    next.send("next\nhello\n");
    slow.send("ow\nhello\n");
    assert_eq!(slow.line(), "slow: hello");
    slow.finish_sending();
    assert_eq!(slow.rest(), b"");
    assert_eq!(next.line(), "next: hello");
    running.close();
}

#[test]
fn the_layer_may_stand_on_either_side_of_the_mix_in() {
    let layers = tcp().mix_in(Preamble::new).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("me\nhello\n");
    assert_eq!(client.line(), "me: hello");
    running.close();
}

#[test]
fn a_layer_may_refuse_a_client_and_explain_that() {
    let layers = tcp().mix_in(ThreadingMixIn::new).mix_in(Preamble::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("stranger\n");
    assert_eq!(client.rest(), b"who are you?\n");
    let handle = running.handle();
    running.close();
    let statistics = handle.statistics();
    assert_eq!((statistics.accepted, statistics.refused), (1, 1));
    assert_eq!(statistics.finished, 0);
}

/// What `handle_error` receives when a client sends this, and what the statistics count.
fn error_of(
    deadlines: Deadlines,
    course: impl FnOnce(&mut StreamClient),
) -> (String, socketserver::Statistics) {
    let (reporter, mut errors) = reports();
    let layers = tcp()
        .mix_in(ThreadingMixIn::new)
        .mix_in(Preamble::new)
        .mix_in(|next| ErrorReports::new(next, reporter));
    let server = layers.bind().unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    course(&mut client);
    let error = errors.next_report();
    client.wait_for_close();
    let handle = running.handle();
    running.close();
    (error, handle.statistics())
}

#[test]
fn a_panic_of_the_layer_reaches_handle_error_and_no_handler_runs() {
    let (error, statistics) = error_of(Deadlines::none(), |client| client.send("panic\n"));
    assert!(error.contains("the name is panic"), "{error}");
    assert_eq!(statistics.panicked, 1);
}

#[test]
fn a_client_that_leaves_in_its_preamble_is_an_error_of_its_request() {
    let (error, statistics) = error_of(Deadlines::none(), |client| {
        client.send("half a na");
        client.finish_sending();
    });
    assert!(error.contains("no name came"), "{error}");
    assert_eq!(statistics.failed, 1);
}

#[test]
fn a_preamble_that_fills_the_read_buffer_is_an_error_and_costs_no_more_memory() {
    let (error, _) = error_of(Deadlines::none(), |client| client.send(&"x".repeat(9000)));
    assert!(error.contains("8192 unread bytes"), "{error}");
}

#[test]
fn the_preparation_has_a_deadline_of_its_own_however_often_a_byte_comes() {
    let limit = Duration::from_millis(100);
    let deadlines = Deadlines::uniform(Duration::from_secs(600)).with_prepare(limit);
    let (error, statistics) = error_of(deadlines, |client| {
        let mut socket = client.socket();
        // A byte now and then, until the server has closed: the pace is what is tested.
        while socket.write_all(b"x").is_ok() {
            std::thread::sleep(limit / 10);
        }
    });
    assert!(error.contains("(prepare deadline)"), "{error}");
    assert_eq!(statistics.timed_out, 1);
}

#[test]
fn the_first_byte_has_its_whole_deadline_after_a_preamble_that_took_time() {
    let deadlines = Deadlines::none()
        .with_prepare(Duration::from_secs(600))
        .with_first_byte(Duration::from_millis(50));
    let (reporter, mut errors) = reports();
    let layers = tcp()
        .mix_in(ThreadingMixIn::new)
        .mix_in(Preamble::new)
        .mix_in(|next| ErrorReports::new(next, reporter));
    let server = layers.bind().unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("slow");
    // Longer than the deadline of the first byte, which does not run yet.
    std::thread::sleep(Duration::from_millis(80));
    client.send("\n");
    let error = errors.next_report();
    assert!(error.contains("(first-byte deadline)"), "{error}");
    client.wait_for_close();
    running.close();
}

#[test]
fn a_drain_interrupts_a_client_in_its_preamble_at_once() {
    let layers = tcp().mix_in(ThreadingMixIn::new).mix_in(Preamble::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("half");
    let handle = running.handle();
    eventually("the client is idle in its preamble", || {
        handle.statistics().idle == 1
    });
    let server = running.stop();
    assert_eq!(client.rest(), b"");
    let report = close(server);
    assert_eq!((report.idle, report.aborted, report.running), (1, 0, 0));
}

#[test]
fn a_corrected_address_is_the_one_that_handlers_see_and_limits_count() {
    let factory = stream_handler(|request| {
        let client = request.client_address().clone();
        writeln!(request, "{client}")?;
        request.wait()?;
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadingMixIn::new)
        .mix_in(Preamble::new);
    let server = layers.bind().unwrap();
    let limits = Limits::none().with_max_connections_per_address(2);
    server.handle().set_limits(limits.refuse_with("too many\n"));
    let running = RunningServer::start(server);
    let connect = |address: &str| {
        let mut client = StreamClient::connect(&running.address());
        client.send(&format!("{address}\n"));
        let line = client.line();
        (client, line)
    };
    // Each leaves the count of the loopback address, from which all of them connect.
    let others = ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3", "192.0.2.4:4"].map(connect);
    assert_eq!(others[3].1, "192.0.2.4:4");
    let same = ["198.51.100.7:1", "198.51.100.7:2"].map(connect);
    assert_eq!(same[1].1, "198.51.100.7:2");
    assert_eq!(connect("198.51.100.7:3").1, "too many");
    // A place that becomes free is the address's own.
    drop(same);
    let handle = running.handle();
    eventually("the two have ended", || handle.active_request_count() == 4);
    assert_eq!(connect("198.51.100.7:4").1, "198.51.100.7:4");
    drop(others);
    running.close();
}

/// Reports each of its calls, and needs a further byte in each but the last.
struct Counting<S> {
    next: S,
    calls: Arc<AtomicUsize>,
    needed: usize,
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Counting<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        request.receive_now()?;
        if request.buffer().len() < self.needed {
            return Ok(Preparation::NeedsMore);
        }
        self.next.prepare_request(request)
    }
}

#[test]
fn a_layer_is_called_when_there_is_more_and_not_in_between() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| Counting {
            next,
            calls: counted,
            needed: 4,
        });
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let handle = running.handle();
    for byte in ["a", "b", "c"] {
        let before = calls.load(Ordering::SeqCst);
        client.send(byte);
        eventually("the layer has seen the byte", || {
            calls.load(Ordering::SeqCst) > before && handle.statistics().idle == 1
        });
    }
    client.send("\n");
    assert_eq!(client.rest(), b"abc\n");
    running.close();
    // Once at first, if no byte had come, and once for each of the bytes.
    let calls = calls.load(Ordering::SeqCst);
    assert!((4..=5).contains(&calls), "{calls}");
}

#[test]
fn of_two_layers_the_outer_one_prepares_a_request_first() {
    /// Makes upper case of what comes, once.
    #[derive(Debug)]
    struct Upper(Box<dyn Stream>);

    impl Read for Upper {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            buffer[..count].make_ascii_uppercase();
            Ok(count)
        }
    }

    impl Write for Upper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }

    impl_stream_of_inner!(Upper);

    struct Shouting<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for Shouting<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn prepare_request(
            &self,
            request: &mut RequestOf<Self>,
        ) -> Result<Preparation, HandlerError> {
            request.map_stream(|stream| Box::new(Upper(stream)));
            self.0.prepare_request(request)
        }
    }

    let factory = stream_handler(|request: &mut StreamRequest| {
        let Name(name) = request.extensions().get::<Name>().cloned().unwrap();
        // The bytes are the layer's now, so nobody sends around it.
        assert!(request.socket().is_none());
        let line = read_line(request)?;
        Ok(writeln!(request, "{name}: {line}")?)
    });
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadingMixIn::new)
        .mix_in(Shouting)
        .mix_in(Preamble::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    // The first line is read ahead with the name, and still goes through the inner layer.
    client.send("me\nhello\n");
    assert_eq!(client.rest(), b"me: HELLO\n");
    running.close();
}

#[test]
fn a_mock_s_request_can_be_prepared_like_any_other() {
    let layers = TcpServer::new(LOOPBACK, named_echo()).mix_in(Preamble::new);
    let mock = MockStream::new().chunk("m").chunk("e\nhel").chunk("lo\n");
    let recording = mock.run_layers(layers);
    recording.result().as_ref().unwrap();
    assert_eq!(recording.written(), b"me: hello\n");
    assert!(recording.is_shut_down() && recording.is_closed());
    assert_eq!(recording.server().statistics().finished, 1);
}

#[test]
fn over_a_mock_a_layer_refuses_fails_panics_and_drains_as_in_a_server() {
    let run = |client: MockStream| {
        // The request is served in this thread, whatever the mix-in.
        let layers = tcp().mix_in(ThreadingMixIn::new).mix_in(Preamble::new);
        let recording = client.run_layers(layers);
        assert!(recording.is_closed());
        recording
    };
    let refused = run(MockStream::new().chunk("stranger\n"));
    assert!(refused.result().is_ok());
    assert_eq!(refused.written(), b"who are you?\n");
    assert_eq!(refused.server().statistics().refused, 1);

    let failed = run(MockStream::new().chunk("half a na"));
    let error = failed.result().as_ref().unwrap_err();
    assert_eq!(error.to_string(), "no name came");
    assert_eq!(failed.server().statistics().failed, 1);

    let panicked = run(MockStream::new().chunk("panic\n"));
    assert!(panicked.result().as_ref().unwrap_err().is::<HandlerPanic>());
    assert_eq!(panicked.server().statistics().panicked, 1);

    let drained = run(MockStream::new().chunk("half").drain().chunk(" a name\n"));
    assert!(drained.result().is_ok());
    assert!(drained.server().is_draining());
    assert_eq!(drained.written(), b"");
}

#[test]
fn over_a_mock_handle_error_may_answer_and_verify_request_may_refuse() {
    /// Refuses port 1, panics for port 2, and sends each error to the client.
    struct Answering<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for Answering<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
            match request.client_address().to_string().as_str() {
                "127.0.0.1:1" => false,
                "127.0.0.1:2" => silent_panic("port 2"),
                _ => self.0.verify_request(request),
            }
        }

        fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
            let _ = write!(request, "sorry: {error}");
        }
    }

    let run = |port: u16| {
        let failing = stream_handler(|_| Err("no time".into()));
        let layers = TcpServer::new(LOOPBACK, failing).mix_in(Answering);
        let client = MockStream::new().client_address(([127, 0, 0, 1], port));
        client.run_layers(layers)
    };
    let refused = run(1);
    assert!(refused.result().is_ok());
    assert_eq!(refused.written(), b"");
    assert_eq!(refused.server().statistics().refused, 1);
    for (port, error) in [(2, "panicked: port 2"), (3, "no time")] {
        let failed = run(port);
        assert_eq!(failed.result().as_ref().unwrap_err().to_string(), error);
        assert_eq!(failed.written(), format!("sorry: {error}").as_bytes());
        assert!(failed.is_closed());
    }
}

#[test]
fn what_was_read_ahead_is_the_first_that_a_new_stream_reads() {
    let (mut request, _) = MockStream::new().chunk("abc\ndef\n").into_request();
    assert_eq!(request.fill_buf().unwrap(), b"abc\ndef\n");
    request.consume(4);
    request.map_stream(|stream| stream);
    assert_eq!(request.buffer(), b"");
    let mut rest = String::new();
    request.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "def\n");
}

/// A stream whose methods may panic.
#[derive(Debug)]
struct Faulty {
    inner: Box<dyn Stream>,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    InDrop,
    InWait,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.fault == Fault::InDrop {
            silent_panic("the stream's drop");
        }
    }
}

impl Read for Faulty {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl Stream for Faulty {
    fn readable_now(&mut self) -> std::io::Result<bool> {
        self.inner.readable_now()
    }

    fn wait_readable(&mut self, _: Option<std::time::Instant>) -> std::io::Result<bool> {
        silent_panic("the stream's wait");
    }

    fn shutdown(&mut self, how: std::net::Shutdown) -> std::io::Result<()> {
        self.inner.shutdown(how)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.inner.set_timeout(timeout)
    }

    fn set_deadline(&mut self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
        self.inner.set_deadline(deadline)
    }

    fn set_nodelay(&mut self, nodelay: bool) -> std::io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    fn readiness(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.inner.readiness()
    }
}

/// Puts a faulty stream under each request, and waits once if the fault is there.
struct Faults<S> {
    next: S,
    fault: Fault,
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Faults<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        let fault = self.fault;
        request.map_stream(|inner| Box::new(Faulty { inner, fault }));
        match fault {
            Fault::InWait => Ok(Preparation::NeedsMore),
            Fault::InDrop => self.next.prepare_request(request),
        }
    }
}

/// Six clients, one after the other, of servers whose streams have this fault.
fn statistics_with(fault: Fault) -> Vec<socketserver::Statistics> {
    fn serves_six<S: BaseServer>(layers: S) -> socketserver::Statistics {
        let running = RunningServer::start(layers.bind().unwrap());
        for _ in 0..6 {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            let _ = client.try_rest();
        }
        let handle = running.handle();
        eventually("every request has ended", || {
            handle.active_request_count() == 0
        });
        assert_eq!(running.close().running, 0);
        handle.statistics()
    }

    let echo = || TcpServer::new(LOOPBACK, EchoLine::default).mix_in(|next| Faults { next, fault });
    let mut statistics = vec![
        serves_six(echo()),
        serves_six(echo().mix_in(ThreadingMixIn::new)),
        serves_six(echo().mix_in(ThreadPoolMixIn::new).workers(2).queue_size(2)),
    ];
    // A reactor waits for the descriptor, and does not call the stream's own wait.
    if matches!(fault, Fault::InDrop) {
        statistics.push(serves_six(echo().mix_in(ReactorMixIn::new)));
    }
    statistics
}

#[test]
fn a_request_whose_stream_panics_in_its_drop_ends_all_the_same() {
    for statistics in statistics_with(Fault::InDrop) {
        assert_eq!((statistics.accepted, statistics.active), (6, 0));
        assert_eq!(statistics.finished + statistics.failed, 6);
    }
}

#[test]
fn a_panic_in_the_wait_of_a_stream_is_one_of_the_request_and_costs_no_worker() {
    for statistics in statistics_with(Fault::InWait) {
        assert_eq!((statistics.accepted, statistics.panicked), (6, 6));
    }
}

#[test]
fn a_layer_that_does_not_take_the_bytes_it_asks_for_is_an_error_without_deadlines_too() {
    struct Insatiable<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for Insatiable<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn prepare_request(&self, _: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
            Ok(Preparation::NeedsMore)
        }
    }

    for course in ["bytes", "the end"] {
        let (reporter, mut errors) = reports();
        let layers = tcp()
            .mix_in(ThreadingMixIn::new)
            .mix_in(Insatiable)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let running = RunningServer::start(layers.bind().unwrap());
        let client = StreamClient::connect(&running.address());
        match course {
            "bytes" => client.send("bytes"),
            _ => client.finish_sending(),
        }
        let error = errors.next_report();
        assert!(
            error.contains("has not read the bytes"),
            "{course}: {error}"
        );
        running.close();
    }
}

/// Sets something on the request at first, then needs more.
struct Setting<S> {
    next: S,
    set: fn(&mut StreamRequest),
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Setting<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        (self.set)(request);
        Ok(Preparation::NeedsMore)
    }
}

#[test]
fn deadlines_and_timeouts_that_the_layer_sets_itself_bound_the_preparation() {
    const SHORT: Duration = Duration::from_millis(50);

    fn set_deadline(request: &mut StreamRequest) {
        request.set_deadlines(Deadlines::none().with_prepare(SHORT));
    }

    fn set_timeout(request: &mut StreamRequest) {
        request.set_timeout(Some(SHORT)).unwrap();
    }

    let cases = [
        (set_deadline as fn(&mut _), "(prepare deadline)"),
        (set_timeout, "nothing was received within 50ms"),
    ];
    for (set, expected) in cases {
        let (reporter, mut errors) = reports();
        let layers = tcp()
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| Setting { next, set })
            .mix_in(|next| ErrorReports::new(next, reporter));
        let running = RunningServer::start(layers.bind().unwrap());
        let begin = std::time::Instant::now();
        let mut client = StreamClient::connect(&running.address());
        let error = errors.next_report();
        assert!(error.contains(expected), "{error}");
        assert!(begin.elapsed() >= SHORT);
        client.wait_for_close();
        running.close();
    }
}

#[test]
fn a_layer_that_reads_from_the_stream_itself_is_bound_by_the_prepare_deadline() {
    struct Handshake<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for Handshake<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn prepare_request(
            &self,
            request: &mut RequestOf<Self>,
        ) -> Result<Preparation, HandlerError> {
            let mut shaken = Ok(0);
            request.map_stream(|mut stream| {
                shaken = stream.read(&mut [0; 10]);
                stream
            });
            shaken?;
            self.0.prepare_request(request)
        }
    }

    let (reporter, mut errors) = reports();
    let layers = tcp()
        .mix_in(ThreadingMixIn::new)
        .mix_in(Handshake)
        .mix_in(|next| ErrorReports::new(next, reporter));
    let server = layers.bind().unwrap();
    let deadlines = Deadlines::none().with_prepare(Duration::from_millis(50));
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    errors.next_report();
    client.wait_for_close();
    running.close();
}

#[test]
fn a_preamble_that_has_arrived_whole_is_served_although_the_server_stops() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| Stopping { next });
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    // More than one read of the layer takes.
    client.send(&format!("{}\n", "x".repeat(1000)));
    assert_eq!(client.rest().len(), 1001);
    let report = close(running.wait_for_end());
    assert_eq!((report.ended, report.aborted), (1, 0));
}

/// Stops the server before it takes the whole line, a part in each call.
struct Stopping<S> {
    next: S,
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Stopping<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        request.receive_now()?;
        if request.buffer().len() < 1001 {
            if !request.buffer().is_empty() {
                self.layer_handle().server().request_shutdown();
            }
            return Ok(Preparation::NeedsMore);
        }
        self.next.prepare_request(request)
    }
}
