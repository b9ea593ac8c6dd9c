//! Clients that leave in disorder cost the server nothing.

mod clients;
mod reports;
mod running_server;
mod services;

use std::io::Write;

use clients::StreamClient;
use reports::{gate, reports};
use running_server::{RunningServer, close};
use services::{EchoLine, read_line, stream_handler};
use socketserver::{
    BaseServer, Server, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UnixStreamServer,
};

const LOOPBACK: &str = "127.0.0.1:0";

fn survives_resets_in_its_queue<S: BaseServer>(server: Server<S>) {
    let address = server.server_address();
    for number in 0..20 {
        let client = StreamClient::connect(&address);
        if number % 2 == 0 {
            client.send("never answered\n");
        }
        client.reset();
    }
    let mut client = StreamClient::connect(&address);
    client.send("patient\n");
    // All of them are in the queue before the first is accepted.
    let running = RunningServer::start(server);
    assert_eq!(client.rest(), b"patient\n");
    assert_eq!(running.close().running, 0);
}

#[test]
fn the_loop_survives_clients_that_reset_before_they_are_accepted() {
    let layer = || TcpServer::new(LOOPBACK, EchoLine::default);
    survives_resets_in_its_queue(layer().bind().unwrap());
    survives_resets_in_its_queue(layer().mix_in(ThreadingMixIn::new).bind().unwrap());
    survives_resets_in_its_queue(layer().mix_in(ThreadPoolMixIn::new).bind().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    survives_resets_in_its_queue(
        UnixStreamServer::new(path, EchoLine::default)
            .bind()
            .unwrap(),
    );
}

#[test]
fn a_client_that_resets_while_it_is_served_is_an_error_of_its_handler_alone() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        if read_line(request)? == "reset" {
            gate.pass();
            let error = read_line(request).unwrap_err();
            reporter.say(format_args!("{:?}", error.kind()));
            return Err(error.into());
        }
        Ok(request.write_all(b"unharmed")?)
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("reset\n");
    client.reset();
    key.let_pass(1);
    assert_eq!(reports.next(), "ConnectionReset");
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"unharmed");
    running.close();
}

#[test]
fn a_client_that_resets_before_its_answer_is_sent_does_not_end_the_server() {
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        read_line(request)?;
        gate.pass();
        Ok(request.write_all(&[b'x'; 100_000])?)
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    let client = StreamClient::connect(&server.server_address());
    client.send("big\n");
    client.reset();
    key.let_pass(1);
    server.handle_request().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    client.send("big\n");
    key.let_pass(1);
    let running = RunningServer::start(server);
    assert_eq!(client.rest().len(), 100_000);
    close(running.stop());
}
