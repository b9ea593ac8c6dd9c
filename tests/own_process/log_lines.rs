//! What the log has about clients, and how much of it.
//!
//! The logger is that of the whole process.

use std::io::{self, Write};
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use socketserver::layer::{GetRequestError, RequestOf};
use socketserver::{BaseServer, HandlerFactory, MixIn, Serve, StreamRequest, TcpServer, UdpServer};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::running_server::{RunningServer, close};
use support::services::{datagram_handler, read_line, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Keeps every line.
struct Keeper;

impl Log for Keeper {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        LINES.lock().unwrap().push((record.level(), line));
    }

    fn flush(&self) {}
}

fn keep_lines() {
    log::set_logger(&Keeper).unwrap();
    log::set_max_level(LevelFilter::Trace);
}

/// The lines of this level since the last call that end as `end`.
fn lines(level: Level, end: &str) -> Vec<String> {
    let lines = std::mem::take(&mut *LINES.lock().unwrap());
    let matching = lines
        .into_iter()
        .filter(|(of, line)| *of == level && line.ends_with(end));
    matching.map(|(_, line)| line).collect()
}

/// A server whose handler fails with the client's line as its error, or answers "well".
fn failing() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    let factory = stream_handler(|request| match &*read_line(request)? {
        "well" => Ok(request.write_all(b"well")?),
        error => Err(error.into()),
    });
    TcpServer::new(LOOPBACK, factory)
}

/// Lets a request fail with `error`, and returns the client's address.
fn fail<S: BaseServer>(running: &RunningServer<S>, error: &str) -> String {
    let mut client = StreamClient::connect(&running.address());
    let name = client.socket().local_addr().unwrap().as_socket().unwrap();
    client.send(&format!("{error}\n"));
    client.wait_for_close();
    name.to_string()
}

#[test]
fn a_line_about_a_client_names_the_server_while_there_is_more_than_one() {
    alone(|| {
        keep_lines();
        let first = RunningServer::start(failing().bind().unwrap());
        let client = fail(&first, "alone");
        assert_eq!(lines(Level::Error, "alone"), [format!("{client}: alone")]);

        let second = RunningServer::start(failing().bind().unwrap());
        for running in [&first, &second] {
            let client = fail(running, "one of two");
            let server = running.address();
            let expected = format!("{client} at {server}: one of two");
            assert_eq!(lines(Level::Error, "one of two"), [expected]);
        }

        second.close();
        let client = fail(&first, "alone");
        assert_eq!(lines(Level::Error, "alone"), [format!("{client}: alone")]);
        first.close();
    });
}

/// Refuses every client.
struct Closed<S>(S);

impl<S: BaseServer> MixIn for Closed<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, _: &mut RequestOf<Self>) -> bool {
        false
    }
}

#[test]
fn of_a_flood_of_bad_datagrams_ten_lines_are_errors_and_the_close_has_the_count_of_the_others() {
    alone(|| {
        keep_lines();
        let factory = datagram_handler(|request| {
            let packet = String::from_utf8_lossy(request.packet()).into_owned();
            Err(packet.into())
        });
        let server = UdpServer::new(LOOPBACK, factory).bind().unwrap();
        let client = DatagramClient::connect(&server.server_address());
        for number in 1..=30 {
            client.send(format!("bad byte {number}").as_bytes());
            server.handle_request().unwrap();
        }
        client.send(b"another fault");
        server.handle_request().unwrap();
        let address = server.server_address();
        close(server);

        let lines = std::mem::take(&mut *LINES.lock().unwrap());
        let at = |level, text: &str| {
            let found = |(of, line): &&(Level, String)| *of == level && line.contains(text);
            lines.iter().filter(found).count()
        };
        assert_eq!(at(Level::Error, ": bad byte "), 10 + 1);
        assert_eq!(at(Level::Debug, ": bad byte "), 20);
        assert_eq!(at(Level::Error, ": another fault"), 1);
        let expected = format!("{address}: 20 more, logged at level debug: bad byte 30");
        assert!(lines.contains(&(Level::Error, expected)), "{lines:#?}");
    });
}

