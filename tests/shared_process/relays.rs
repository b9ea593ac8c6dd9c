//! The relay between a request and another connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use socketserver::layer::{RelayPeer, SocketStream, Stream};
use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, DeadlineExceeded, Deadlines, HandlerResult, Relayed, StreamRequest,
    ThreadPoolTcpServer, ThreadingTcpServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::reports::{Reporter, Reports, reports};
use support::running_server::{RunningServer, close};
use support::services::stream_handler;
use support::waiting::{LIMIT, eventually, within_limit};

const SHORT: Duration = Duration::from_millis(50);

/// The other side of a relay, as the test sees it.
fn other_side() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let outside = listener.accept().unwrap().0;
    outside.set_read_timeout(Some(LIMIT)).unwrap();
    outside.set_write_timeout(Some(LIMIT)).unwrap();
    (inside, outside)
}

/// A server that relays its one client to `other`, and reports the result.
fn relaying<P: RelayPeer + Send + 'static>(
    other: P,
    deadlines: Deadlines,
) -> (RunningServer<impl BaseServer>, StreamClient, Reports) {
    relaying_with(other, deadlines, |_| Ok(()))
}

fn relaying_with<P: RelayPeer + Send + 'static>(
    other: P,
    deadlines: Deadlines,
    begin: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> (RunningServer<impl BaseServer>, StreamClient, Reports) {
    let (reporter, reports) = reports();
    let other = Mutex::new(Some(other));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let mut other = other.lock().unwrap().take().unwrap();
        begin(request)?;
        let relayed = request.relay(&mut other);
        drop(other);
        report_relayed(&reporter, &relayed);
        relayed?;
        Ok(())
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    (running, client, reports)
}

fn report_relayed(reporter: &Reporter, relayed: &io::Result<Relayed>) {
    match relayed {
        Ok(relayed) => {
            reporter.say(format_args!(
                "{} {}",
                relayed.from_client, relayed.to_client
            ));
        }
        Err(error) => reporter.say(format_args!("{:?}: {error}", error.kind())),
    }
}

/// A server whose relay goes on in silence, and reports the result.
fn relaying_to_end(
    other: UnixStream,
    drain_timeout: Duration,
) -> (RunningServer<impl BaseServer>, StreamClient, Reports) {
    let (reporter, reports) = reports();
    let other = Mutex::new(Some(other));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let mut other = other.lock().unwrap().take().unwrap();
        let relayed = request.relay_to_end(&mut other);
        reporter.say(format_args!("aborted: {}", request.is_aborted()));
        report_relayed(&reporter, &relayed);
        relayed?;
        Ok(())
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    server.set_drain_timeout(Some(drain_timeout));
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    (running, client, reports)
}

fn receive(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn both_directions_are_carried_and_each_ends_by_itself() {
    let (inside, mut outside) = other_side();
    let (running, mut client, mut ends) = relaying(inside, Deadlines::none());
    client.send("question");
    assert_eq!(receive(&mut outside, 8), b"question");
    outside.write_all(b"answer").unwrap();
    assert_eq!(client.receive_exactly(6), b"answer");
    client.finish_sending();
    assert_eq!(rest(&mut outside), b"");
    outside.write_all(b" and trailer").unwrap();
    drop(outside);
    assert_eq!(client.rest(), b" and trailer");
    assert_eq!(ends.next_report(), "8 18");
    let handle = running.handle();
    running.close();
    let statistics = handle.statistics();
    assert_eq!((statistics.received, statistics.sent), (8, 18));
    assert_eq!(statistics.finished, 1);
}

#[test]
fn the_other_side_may_end_first_and_the_client_goes_on() {
    let (inside, outside) = UnixStream::pair().unwrap();
    let mut outside = outside;
    let (running, mut client, mut ends) = relaying(inside, Deadlines::none());
    outside.write_all(b"hello").unwrap();
    outside.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"hello");
    client.send("still here");
    client.finish_sending();
    assert_eq!(rest(&mut outside), b"still here");
    assert_eq!(ends.next_report(), "10 5");
    running.close();
}

