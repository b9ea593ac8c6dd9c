//! The files of Unix sockets: made, replaced, respected and removed.

use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{
    Address, BaseServer, Error, Serve, Server, UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, stream_handler};
use support::waiting::LIMIT;

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    (directory, path)
}

fn stream_server(path: &Path) -> Result<Server<impl BaseServer>, Error> {
    UnixStreamServer::new(path, EchoLine::default).bind()
}

fn datagram_server(path: &Path) -> Result<Server<impl BaseServer>, Error> {
    UnixDatagramServer::new(path, EchoLine::default).bind()
}

fn assert_serves_streams(server: Server<impl BaseServer>) {
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

fn assert_serves_datagrams(server: Server<impl BaseServer>) {
    let running = RunningServer::start(server);
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    running.close();
}

#[test]
fn the_file_is_there_while_the_server_is_and_removed_on_close() {
    let (_directory, path) = place();
    let server = stream_server(&path).unwrap();
    assert_eq!(server.server_address(), Address::Unix(path.clone()));
    assert_eq!(server.local_addr(), None);
    assert!(path.exists());
    assert_serves_streams(server);
    assert!(!path.exists());

    let server = datagram_server(&path).unwrap();
    assert!(path.exists());
    assert_serves_datagrams(server);
    assert!(!path.exists());
}

#[test]
fn the_file_is_removed_when_the_server_is_dropped() {
    let (_directory, path) = place();
    drop(stream_server(&path).unwrap());
    assert!(!path.exists());
    drop(datagram_server(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn a_file_that_nobody_listens_behind_is_replaced() {
    let (_directory, path) = place();
    // What a killed server leaves behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert_serves_streams(stream_server(&path).unwrap());

    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists());
    assert_serves_datagrams(datagram_server(&path).unwrap());

    // Of the other type as well.
    drop(UnixDatagram::bind(&path).unwrap());
    assert_serves_streams(stream_server(&path).unwrap());
}

#[test]
fn a_live_server_s_file_is_refused_and_stays() {
    fn assert_in_use(result: Result<Server<impl BaseServer>, Error>, path: &Path) {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(path.exists());
    }
    let (_directory, path) = place();
    let live = stream_server(&path).unwrap();
    assert_in_use(stream_server(&path), &path);
    assert_in_use(datagram_server(&path), &path);
    assert_serves_streams(live);

    let live = datagram_server(&path).unwrap();
    assert_in_use(stream_server(&path), &path);
    assert_in_use(datagram_server(&path), &path);
    assert_serves_datagrams(live);
}

#[test]
fn a_live_server_whose_queue_is_full_is_refused_as_well() {
    let (_directory, path) = place();
    let live = UnixStreamServer::new(&path, EchoLine::default)
        .request_queue_size(0)
        .bind()
        .unwrap();
    let _waiting = StreamClient::connect(&live.server_address());
    let error = stream_server(&path).unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    assert!(path.exists());
}

#[test]
fn asking_whether_a_server_is_live_costs_it_no_more_than_an_empty_connection() {
    let (_directory, path) = place();
    let running = RunningServer::start(stream_server(&path).unwrap());
    for _ in 0..5 {
        stream_server(&path).unwrap_err();
    }
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

#[test]
fn a_file_that_is_no_socket_stays_as_it_is() {
    let (_directory, path) = place();
    fs::write(&path, "precious").unwrap();
    for error in [
        stream_server(&path).map(drop).unwrap_err(),
        datagram_server(&path).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::SocketFile { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    stream_server(&path).map(drop).unwrap_err();
    assert!(path.is_dir());
}

#[test]
fn a_successor_s_file_is_not_removed() {
    let (_directory, path) = place();
    let first = stream_server(&path).unwrap();
    // As an administrator would do who believes the server to be dead.
    fs::remove_file(&path).unwrap();
    let second = stream_server(&path).unwrap();
    close(first);
    assert!(path.exists());
    assert_serves_streams(second);
    assert!(!path.exists());
}

#[test]
fn a_name_in_the_abstract_namespace_needs_no_file() {
    let name = format!("\0socketserver-test-{}", std::process::id());
    let server = stream_server(Path::new(&name)).unwrap();
    let printed = server.server_address().to_string();
    assert_eq!(printed, format!("unix:@{}", &name[1..]));
    let error = stream_server(Path::new(&name)).map(drop).unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&printed), "{error}");
    assert_serves_streams(server);
    assert_serves_datagrams(datagram_server(Path::new(&name)).unwrap());
}

#[test]
fn a_path_that_is_too_long_or_leads_nowhere_is_named_in_the_error() {
    let (directory, _) = place();
    let too_long = directory.path().join("x".repeat(200));
    let nowhere = directory.path().join("missing").join("socket");
    for path in [too_long, nowhere] {
        let error = stream_server(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

/// Tells each client its address as it prints.
fn who_am_i(path: &Path) -> Server<impl BaseServer + use<>> {
    let factory = stream_handler(|request| {
        let client = request.client_address().to_string();
        Ok(std::io::Write::write_all(request, client.as_bytes())?)
    });
    UnixStreamServer::new(path, factory).bind().unwrap()
}

#[test]
fn a_client_without_a_name_prints_as_unnamed_and_one_with_a_name_by_it() {
    let (_directory, path) = place();
    let running = RunningServer::start(who_am_i(&path));
    assert_eq!(
        StreamClient::connect(&running.address()).rest(),
        b"unix:unnamed"
    );
    running.close();
}

#[test]
fn a_client_s_name_prints_in_one_line_whatever_it_is() {
    let (directory, path) = place();
    let running = RunningServer::start(who_am_i(&path));
    let name = directory.path().join("a\n127.0.0.1:80: lie\r");
    let mut client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    client.bind(&SockAddr::unix(&name).unwrap()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
    let mut printed = String::new();
    client.read_to_string(&mut printed).unwrap();
    assert!(printed.starts_with("unix:/"), "{printed:?}");
    assert!(printed.contains("127.0.0.1:80: lie"), "{printed:?}");
    assert!(!printed.contains(char::is_control), "{printed:?}");
    running.close();
    // The program has it as it is.
    assert_eq!(Address::Unix(name.clone()).path(), Some(&*name));
}

const RACES: u32 = 200;

/// The results of two threads that bind to one path, and the path's number, for each race.
type Outcomes<S> = Vec<(u32, [Result<Server<S>, Error>; 2])>;

/// Runs `one` and `other` against each other, again and again.
fn race<S: BaseServer>(
    one: impl Fn(u32) -> Result<Server<S>, Error> + Send,
    other: impl Fn(u32) -> Result<Server<S>, Error>,
) -> Outcomes<S> {
    let ready = AtomicU32::new(0);
    let start = |number| {
        ready.fetch_add(1, SeqCst);
        // Not asleep, so that both go on at the same moment.
        while ready.load(SeqCst) < 2 * (number + 1) {
            std::thread::yield_now();
        }
        number
    };
    let (some, others): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let some = scope.spawn(|| (0..RACES).map(start).map(one).collect());
        let others = (0..RACES).map(start).map(other).collect();
        (some.join().unwrap(), others)
    });
    let outcomes = some.into_iter().zip(others);
    let outcomes = outcomes.map(|(one, other)| [one, other]);
    (0..).zip(outcomes).collect()
}

fn assert_one_has_it<S: BaseServer>(outcomes: Outcomes<S>, directory: &Path) {
    for (number, servers) in outcomes {
        let error = match &servers {
            [Ok(_), Err(error)] | [Err(error), Ok(_)] => error,
            both_or_neither => panic!("{both_or_neither:?}"),
        };
        assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
        assert!(directory.join(number.to_string()).exists());
    }
}

fn one_of_two_has_the_path<S: BaseServer>(is_stale: bool, layers: impl Fn(PathBuf) -> S + Sync) {
    let (directory, _) = place();
    let path = |number: u32| directory.path().join(number.to_string());
    if is_stale {
        (0..RACES).for_each(|number| drop(UnixListener::bind(path(number)).unwrap()));
    }
    let bind = |number| layers(path(number)).bind();
    assert_one_has_it(race(bind, bind), directory.path());
}

fn stream_layers(path: PathBuf) -> UnixStreamServer<fn() -> EchoLine> {
    UnixStreamServer::new(path, EchoLine::default)
}

fn datagram_layers(path: PathBuf) -> UnixDatagramServer<fn() -> EchoLine> {
    UnixDatagramServer::new(path, EchoLine::default)
}

#[test]
fn of_two_servers_that_start_at_once_one_has_the_path_and_the_other_learns_of_it() {
    for is_stale in [true, false] {
        one_of_two_has_the_path(is_stale, stream_layers);
        one_of_two_has_the_path(is_stale, datagram_layers);
    }
}

#[test]
fn a_server_that_is_bound_and_about_to_listen_is_not_taken_for_dead() {
    let (directory, _) = place();
    let path = |number: u32| directory.path().join(number.to_string());
    let (bound, is_bound) = channel();
    let bind_slowly = |number| {
        let server = stream_layers(path(number)).into_server()?;
        let result = server.server_bind();
        bound.send(()).unwrap();
        result?;
        // The other meets it at a different point each time.
        std::thread::sleep(Duration::from_micros(5) * number);
        server.server_activate()?;
        Ok(server)
    };
    let bind_after_it = |number| {
        is_bound.recv().unwrap();
        stream_layers(path(number)).bind()
    };
    assert_one_has_it(race(bind_slowly, bind_after_it), directory.path());
}
