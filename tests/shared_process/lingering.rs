//! A complete answer reaches a client that has sent more than the handler has read.

use std::io::{self, BufRead, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use socketserver::layer::{Preparation, RequestOf, Stream};
use socketserver::{
    BaseServer, HandlerError, HandlerFactory, HandlerResult, Limits, Lingering, MixIn, Serve,
    Server, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UnixStreamServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::running_server::RunningServer;
use support::services::{silent_panic, stream_handler};
use support::waiting::LIMIT;

const LOOPBACK: &str = "127.0.0.1:0";
const ANSWER: usize = 1 << 20;

/// The numbers of bytes that clients send after the one that the handler reads.
const UNREAD: [usize; 6] = [0, 2, 10, 100, 10_000, 1_000_000];

/// Reads a byte, sends the long answer, and ends as the byte asks for.
fn answer(request: &mut StreamRequest) -> HandlerResult {
    request.set_rbufsize(1);
    let mut how = [0];
    request.read_exact(&mut how)?;
    request.write_all(&vec![b'x'; ANSWER])?;
    match &how {
        b"e" => Err("an error answer".into()),
        b"p" => silent_panic("a panic after the answer"),
        _ => Ok(()),
    }
}

/// A time that no test waits for to its end.
fn patient() -> Lingering {
    Lingering::default().with_timeout(LIMIT)
}

fn serve<S: BaseServer>(server: Server<S>) -> RunningServer<S> {
    server.handle().set_lingering(patient());
    RunningServer::start(server)
}

/// Sends `text`, and reads the answer slowly. Its length, once the end has come.
fn read_slowly(client: &StreamClient) -> usize {
    let mut socket = client.socket();
    let (mut length, mut buffer) = (0, [0; 16 * 1024]);
    loop {
        match socket.read(&mut buffer).expect("an answer with its end") {
            0 => return length,
            count => length += count,
        }
        std::thread::yield_now();
    }
}

fn send_in_background(client: &StreamClient, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let socket = client.socket().try_clone().unwrap();
    std::thread::spawn(move || (&socket).write_all(&bytes).unwrap())
}

fn answers_every_client<S: BaseServer>(server: Server<S>) {
    let running = serve(server);
    for (how, unreads) in [("s", &UNREAD[..]), ("e", &[100]), ("p", &[100])] {
        for &unread in unreads {
            let client = StreamClient::connect(&running.address());
            let sending =
                send_in_background(&client, [how.as_bytes(), &vec![b'.'; unread]].concat());
            assert_eq!(read_slowly(&client), ANSWER, "{how}, {unread} bytes unread");
            sending.join().unwrap();
        }
    }
    running.close();
}

fn layers() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    TcpServer::new(LOOPBACK, stream_handler(answer))
}

#[test]
fn unread_bytes_do_not_destroy_an_answer_over_tcp() {
    answers_every_client(layers().bind().unwrap());
}

#[test]
fn unread_bytes_do_not_destroy_an_answer_of_a_thread() {
    answers_every_client(layers().mix_in(ThreadingMixIn::new).bind().unwrap());
}

#[test]
fn unread_bytes_do_not_destroy_an_answer_of_a_pool() {
    answers_every_client(layers().mix_in(ThreadPoolMixIn::new).bind().unwrap());
}

#[test]
fn unread_bytes_do_not_destroy_an_answer_over_a_unix_socket() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    answers_every_client(UnixStreamServer::bind(path, stream_handler(answer)).unwrap());
}

