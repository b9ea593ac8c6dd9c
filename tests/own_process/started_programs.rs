//! A handler that starts a program, which has a copy of the connection.

use std::io::Write;
use std::process::{Command, Stdio};

use socketserver::{Serve, TcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::reports::gate;
use support::running_server::RunningServer;
use support::services::stream_handler;

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_process_that_the_handler_started_does_not_hold_the_connection_open() {
    alone(|| {
        let (gate, key) = gate();
        // The program's standard output is a copy of the connection, as a CGI program's would be.
        let factory = stream_handler(move |request| {
            let socket = request
                .socket()
                .ok_or("no descriptor")?
                .try_clone_to_owned()?;
            let mut child = Command::new("sh")
                .args(["-c", "read line"])
                .stdin(Stdio::piped())
                .stdout(socket)
                .spawn()?;
            request.write_all(b"in the background\n")?;
            let gate = gate.clone();
            std::thread::spawn(move || {
                gate.pass();
                drop(child.stdin.take());
                child.wait()
            });
            Ok(())
        });
        let running = RunningServer::start(TcpServer::new(LOOPBACK, factory).bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(client.rest(), b"in the background\n");
        key.let_pass(1);
        running.close();
    });
}
