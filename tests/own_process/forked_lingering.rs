//! A forked child, and the parent that refuses clients, close no connection that a reset would
//! destroy.

use std::io::{Read, Write};

use socketserver::{
    ForkingMixIn, HandlerResult, Limits, Lingering, Serve, StreamRequest, TcpServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::children;
use support::running_server::RunningServer;
use support::services::{silent_panic, stream_handler};
use support::waiting::{LIMIT, eventually};

const LOOPBACK: &str = "127.0.0.1:0";
const ANSWER: usize = 1 << 20;

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

#[test]
fn a_child_drops_what_its_client_still_sends_and_ends() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer)).mix_in(ForkingMixIn::new);
        let server = layers.bind().unwrap();
        server
            .handle()
            .set_lingering(Lingering::default().with_timeout(LIMIT));
        let running = RunningServer::start(server);
        for how in ["s", "e", "p"] {
            for unread in [0, 2, 10_000, 1_000_000] {
                let mut client = StreamClient::connect(&running.address());
                let sending = client.socket().try_clone().unwrap();
                let bytes = [how.as_bytes(), &vec![b'.'; unread]].concat();
                let sending = std::thread::spawn(move || (&sending).write_all(&bytes).unwrap());
                assert_eq!(client.rest().len(), ANSWER, "{how}, {unread} bytes unread");
                sending.join().unwrap();
            }
        }
        eventually("every child has ended", || children().is_empty());
        running.close();
    });
}

#[test]
fn the_parent_refuses_a_client_that_still_sends_with_the_message_and_the_end() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer)).mix_in(ForkingMixIn::new);
        let server = layers.bind().unwrap();
        let limits = Limits::none().with_max_connections(0).refuse_with("busy");
        server.handle().set_limits(limits);
        let running = RunningServer::start(server);
        let mut client = StreamClient::connect(&running.address());
        client.send(&"x".repeat(900_000));
        client.finish_sending();
        assert_eq!(client.rest(), b"busy");
        running.close();
    });
}
