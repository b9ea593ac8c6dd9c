//! Where the system gives no thread, the one client is closed, and the server serves on.

use socketserver::{
    Error, Serve, TcpServer, ThreadPoolMixIn, ThreadPoolTcpServer, ThreadingMixIn, UdpServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::descriptors;
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::task_limit::{
    ErrorReports, NoMoreTasks, answer_lines, drop_privileges,
    only_connections_without_a_task_are_closed, only_datagrams_without_a_task_fail,
};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_connection_for_which_there_is_no_thread_is_closed_and_others_go_on() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer_lines))
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot start a thread for the request";
        only_connections_without_a_task_are_closed(layers, &mut reports, reason, 0);
    });
}

#[test]
fn a_datagram_for_which_there_is_no_thread_has_failed_and_the_next_is_answered() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = UdpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot start a thread for the request";
        only_datagrams_without_a_task_fail(layers, &mut reports, reason);
    });
}

#[test]
fn a_pool_for_which_there_are_no_threads_cannot_be_made_and_leaves_nothing() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let before = descriptors();
        let none = NoMoreTasks::begin();
        let made = ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default);
        drop(none);
        match made {
            Err(Error::Activate {
                address, source, ..
            }) => {
                assert!(address.to_string().starts_with("127.0.0.1:"), "{address}");
                assert!(source.to_string().contains("workers"), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(descriptors(), before);
        let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(ThreadPoolMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        // A pool has all of its threads from the beginning.
        let none = NoMoreTasks::begin();
        for _ in 0..20 {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        drop(none);
        assert_eq!(running.close().running, 0);
    });
}
