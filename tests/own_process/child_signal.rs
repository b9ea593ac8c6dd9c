//! `SIGCHLD` in a program with a forking server: the program's action and mask are its own.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use socketserver::{ForkingTcpServer, HandlerResult, StreamRequest};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::children;
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: nix::libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// Sets the action for the signal, and returns the former one.
#[allow(unsafe_code)]
fn set_action(handler: SigHandler) -> SigHandler {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `count`, the only function that is passed, increments an atomic.
    unsafe { sigaction(Signal::SIGCHLD, &action) }
        .unwrap()
        .handler()
}

/// The action is the program's own.
fn assert_counts(action: SigHandler) {
    let is_own = match action {
        SigHandler::Handler(action) => action as usize == count as *const () as usize,
        _ => false,
    };
    assert!(is_own, "{action:?}");
}

fn serve_one(running: &RunningServer<socketserver::ForkingMixIn<impl socketserver::BaseServer>>) {
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
}

#[test]
fn a_program_that_ignores_the_signal_has_no_zombies_and_still_ignores_it_afterwards() {
    alone(|| {
        set_action(SigHandler::SigIgn);
        let helper = || drop(Command::new("true").spawn().unwrap());
        let servers = [(); 2].map(|()| {
            let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
            RunningServer::start(server)
        });
        for _ in 0..20 {
            helper();
            servers.iter().for_each(serve_one);
        }
        eventually("the system collects all", || children().is_empty());
        for running in servers {
            eventually("the loop notices", || {
                running.handle().statistics().finished == 20
            });
            running.close();
            helper();
        }
        eventually("the system collects all", || children().is_empty());
        let last = set_action(SigHandler::SigDfl);
        assert!(matches!(last, SigHandler::SigIgn), "{last:?}");
    });
}

#[test]
fn the_program_s_own_action_is_called_and_stays_also_if_it_is_set_while_servers_are_open() {
    alone(|| {
        let before = SigHandler::Handler(count);
        set_action(before);
        let start = || {
            let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
            RunningServer::start(server)
        };
        let one = start();
        let other = start();
        serve_one(&one);
        eventually("the action is called", || SIGNALS.load(SeqCst) > 0);
        assert_counts(set_action(SigHandler::SigDfl));
        serve_one(&other);
        eventually("it is collected", || {
            other.handle().statistics().finished == 1
        });
        one.close();
        set_action(before);
        serve_one(&other);
        other.close();
        assert_counts(set_action(before));
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn an_idle_loop_collects_a_child_although_the_signal_is_blocked() {
    // All threads inherit the mask, the loop's among them.
    SigSet::from(Signal::SIGCHLD).thread_block().unwrap();
    alone(|| {
        SigSet::from(Signal::SIGCHLD).thread_block().unwrap();
        let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let running = RunningServer::start(server);
        for _ in 0..20 {
            serve_one(&running);
            eventually("the loop collects it", || children().is_empty());
        }
        running.close();
    });
    SigSet::from(Signal::SIGCHLD).thread_unblock().unwrap();
}

#[test]
fn a_child_of_the_program_is_left_to_the_program() {
    alone(|| {
        let running =
            RunningServer::start(ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
        let mut own = Command::new("true").spawn().unwrap();
        let own_pid = i32::try_from(own.id()).unwrap();
        for _ in 0..10 {
            serve_one(&running);
        }
        eventually("the server's children are collected", || {
            children() == [own_pid]
        });
        running.close();
        assert!(own.wait().unwrap().success());
    });
}

/// Answers with the descriptors that are listening or bound sockets of the program.
fn list_ports(request: &mut StreamRequest) -> HandlerResult {
    use std::io::Write;
    let mut own = 0;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let descriptor: i32 = name.to_str().unwrap_or("").parse()?;
        let accepts = nix::sys::socket::getsockopt(
            &borrow(descriptor),
            nix::sys::socket::sockopt::AcceptConn,
        );
        own += usize::from(accepts == Ok(true));
    }
    Ok(writeln!(request, "{own} listening sockets")?)
}

#[allow(unsafe_code)]
fn borrow(descriptor: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: the forked child has one thread, which closes no descriptor meanwhile but that of
    // the directory; a call on a closed descriptor fails with EBADF.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) }
}

#[test]
fn a_child_holds_no_listening_socket_of_any_server() {
    use socketserver::{Serve, TcpServer, ThreadingTcpServer, UnixStreamServer};
    alone(|| {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let _plain = TcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let _threading = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let _unix = UnixStreamServer::new(&path, EchoLine::default)
            .bind()
            .unwrap();
        let _forking = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let running = RunningServer::start(
            ForkingTcpServer::bind(LOOPBACK, stream_handler(list_ports)).unwrap(),
        );
        let client = StreamClient::connect(&running.address());
        let mut client = client;
        assert_eq!(client.rest(), b"0 listening sockets\n");
        running.close();
    });
}
