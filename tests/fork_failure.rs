//! Where the system gives no process, the one client is closed, and the server serves on.

mod clients;
mod own_process;
mod processes;
mod reports;
mod running_server;
mod services;
mod task_limit;

use std::io::Write;

use clients::{DatagramClient, StreamClient};
use own_process::alone;
use processes::children;
use reports::reports;
use running_server::RunningServer;
use services::{EchoLine, read_line, stream_handler};
use socketserver::{
    BaseServer, ForkingMixIn, HandlerResult, Statistics, StreamRequest, TcpServer, UdpServer,
};
use task_limit::{ErrorReports, NoMoreTasks, drop_privileges};

const LOOPBACK: &str = "127.0.0.1:0";

/// Answers lines until the client has sent the last.
fn answer_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait()? {
        let line = read_line(request)?;
        writeln!(request, "{line}")?;
    }
    Ok(())
}

#[test]
fn a_connection_for_which_there_is_no_process_is_closed_and_others_go_on() {
    if !alone("a_connection_for_which_there_is_no_process_is_closed_and_others_go_on")
        || !drop_privileges()
    {
        return;
    }
    let (reporter, mut reports) = reports();
    let layers = TcpServer::new(LOOPBACK, stream_handler(answer_lines))
        .mix_in(ForkingMixIn::new)
        .mix_in(|next| ErrorReports::new(next, reporter));
    let running = RunningServer::start(layers.bind().unwrap());
    let mut early = StreamClient::connect(&running.address());
    early.send("hello\n");
    assert_eq!(early.line(), "hello");
    let none = NoMoreTasks::begin();
    for _ in 0..3 {
        let mut client = StreamClient::connect(&running.address());
        let name = client.socket().local_addr().unwrap().as_socket().unwrap();
        client.wait_for_close();
        let report = reports.next();
        let expected = format!("{name}: cannot fork a child for the request: ");
        assert!(report.starts_with(&expected), "{report}");
        early.send("still here\n");
        assert_eq!(early.line(), "still here");
    }
    assert_eq!(children().len(), 1);
    drop(none);
    let mut late = StreamClient::connect(&running.address());
    late.send("hello\n");
    assert_eq!(late.line(), "hello");
    for client in [&mut early, &mut late] {
        client.finish_sending();
        assert_eq!(client.rest(), b"");
    }
    let handle = running.handle();
    assert_eq!(running.close().running, 0);
    let Statistics {
        accepted,
        finished,
        failed,
        active,
        ..
    } = handle.statistics();
    assert_eq!((accepted, finished, failed, active), (5, 2, 3, 0));
    assert_eq!(children(), [0; 0]);
    assert_eq!(reports.so_far(), [""; 0]);
}

#[test]
fn a_datagram_for_which_there_is_no_process_has_failed_and_the_next_is_answered() {
    if !alone("a_datagram_for_which_there_is_no_process_has_failed_and_the_next_is_answered")
        || !drop_privileges()
    {
        return;
    }
    let (reporter, mut reports) = reports();
    let layers = UdpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ForkingMixIn::new)
        .mix_in(|next| ErrorReports::new(next, reporter));
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    let name = client.socket().local_addr().unwrap().as_socket().unwrap();
    let none = NoMoreTasks::begin();
    client.send(b"lost");
    let report = reports.next();
    let expected = format!("{name}: cannot fork a child for the request: ");
    assert!(report.starts_with(&expected), "{report}");
    drop(none);
    client.send(b"answered");
    assert_eq!(client.receive(), b"answered");
    let handle = running.handle();
    running.close();
    let Statistics {
        accepted,
        finished,
        failed,
        active,
        ..
    } = handle.statistics();
    assert_eq!((accepted, finished, failed, active), (2, 1, 1, 0));
    assert_eq!(children(), [0; 0]);
}
