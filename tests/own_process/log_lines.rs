//! What the log has about clients, and how much of it.
//!
//! The logger is that of the whole process.

use std::io::Write;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use socketserver::{BaseServer, HandlerFactory, Serve, StreamRequest, TcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::RunningServer;
use support::services::{read_line, stream_handler};

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