#[test]
fn what_was_read_ahead_and_what_was_written_go_first() {
    let (inside, mut outside) = other_side();
    let (running, mut client, mut ends) = relaying_with(inside, Deadlines::none(), |request| {
        assert_eq!(request.next_line(100)?.as_deref(), Some("CONNECT"));
        Ok(request.write_all(b"connected\n")?)
    });
    // The first data is behind the greeting in one segment.
    client.send("CONNECT\nfirst");
    assert_eq!(receive(&mut outside, 5), b"first");
    assert_eq!(client.line(), "connected");
    client.send(" second");
    client.finish_sending();
    assert_eq!(rest(&mut outside), b" second");
    drop(outside);
    assert_eq!(client.rest(), b"");
    assert_eq!(ends.next_report(), "12 0");
    running.close();
}

/// What a handler does before its relay.
type Begin = fn(&mut StreamRequest) -> HandlerResult;

/// Inverts every bit, both ways, and reads ahead.
#[derive(Debug)]
struct Inverted(Box<dyn Stream>);

impl Read for Inverted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte = !*byte);
        Ok(count)
    }
}

impl Write for Inverted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All of it leaves before the write returns, as a record does.
        let inverted = Vec::from_iter(bytes.iter().map(|byte| !byte));
        self.0.write_all(&inverted)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Inverted);

fn invert(request: &mut StreamRequest) -> HandlerResult {
    request.map_stream(|stream| Box::new(Inverted(stream)));
    Ok(())
}

/// Sends a long sequence into `writer` and reads one from `reader`, each in a thread. The reading
/// begins when `begin` is dropped.
fn exchange(
    stream: TcpStream,
    length: usize,
    begin: Arc<Mutex<()>>,
) -> (JoinHandle<()>, JoinHandle<Vec<u8>>) {
    let writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let bytes = Vec::from_iter((0..length).map(|number| number as u8));
        (&writer).write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reading = thread::spawn(move || {
        drop(begin.lock().unwrap());
        rest(&mut &stream)
    });
    (writing, reading)
}

fn carries_while_both_sides_are_full(is_layered: bool) {
    const LENGTH: usize = 12_000_000;
    let (inside, outside) = other_side();
    let (inside, layer): (Box<dyn Stream>, Begin) = match is_layered {
        true => (
            Box::new(Inverted(Box::new(SocketStream::from(inside)))),
            invert,
        ),
        false => (Box::new(SocketStream::from(inside)), |_| Ok(())),
    };
    let (reporter, mut reports) = reports();
    let inside = Mutex::new(Some(inside));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let mut inside = inside.lock().unwrap().take().unwrap();
        layer(request)?;
        let relayed = request.relay(&mut *inside)?;
        reporter.say(format_args!(
            "{} {}",
            relayed.from_client, relayed.to_client
        ));
        Ok(())
    });
    let running = RunningServer::start(ThreadPoolTcpServer::bind("127.0.0.1:0", factory).unwrap());
    let client = TcpStream::connect(running.server().local_addr().unwrap()).unwrap();
    let begin = Arc::new(Mutex::new(()));
    let held = begin.lock().unwrap();
    let outer = exchange(outside, LENGTH, begin.clone());
    let inner = exchange(client, LENGTH, begin.clone());
    let handle = running.handle();
    // Everything is full once no more is received.
    let mut received = 0;
    let stuck = Instant::now();
    eventually("both sides are full", || {
        thread::sleep(SHORT);
        let before = std::mem::replace(&mut received, handle.statistics().received);
        before > 0 && before == received && stuck.elapsed() > 8 * SHORT
    });
    assert!(received < LENGTH as u64, "nothing holds the client back");
    drop(held);
    for (writing, reading) in [outer, inner] {
        let bytes = within_limit("the exchange", move || {
            writing.join().unwrap();
            reading.join().unwrap()
        });
        assert_eq!(bytes.len(), LENGTH);
        // Two inversions are none.
        let is_right = |(number, byte): (usize, &u8)| *byte == number as u8;
        assert!(bytes.iter().enumerate().all(is_right));
    }
    assert_eq!(reports.next_report(), format!("{LENGTH} {LENGTH}"));
    running.close();
    assert_eq!(handle.statistics().sent, LENGTH as u64);
}

