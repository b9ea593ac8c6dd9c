//! The PROXY protocol in forked children and under a reactor, and what the log has of it.

use std::io::Write;

use socketserver::{ForkingMixIn, Limits, ProxyProtocolMixIn, ReactorMixIn, Serve, TcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{children, threads};
use support::proxies::{BLOCK, LINE, LOCAL, address_echo, line_for};
use support::running_server::RunningServer;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn with_children_the_handler_sees_the_real_client_and_a_slow_header_holds_up_nobody() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, address_echo()).mix_in(ForkingMixIn::new);
        let layers = layers.mix_in(ProxyProtocolMixIn::new);
        let server = layers.trust("127.0.0.1".parse().unwrap()).bind().unwrap();
        // For a connection of the proxy itself; its clients are not bounded.
        let limits = Limits::none().with_max_connections_per_address(1);
        server.handle().set_limits(limits);
        let running = RunningServer::start(server);
        let mut slow = StreamClient::connect(&running.address());
        for byte in BLOCK {
            slow.socket().write_all(&[*byte]).unwrap();
            if *byte == b'.' {
                let mut quick = StreamClient::connect(&running.address());
                quick.send(&format!("{LINE}hello\n"));
                assert_eq!(quick.line(), "192.0.2.7:1000 127.0.0.1 hello");
            }
        }
        slow.send("hello\n");
        assert_eq!(slow.line(), "192.0.2.7:1000 127.0.0.1 hello");
        drop(slow);
        running.close();
        assert_eq!(children(), []);
    });
}

#[test]
fn with_children_a_health_check_counts_as_finished_and_a_broken_header_as_failed() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, address_echo()).mix_in(ForkingMixIn::new);
        let layers = layers.mix_in(ProxyProtocolMixIn::new);
        let server = layers.trust("127.0.0.1".parse().unwrap()).bind().unwrap();
        let running = RunningServer::start(server);
        let handle = running.handle();
        let check = StreamClient::connect(&running.address());
        let own = check.socket().local_addr().unwrap().as_socket().unwrap();
        check.send(&line_for(&own.into()));
        drop(check);
        let check = StreamClient::connect(&running.address());
        check.socket().write_all(LOCAL).unwrap();
        drop(check);
        eventually("the children are collected", || {
            handle.statistics().finished == 2
        });
        let mut broken = StreamClient::connect(&running.address());
        broken.send("PROXY\n");
        broken.wait_for_close();
        eventually("the child is collected", || handle.statistics().failed == 1);
        running.close();
        assert_eq!(handle.statistics().finished, 2);
    });
}

#[test]
fn under_a_reactor_slow_headers_and_silent_checks_hold_no_thread() {
    alone(|| {
        let before = threads();
        let layers = TcpServer::new(LOOPBACK, address_echo()).mix_in(ReactorMixIn::new);
        let layers = layers.mix_in(ProxyProtocolMixIn::new);
        let layers = layers.trust("127.0.0.1".parse().unwrap());
        let running = RunningServer::start(layers.header_timeout(None).bind().unwrap());
        let connect = |sent: &[u8]| {
            let client = StreamClient::connect(&running.address());
            client.socket().write_all(sent).unwrap();
            client
        };
        let mut slow = Vec::from_iter((0..150).map(|_| connect(&BLOCK[..20])));
        let silent = Vec::from_iter((0..150).map(|_| connect(b"")));
        let checks = Vec::from_iter((0..150).map(|_| connect(LOCAL)));
        let handle = running.handle();
        eventually("all wait", || handle.statistics().idle == 450);
        // Two that serve in turn, the sentinel, one that is spare, and the loop.
        eventually("few threads are left", || threads() <= before + 5);
        for client in &mut slow {
            client.socket().write_all(&BLOCK[20..]).unwrap();
            client.send("hello\n");
            assert_eq!(client.line(), "192.0.2.7:1000 127.0.0.1 hello");
        }
        drop((silent, checks));
        eventually("the others have ended", || {
            handle.statistics().finished == 300
        });
        running.close();
        assert_eq!(handle.statistics().failed, 0);
    });
}
