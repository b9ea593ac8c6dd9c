//! TLS where a whole process counts: forked children, threads, descriptors, the log.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use socketserver::{
    BaseServer, ForkingMixIn, ReactorMixIn, Serve, StreamRequest, TcpServer, ThreadingMixIn,
    TlsConfig, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{children, descriptors, threads};
use support::running_server::RunningServer;
use support::services::{StartTls, TlsEcho};
use support::tls_clients::{TlsClients, VERSIONS};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";
const SHORT: Duration = Duration::from_millis(200);

fn localhost(authority: &Authority) -> TlsConfig {
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    options.load().unwrap()
}

/// Echoes in children.
fn forking(config: &TlsConfig) -> TlsMixIn<impl BaseServer<Request = StreamRequest>> {
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ForkingMixIn::new);
    layers.mix_in(|next| TlsMixIn::new(next, config.clone()))
}

#[test]
fn children_make_handshakes_and_resume_the_sessions_of_other_children() {
    alone(|| {
        let authority = Authority::new();
        let config = localhost(&authority);
        let layers = forking(&config);
        let running = RunningServer::start(layers.bind().unwrap());
        for (version, name) in VERSIONS {
            let clients = TlsClients::with(&authority, &[version], None);
            for number in 0..4 {
                let mut client = clients.connect(&running.address());
                let expected = format!("nobody for localhost, over {name}, none");
                assert_eq!(client.exchange("who"), expected);
                assert_eq!(client.is_resumed(), number > 0, "{name}, {number}");
                client.finish_sending();
                assert_eq!(client.rest().unwrap(), b"");
            }
        }
        // The layer inside of the forks does the same.
        running.close();
        let layers = TcpServer::new(LOOPBACK, || TlsEcho);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let server = layers.mix_in(ForkingMixIn::new).bind().unwrap();
        let running = RunningServer::start(server);
        let clients = TlsClients::new(&authority);
        for number in 0..3 {
            let mut client = clients.connect(&running.address());
            assert_eq!(client.exchange("hello"), "hello");
            assert_eq!(client.is_resumed(), number > 0);
        }
        running.close();
        assert_eq!(children(), []);
    });
}

#[test]
fn a_child_begins_the_encryption_in_the_middle_of_a_conversation() {
    alone(|| {
        let authority = Authority::new();
        let handler = StartTls(localhost(&authority));
        let server = TcpServer::new(LOOPBACK, move || handler.clone()).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(server.bind().unwrap());
        for (version, name) in VERSIONS {
            let mut plain = StreamClient::connect(&running.address());
            plain.send("hello\n");
            assert_eq!(plain.line(), "hello over plain");
            plain.send("STARTTLS\n");
            assert_eq!(plain.line(), "go ahead");
            let mut client = TlsClients::with(&authority, &[version], None).over(plain);
            assert_eq!(client.exchange("hello"), format!("hello over {name}"));
            client.finish_sending();
            assert_eq!(client.rest().unwrap(), b"");
        }
        let handle = running.handle();
        eventually("both have ended", || handle.statistics().finished == 2);
        running.close();
        assert_eq!(children(), []);
    });
}

#[test]
fn slow_handshakes_in_children_hold_up_nobody_and_end_in_time() {
    alone(|| {
        let authority = Authority::new();
        let config = localhost(&authority);
        let layers = forking(&config);
        let server = layers.handshake_timeout(Some(SHORT)).bind().unwrap();
        let running = RunningServer::start(server);
        let mut silent = StreamClient::connect(&running.address());
        let mut client = TlsClients::new(&authority).connect(&running.address());
        assert_eq!(client.exchange("hello"), "hello");
        silent.wait_for_close();
        let handle = running.handle();
        eventually("the client was late", || handle.statistics().timed_out == 1);
        // An idle client gets notice of the end, and counts as idle.
        let report = running.close();
        assert_eq!(client.rest().unwrap(), b"");
        assert_eq!((report.idle + report.ended, report.running), (1, 0));
    });
}

#[test]
fn files_are_loaded_again_in_another_thread_while_the_server_forks() {
    alone(|| {
        let authority = Authority::new();
        let config = localhost(&authority);
        let layers = forking(&config);
        let running = RunningServer::start(layers.bind().unwrap());
        let clients = TlsClients::new(&authority);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    config.reload().unwrap();
                }
            });
            for _ in 0..100 {
                let mut client = clients.connect(&running.address());
                assert_eq!(client.exchange("hello"), "hello");
            }
            stop.store(true, Relaxed);
        });
        running.close();
    });
}

#[test]
fn under_a_reactor_silent_handshakes_and_idle_clients_hold_no_thread_and_leave_nothing() {
    alone(|| {
        let authority = Authority::new();
        let config = localhost(&authority);
        // The first server registers the signal of a child's end, which stays for the next one.
        RunningServer::start(TcpServer::new(LOOPBACK, || TlsEcho).bind().unwrap()).close();
        let before = (threads(), descriptors());
        let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ReactorMixIn::new);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let server = layers.handshake_timeout(None).bind().unwrap();
        let running = RunningServer::start(server);
        let clients = TlsClients::new(&authority);
        let connect = || StreamClient::connect(&running.address());
        let silent = Vec::from_iter((0..300).map(|_| connect()));
        let mut begun = Vec::from_iter((0..100).map(|_| connect()));
        for client in &begun {
            let mut hello = Vec::new();
            clients.begin().write_tls(&mut hello).unwrap();
            client.socket().send(&hello[..100]).unwrap();
        }
        let mut idle = Vec::from_iter((0..100).map(|_| clients.connect(&running.address())));
        for client in &mut idle {
            assert_eq!(client.exchange("hello"), "hello");
        }
        let handle = running.handle();
        eventually("all are served", || handle.statistics().active == 500);
        // The test's thread for the loop, and few of the reactor.
        eventually("few threads are left", || threads() <= before.0 + 1 + 4);
        for client in &mut idle {
            assert_eq!(client.exchange("hello again"), "hello again");
        }
        let report = running.close();
        assert_eq!((report.aborted, report.running), (0, 0));
        for client in &mut begun {
            client.wait_for_close();
        }
        assert_eq!(config.statistics().abandoned, 400);
        drop((silent, begun, idle));
        drop(handle);
        eventually("nothing is left", || (threads(), descriptors()) == before);
    });
}

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

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

#[test]
fn neither_a_probe_nor_a_client_without_tls_is_an_error_in_the_log() {
    alone(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let authority = Authority::new();
        let config = localhost(&authority);
        let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let running = RunningServer::start(layers.bind().unwrap());
        for _ in 0..3 {
            drop(StreamClient::connect(&running.address()));
        }
        StreamClient::connect(&running.address()).reset();
        let mut plain = StreamClient::connect(&running.address());
        plain.send("GET / HTTP/1.1\r\n\r\n");
        let _ = plain.try_rest();
        let handle = running.handle();
        eventually("all have ended", || handle.statistics().failed == 5);
        running.close();
        let lines = std::mem::take(&mut *LINES.lock().unwrap());
        let loud = Vec::from_iter(lines.iter().filter(|(level, _)| *level <= Level::Info));
        let [(Level::Warn, line)] = &*loud else {
            panic!("{lines:#?}");
        };
        assert!(line.contains("TLS handshake failed"), "{line}");
    });
}