#[test]
fn two_full_sides_neither_block_each_other_nor_fill_the_memory() {
    carries_while_both_sides_are_full(false);
}

#[test]
fn two_full_sides_with_layers_do_not_block_each_other_either() {
    carries_while_both_sides_are_full(true);
}

/// The CPU time that `call` uses in this thread.
fn cpu_time<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let before = now();
    let result = call();
    (now() - before, result)
}

#[test]
fn a_relay_whose_sides_are_full_or_half_closed_sleeps() {
    let (reporter, mut reports) = reports();
    let (inside, outside) = UnixStream::pair().unwrap();
    let inside = Mutex::new(inside);
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let mut inside = inside.lock().unwrap();
        let (used, relayed) = cpu_time(|| request.relay(&mut *inside));
        assert!(used < 10 * SHORT, "{used:?}");
        reporter.say(format_args!("{:?}", relayed.unwrap_err().kind()));
        Ok(())
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    let idle = Deadlines::none().with_idle(30 * SHORT);
    server.handle().set_deadlines(idle);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    // The other side has left for good: its descriptor has an event all the time.
    drop(outside);
    assert_eq!(client.rest(), b"");
    assert_eq!(reports.next_report(), "TimedOut");
    running.close();
}

#[test]
fn a_drain_ends_an_idle_relay_at_once() {
    let (inside, mut outside) = other_side();
    let (running, mut client, mut ends) = relaying(inside, Deadlines::none());
    client.send("x");
    receive(&mut outside, 1);
    outside.write_all(b"y").unwrap();
    assert_eq!(client.receive_exactly(1), b"y");
    let handle = running.handle();
    eventually("the relay is idle", || handle.statistics().idle == 1);
    let report = close(running.stop());
    assert_eq!((report.idle, report.aborted), (1, 0));
    assert_eq!(ends.next_report(), "1 1");
    assert_eq!(client.rest(), b"");
    assert_eq!(rest(&mut outside), b"");
}

#[test]
fn a_relay_that_waits_for_a_side_is_not_idle_and_is_aborted_at_the_drain_timeout() {
    let (inside, outside) = other_side();
    let (running, client, mut ends) = relaying(inside, Deadlines::none());
    fill(client.socket());
    running.handle().set_drain_timeout(Some(SHORT));
    let report = close(running.stop());
    assert_eq!((report.idle, report.aborted), (0, 1));
    assert!(ends.next_report().starts_with("ConnectionAborted"));
    drop((client, outside));
}

