//! After 10,000 short connections a program has what it had before them.
//!
//! The test counts what the whole process has. Of the connections 1,000 are over a
//! forking server, where each costs a process, and the rest over the mix-ins with threads.

use socketserver::{
    BaseServer, ForkingTcpServer, ReactorTcpServer, Server, ThreadPoolTcpServer,
    ThreadingTcpServer, ThreadingUnixStreamServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{children, descriptors, threads};
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";
const CLIENTS: usize = 8;

/// Whether connections can be reset: where a child has a copy of the client's descriptor as well, a
/// close is none.
const THREADS: bool = true;
const FORKING: bool = false;

/// Makes the connections, several at a time, of which some end in other ways than they should.
fn connect_and_leave<S: BaseServer>(server: Server<S>, connections: usize, resets: bool) {
    let running = RunningServer::start(server);
    let address = &running.address();
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            scope.spawn(move || {
                for number in (first..connections).step_by(CLIENTS) {
                    let mut client = StreamClient::connect(address);
                    match number % 20 {
                        0 => {}
                        1 => client.send("unfinished"),
                        2 if resets => client.reset(),
                        _ => {
                            client.send("hello\n");
                            assert_eq!(client.rest(), b"hello\n");
                        }
                    }
                }
            });
        }
    });
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
}

#[test]
fn nothing_is_left_after_ten_thousand_short_connections() {
    alone(|| {
        // Before any was started: one that has been joined is still listed for a moment.
        let threads_before = threads();
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        // The first server registers the signal of a child's end, which stays for the next one.
        connect_and_leave(
            ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            1,
            FORKING,
        );
        let descriptors_before = descriptors();

        connect_and_leave(
            ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            1_000,
            FORKING,
        );
        assert_eq!(children(), [0; 0]);
        connect_and_leave(
            ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ReactorTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ThreadingUnixStreamServer::bind(path, EchoLine::default).unwrap(),
            1_000,
            THREADS,
        );

        assert_eq!(descriptors(), descriptors_before);
        eventually("all threads have ended", || threads() == threads_before);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_server_whose_connections_have_lingered_keeps_no_descriptor() {
    alone(|| {
        // The connection of a handler that fails lingers.
        let factory = stream_handler(|_| Err("fails".into()));
        let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
        let before = descriptors();
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"");
        drop(client);
        eventually("no descriptor is left", || descriptors() == before);
        assert_eq!(running.close().running, 0);
    });
}