#[test]
fn a_client_that_sends_on_after_the_answer_has_begun_reads_the_whole_answer() {
    let running = serve(layers().bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("s");
    let mut socket = client.socket();
    socket.read_exact(&mut [0; 1000]).unwrap();
    let mut length = 1000;
    // The server has closed its side long before the client has sent all of these.
    for _ in 0..100 {
        client.send("more");
        length += socket.read(&mut [0; 8000]).unwrap();
    }
    assert_eq!(length + read_slowly(&client), ANSWER);
    drop(client);
    running.close();
}

#[test]
fn a_client_that_ends_its_side_first_reads_the_whole_answer() {
    let running = serve(layers().bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("s and more");
    client.finish_sending();
    assert_eq!(read_slowly(&client), ANSWER);
    running.close();
}

#[test]
fn a_server_without_a_mix_in_serves_others_while_a_client_lingers() {
    let running = serve(layers().bind().unwrap());
    let silent = StreamClient::connect(&running.address());
    silent.send("s..");
    assert_eq!(read_slowly(&silent), ANSWER);
    // This one sends without end.
    let dripping = StreamClient::connect(&running.address());
    dripping.send("s..");
    assert_eq!(read_slowly(&dripping), ANSWER);
    for _ in 0..3 {
        dripping.send(".");
        let other = StreamClient::connect(&running.address());
        other.send("s");
        assert_eq!(read_slowly(&other), ANSWER);
    }
    assert_eq!(running.handle().active_request_count(), 0);
    drop((silent, dripping));
    running.close();
}

/// Waits until the server has closed the connection, which ends every write.
fn send_until_closed(client: &StreamClient, text: &str) {
    let begun = Instant::now();
    while client.socket().write_all(text.as_bytes()).is_ok() {
        assert!(begun.elapsed() < LIMIT, "the connection is still open");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_connection_lingers_no_longer_than_its_timeout() {
    let server = layers().bind().unwrap();
    let short = Lingering::default().with_timeout(Duration::from_millis(50));
    server.handle().set_lingering(short);
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    client.send("s..");
    assert_eq!(read_slowly(&client), ANSWER);
    send_until_closed(&client, ".");
    running.close();
}

#[test]
fn a_connection_lingers_for_no_more_bytes_than_its_bound() {
    let server = layers().bind().unwrap();
    server
        .handle()
        .set_lingering(patient().with_max_bytes(1000));
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    client.send("s..");
    assert_eq!(read_slowly(&client), ANSWER);
    send_until_closed(&client, &".".repeat(100));
    running.close();
}

#[test]
fn of_too_many_lingering_connections_the_oldest_are_closed() {
    let server = layers().bind().unwrap();
    server
        .handle()
        .set_lingering(patient().with_max_connections(2));
    let running = RunningServer::start(server);
    let clients = Vec::from_iter((0..4).map(|_| {
        let client = StreamClient::connect(&running.address());
        client.send("s..");
        assert_eq!(read_slowly(&client), ANSWER);
        client
    }));
    for oldest in &clients[..2] {
        send_until_closed(oldest, ".");
    }
    for youngest in &clients[2..] {
        youngest.send(".");
        assert!(youngest.socket().take_error().unwrap().is_none());
    }
    drop(clients);
    running.close();
}

#[test]
fn without_lingering_a_connection_is_closed_at_once() {
    let server = layers().bind().unwrap();
    server.handle().set_lingering(Lingering::none());
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    client.send("s..");
    let mut bytes = Vec::new();
    // The answer may arrive in part.
    let _ = client.socket().read_to_end(&mut bytes);
    send_until_closed(&client, ".");
    assert_eq!(running.close().lingered, 0);
}

#[test]
fn a_drain_waits_for_lingering_connections_and_reports_them() {
    let running = serve(layers().mix_in(ThreadingMixIn::new).bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("s..");
    assert_eq!(read_slowly(&client), ANSWER);
    let server = running.stop();
    let closing = std::thread::spawn(move || server.server_close());
    client.send("more");
    client.finish_sending();
    let report = closing.join().unwrap();
    assert_eq!((report.lingered, report.running), (1, 0), "{report}");
    assert!(report.to_string().ends_with(", 1 lingered"), "{report}");
}

#[test]
fn the_drain_timeout_ends_lingering() {
    for daemon in [false, true] {
        let layers = layers().mix_in(ThreadingMixIn::new).daemon_threads(daemon);
        let running = serve(layers.bind().unwrap());
        let client = StreamClient::connect(&running.address());
        client.send("s..");
        assert_eq!(read_slowly(&client), ANSWER);
        let server = running.stop();
        server.set_drain_timeout(Some(Duration::from_millis(10)));
        let report = server.server_close();
        assert_eq!(report.lingered, 1);
        send_until_closed(&client, ".");
    }
}

/// Refuses every client, before or after the thread has it.
struct Refusing<S> {
    next: S,
    verifies: bool,
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Refusing<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        if !self.verifies {
            let _ = request.write_all(b"not you");
        }
        self.verifies
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        request.write_all(b"not you")?;
        Ok(Preparation::Refused)
    }
}

/// The client has sent its whole message, in part after the refusal, and reads the refusal and the
/// end.
fn is_refused(running: &RunningServer<impl BaseServer>) {
    for length in [0, 10, 100_000, 900_000] {
        let mut client = StreamClient::connect(&running.address());
        client.send(&"x".repeat(length));
        client.socket().shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.socket().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "not you", "{length} bytes sent");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_refused_client_that_still_sends_reads_why_it_is_refused() {
    let server = layers().bind().unwrap();
    let limits = Limits::none()
        .with_max_connections(0)
        .refuse_with("not you");
    server.handle().set_limits(limits);
    let running = serve(server);
    is_refused(&running);
    running.close();
    for verifies in [false, true] {
        let layers = layers().mix_in(|next| Refusing { next, verifies });
        let running = serve(layers.bind().unwrap());
        is_refused(&running);
        running.close();
    }
}

#[test]
fn a_line_that_is_read_to_its_end_leaves_nothing_to_linger_for() {
    let factory = stream_handler(|request: &mut StreamRequest| {
        let mut line = String::new();
        request.read_line(&mut line)?;
        Ok(request.write_all(line.as_bytes())?)
    });
    let running = serve(TcpServer::bind(LOOPBACK, factory).unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    // The client is still there, and has not ended its side.
    assert_eq!(running.close().lingered, 0);
}

/// A stream that changes every byte on its way, as encryption does.
#[derive(Debug)]
struct Changed(Box<dyn Stream>);

impl_stream_of_inner!(Changed);

impl Read for Changed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= 1);
        Ok(count)
    }
}

impl Write for Changed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let changed = Vec::from_iter(bytes.iter().map(|byte| byte ^ 1));
        self.0.write(&changed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Puts [`Changed`] around the stream of every connection.
struct Changing<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Changing<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        request.map_stream(|inner| Box::new(Changed(inner)));
        self.0.prepare_request(request)
    }
}

#[test]
fn unread_bytes_do_not_destroy_an_answer_through_a_layer_that_changes_the_bytes() {
    let running = serve(layers().mix_in(Changing).bind().unwrap());
    for unread in UNREAD {
        let client = StreamClient::connect(&running.address());
        // "r" is changed to "s".
        let sending = send_in_background(&client, [b"r", &*vec![b'.'; unread]].concat());
        assert_eq!(read_slowly(&client), ANSWER, "{unread} bytes unread");
        sending.join().unwrap();
    }
    running.close();
}