/// Writes until there is no room any more.
fn fill(socket: &socket2::Socket) {
    socket.set_nonblocking(true).unwrap();
    let bytes = [b'x'; 65_536];
    let mut last = Instant::now();
    while last.elapsed() < 4 * SHORT {
        match { socket }.write(&bytes) {
            Ok(count) => {
                assert!(count > 0);
                last = Instant::now();
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    socket.set_nonblocking(false).unwrap();
}

#[test]
fn a_busy_relay_goes_on_while_its_server_drains() {
    let (inside, mut outside) = other_side();
    let (running, mut client, mut ends) = relaying(inside, Deadlines::none());
    outside.write_all(b"begin ").unwrap();
    assert_eq!(client.receive_exactly(6), b"begin ");
    let handle = running.handle();
    let sending = thread::spawn(move || {
        eventually("the server drains", || handle.is_draining());
        for _ in 0..20 {
            thread::sleep(SHORT);
            outside.write_all(b"x").unwrap();
        }
    });
    let moving = running.handle();
    let stopping = thread::spawn(move || close(running.stop()));
    assert_eq!(client.rest(), [b'x'; 20]);
    sending.join().unwrap();
    drop(client);
    let report = stopping.join().unwrap();
    assert_eq!(report.aborted, 0);
    assert_eq!(moving.statistics().finished, 1);
    assert_eq!(ends.next_report(), "0 26");
}

#[test]
fn the_idle_deadline_is_for_both_directions_together() {
    let limit = 6 * SHORT;
    let (inside, mut outside) = other_side();
    let deadlines = Deadlines::none()
        .with_idle(limit)
        .with_first_byte(SHORT)
        .with_read(SHORT);
    let (running, mut client, mut ends) = relaying(inside, deadlines);
    // The client only receives, for longer than the limit.
    for _ in 0..20 {
        thread::sleep(SHORT / 2);
        outside.write_all(b"x").unwrap();
    }
    assert_eq!(client.receive_exactly(20), [b'x'; 20]);
    let expected = format!("TimedOut: {}", DeadlineExceeded::Idle(limit));
    assert_eq!(ends.next_report(), expected);
    client.wait_for_close();
    assert_eq!(rest(&mut outside), b"");
    let handle = running.handle();
    running.close();
    assert_eq!(handle.statistics().timed_out, 1);
}

#[test]
fn the_deadlines_of_a_write_end_a_relay_whose_client_does_not_take_its_bytes() {
    let write = (
        Deadlines::none().with_write(SHORT),
        DeadlineExceeded::Write(SHORT),
    );
    let progress = Deadlines::none().with_progress(SHORT);
    let progress = (progress, DeadlineExceeded::Progress(SHORT));
    let ways = [write, progress].into_iter().zip([false, true]);
    for ((deadlines, exceeded), is_layered) in ways.clone().chain(ways.map(|(way, it)| (way, !it)))
    {
        let (inside, outside) = other_side();
        let begin: Begin = if is_layered { invert } else { |_| Ok(()) };
        let (running, client, mut ends) = relaying_with(inside, deadlines, begin);
        let filling = thread::spawn(move || {
            let socket = socket2::Socket::from(outside);
            // It fails when the relay has ended.
            while (&socket).write(&[b'x'; 65_536]).is_ok() {}
        });
        let expected = format!("TimedOut: {exceeded}");
        assert_eq!(ends.next_report(), expected);
        drop(client);
        filling.join().unwrap();
        running.close();
    }
}

#[test]
fn the_lifetime_and_the_timeout_of_the_connection_hold() {
    let limit = Deadlines::none().with_lifetime(4 * SHORT);
    let (inside, mut outside) = other_side();
    let (running, _client, mut ends) = relaying(inside, limit);
    let expected = format!("TimedOut: {}", DeadlineExceeded::Lifetime(4 * SHORT));
    while outside.write_all(b"x").is_ok() {
        thread::sleep(SHORT / 2);
    }
    assert_eq!(ends.next_report(), expected);
    running.close();

    let (inside, _outside) = other_side();
    let (running, _client, mut ends) = relaying_with(inside, Deadlines::none(), |request| {
        Ok(request.set_timeout(Some(SHORT))?)
    });
    assert_eq!(
        ends.next_report(),
        "TimedOut: nothing was relayed within 50ms"
    );
    running.close();
}

#[test]
fn a_failure_of_one_side_ends_the_other_and_is_named() {
    let (inside, outside) = other_side();
    let (running, mut client, mut ends) = relaying(inside, Deadlines::none());
    client.send("x");
    receive(&mut &outside, 1);
    let outside = socket2::Socket::from(outside);
    outside.set_linger(Some(Duration::ZERO)).unwrap();
    drop(outside);
    let error = ends.next_report();
    let expected = "ConnectionReset: the other side of the relay failed: ";
    assert!(error.starts_with(expected), "{error}");
    client.wait_for_close();
    running.close();

    let (inside, mut outside) = other_side();
    let (running, client, mut ends) = relaying(inside, Deadlines::none());
    client.send("x");
    receive(&mut outside, 1);
    client.reset();
    let error = ends.next_report();
    assert!(error.starts_with("ConnectionReset: "), "{error}");
    assert!(!error.contains("other side"), "{error}");
    assert_eq!(rest(&mut outside), b"");
    running.close();
}

#[test]
fn a_message_in_the_outbox_leaves_before_or_after_the_relayed_bytes() {
    let (inside, mut outside) = other_side();
    let (running, mut client, mut ends) = relaying_with(inside, Deadlines::none(), |request| {
        let outbox = request.outbox()?;
        outbox.send(b"before ")?;
        Ok(())
    });
    outside.write_all(b"relayed").unwrap();
    drop(outside);
    assert_eq!(client.receive_exactly(14), b"before relayed");
    client.finish_sending();
    assert_eq!(client.rest(), b"");
    ends.next_report();
    running.close();
}

#[test]
fn a_mock_is_relayed_to_a_connection_that_is_real() {
    let (mut inside, outside) = UnixStream::pair().unwrap();
    let answering = thread::spawn(move || {
        let question = rest(&mut &outside);
        (&outside).write_all(&question).unwrap();
    });
    let client = MockStream::new().chunk("line\nahead").chunk(" and later");
    let (mut request, recording) = client.into_request();
    request.next_line(10).unwrap();
    let relayed = request.relay(&mut inside).unwrap();
    answering.join().unwrap();
    assert_eq!((relayed.from_client, relayed.to_client), (15, 15));
    assert_eq!(recording.written(), b"ahead and later");
    assert!(recording.is_shut_down());
}

#[test]
fn a_mock_ends_a_relay_by_its_steps() {
    // The server answers while the client is silent.
    let (mut inside, outside) = UnixStream::pair().unwrap();
    (&outside).write_all(b"greeting").unwrap();
    let (mut request, recording) = MockStream::new().timeout().drain().into_request();
    let relayed = request.relay(&mut inside).unwrap();
    assert_eq!((relayed.from_client, relayed.to_client), (0, 8));
    assert_eq!(recording.written(), b"greeting");
}

#[test]
fn a_relay_to_the_end_ends_with_a_side_that_is_gone_and_does_not_wait_for_the_client() {
    let (inside, mut outside) = UnixStream::pair().unwrap();
    let (running, mut client, mut ends) = relaying_to_end(inside, LIMIT);
    client.send("question");
    assert_eq!(receive(&mut outside, 8), b"question");
    outside.write_all(b"answer").unwrap();
    drop(outside);
    // The client neither ends its side nor sends anything that could fail.
    assert_eq!(client.rest(), b"answer");
    assert_eq!(ends.take(2), ["aborted: false", "8 6"]);
    running.close();
}

#[test]
fn a_relay_to_the_end_goes_on_in_silence_while_the_server_drains() {
    let (inside, mut outside) = UnixStream::pair().unwrap();
    let (running, mut client, mut ends) = relaying_to_end(inside, LIMIT);
    client.send("work");
    assert_eq!(receive(&mut outside, 4), b"work");
    running.handle().request_shutdown();
    // An idle relay would have ended.
    thread::sleep(Duration::from_millis(600));
    outside.write_all(b"done").unwrap();
    drop(outside);
    assert_eq!(client.rest(), b"done");
    assert_eq!(ends.take(2), ["aborted: false", "4 4"]);
    running.close();
}

#[test]
fn a_relay_to_the_end_is_aborted_at_the_drain_timeout() {
    let (inside, mut outside) = UnixStream::pair().unwrap();
    let (running, mut client, mut ends) = relaying_to_end(inside, SHORT);
    client.send("work");
    assert_eq!(receive(&mut outside, 4), b"work");
    running.close();
    let reports = ends.take(2);
    assert_eq!(reports[0], "aborted: true");
    assert!(reports[1].starts_with("ConnectionAborted: "), "{reports:?}");
    client.wait_for_close();
}

#[test]
fn a_client_that_is_gone_ends_a_relay_to_the_end() {
    let (inside, outside) = UnixStream::pair().unwrap();
    let (running, client, mut ends) = relaying_to_end(inside, LIMIT);
    client.send("work");
    assert_eq!(receive(&mut &outside, 4), b"work");
    client.finish_sending();
    assert_eq!(rest(&mut &outside), b"");
    client.reset();
    let reports = ends.take(2);
    assert!(!reports[1].contains("other side"), "{reports:?}");
    running.close();
}
