//! A server with several addresses in forked processes: children of `ForkingMixIn`, and workers.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe, read, write};
use socketserver::{
    BaseServer, ForkingMixIn, ReactorMixIn, Serve, Server, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadingMixIn, UdpServer, handler_fn,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::processes::{children, descriptors};
use support::running_server::RunningServer;
use support::services::EchoLine;

/// Two addresses of every machine.
const BOTH: [&str; 2] = ["127.0.0.1:0", "127.0.0.2:0"];

#[test]
fn a_forking_server_serves_the_clients_of_each_address() {
    alone(|| {
        let tcp = TcpServer::new(BOTH, EchoLine::default).mix_in(ForkingMixIn::new);
        let tcp = tcp.bind().unwrap();
        let addresses = tcp.server_addresses();
        let running = RunningServer::start(tcp);
        for address in addresses.iter().chain(&addresses) {
            let mut client = StreamClient::connect(address);
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        running.close();

        let udp = UdpServer::new(BOTH, EchoLine::default).mix_in(ForkingMixIn::new);
        let udp = udp.bind().unwrap();
        let addresses = udp.server_addresses();
        let running = RunningServer::start(udp);
        for address in addresses.iter().chain(&addresses) {
            // Connected, so that an answer from another address would not arrive.
            let client = DatagramClient::connect(address);
            client.send(b"hello\n");
            assert_eq!(client.receive(), b"hello\n");
        }
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_has_no_copy_of_the_descriptor_that_is_readable_with_any_of_several_sockets() {
    alone(|| {
        let handler = |request: &mut StreamRequest| {
            // Reads a directory, which takes no lock of the test's threads.
            let open = fs::read_dir("/proc/self/fd")?.flatten();
            let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            let is_epoll = |link: &PathBuf| link.ends_with("anon_inode:[eventpoll]");
            Ok(write!(request, "{}", links.filter(is_epoll).count())?)
        };
        let counts = [vec![BOTH[0]], BOTH.to_vec()].map(|addresses| {
            let server = TcpServer::new(addresses, handler_fn(handler)).mix_in(ForkingMixIn::new);
            let running = RunningServer::start(server.bind().unwrap());
            let mut client = StreamClient::connect(&running.address());
            let count = String::from_utf8(client.rest()).unwrap();
            running.close();
            count
        });
        assert_eq!(counts[0], counts[1]);
    });
}

/// Closes a copy of the server in a forked process, and returns the number of descriptors that the
/// process then has more than before the server was made.
#[allow(unsafe_code)]
fn kept_by_a_worker<S: BaseServer>(before: usize, server: Server<S>) -> u8 {
    let (counted, count) = pipe().unwrap();
    // SAFETY: the test has this process for itself. No thread of it holds a lock at this time that
    // the child takes: the threads of the test harness wait for the test.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            drop(count);
            let mut byte = [u8::MAX];
            assert_eq!(read(&counted, &mut byte), Ok(1));
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            server.server_close();
            byte[0]
        }
        ForkResult::Child => {
            server.server_close();
            // The ends of the pipe are not the server's.
            let kept = descriptors() - before - 2;
            let _ = write(&count, &[u8::try_from(kept).unwrap()]);
            signal_hook::low_level::exit(0);
        }
    }
}

#[test]
fn a_worker_that_closes_its_copy_of_a_server_keeps_no_descriptor_of_it() {
    alone(|| {
        let before = descriptors();
        macro_rules! keeps_nothing {
            ($bottom:expr) => {
                for (name, kept) in [
                    ("none", kept_by_a_worker(before, $bottom.bind().unwrap())),
                    (
                        "threading",
                        kept_by_a_worker(
                            before,
                            $bottom.mix_in(ThreadingMixIn::new).bind().unwrap(),
                        ),
                    ),
                    (
                        "pool",
                        kept_by_a_worker(
                            before,
                            $bottom.mix_in(ThreadPoolMixIn::new).bind().unwrap(),
                        ),
                    ),
                    (
                        "forking",
                        kept_by_a_worker(before, $bottom.mix_in(ForkingMixIn::new).bind().unwrap()),
                    ),
                    (
                        "reactor",
                        kept_by_a_worker(before, $bottom.mix_in(ReactorMixIn::new).bind().unwrap()),
                    ),
                ] {
                    assert_eq!(kept, 0, "{name}");
                }
            };
        }
        keeps_nothing!(TcpServer::new(BOTH[0], EchoLine::default));
        keeps_nothing!(TcpServer::new(BOTH, EchoLine::default));
        keeps_nothing!(UdpServer::new(BOTH, EchoLine::default));
    });
}