#[test]
fn of_a_flood_of_refused_clients_ten_lines_are_information_and_the_close_has_the_count() {
    alone(|| {
        keep_lines();
        let server = failing().mix_in(Closed).bind().unwrap();
        for _ in 0..15 {
            let mut client = StreamClient::connect(&server.server_address());
            server.handle_request().unwrap();
            client.wait_for_close();
        }
        let address = server.server_address();
        close(server);
        let refused = lines(Level::Info, "refused: not verified");
        assert_eq!(refused.len(), 10 + 1, "{refused:#?}");
        let expected = format!("{address}: 5 more, logged at level debug: refused: not verified");
        assert_eq!(refused[10], expected);
    });
}

/// Fails for the first client as `error` prescribes, and accepts the others.
struct NoAgreement<S> {
    next: S,
    error: Mutex<Option<GetRequestError>>,
}

impl<S: BaseServer> MixIn for NoAgreement<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        let request = self.next.get_request()?;
        let error = self.error.lock().unwrap().take();
        error.map_or(Ok(request), Err)
    }
}

#[test]
fn an_error_that_get_request_of_a_layer_has_made_is_logged_with_its_text_and_the_loop_goes_on() {
    alone(|| {
        keep_lines();
        let made = || io::Error::other("no agreement");
        for error in [made().into(), GetRequestError::Retry(made())] {
            let layers = failing().mix_in(|next| NoAgreement {
                next,
                error: Mutex::new(Some(error)),
            });
            let running = RunningServer::start(layers.bind().unwrap());
            StreamClient::connect(&running.address()).wait_for_close();
            let mut client = StreamClient::connect(&running.address());
            client.send("well\n");
            assert_eq!(client.rest(), b"well");
            let server = running.address();
            running.close();
            let expected = format!("{server}: get_request has failed: no agreement");
            let lines = std::mem::take(&mut *LINES.lock().unwrap());
            let visible = lines.into_iter().filter(|(level, _)| *level <= Level::Info);
            assert_eq!(Vec::from_iter(visible), [(Level::Error, expected)]);
        }
    });
}

/// Answers each line with the line. The line "database" is the reset of another connection.
fn answering() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    let factory = stream_handler(|request| {
        while request.wait()? {
            match &*read_line(request)? {
                "database" => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                "large" => request.write_all(&vec![b'x'; 1 << 26])?,
                line => request.write_all(line.as_bytes())?,
            }
        }
        Ok(())
    });
    TcpServer::new(LOOPBACK, factory)
}

/// The levels of the lines about the end of a client that leaves in this way.
fn levels_after(leave: impl FnOnce(StreamClient)) -> Vec<Level> {
    let server = answering().bind().unwrap();
    let client = StreamClient::connect(&server.server_address());
    let leaving = client.socket().local_addr().unwrap().as_socket().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.handle_request().unwrap());
        leave(client);
    });
    close(server);
    let lines = std::mem::take(&mut *LINES.lock().unwrap());
    let about = format!("{leaving}: ");
    let errors = lines.into_iter().filter_map(|(level, line)| {
        let text = line.strip_prefix(&about)?.to_owned();
        let is_event = text.starts_with("accepted") || text.contains(" after ");
        (!is_event).then_some(level)
    });
    errors.collect()
}

#[test]
fn a_client_that_leaves_is_no_error_and_between_two_messages_no_line_at_level_info() {
    alone(|| {
        keep_lines();
        assert_eq!(levels_after(drop), [Level::Error; 0]);
        assert_eq!(levels_after(StreamClient::reset), [Level::Debug]);
        let after_an_answer = |mut client: StreamClient| {
            client.send("hello\n");
            assert_eq!(client.receive_exactly(5), b"hello");
            client.reset();
        };
        assert_eq!(levels_after(after_an_answer), [Level::Debug]);
        let within_a_message = |client: StreamClient| {
            client.send("hel");
            client.reset();
        };
        assert_eq!(levels_after(within_a_message), [Level::Info]);
        let within_an_answer = |mut client: StreamClient| {
            client.send("large\n");
            client.receive_exactly(100);
            client.reset();
        };
        assert_eq!(levels_after(within_an_answer), [Level::Info]);
    });
}

#[test]
fn the_reset_of_another_connection_is_an_error_as_long_as_the_client_is_there() {
    alone(|| {
        keep_lines();
        let stays = |mut client: StreamClient| {
            client.send("database\n");
            client.wait_for_close();
        };
        assert_eq!(levels_after(stays), [Level::Error]);
    });
}
