//! What a handler reads and writes over TLS: ends, half closes, deadlines, large transfers, and
//! encryption that begins in the middle.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use socketserver::layer::EndWithoutNotice;
use socketserver::{
    BaseServer, Deadlines, HandlerFactory, ReactorMixIn, Serve, StreamRequest, TcpServer,
    ThreadingMixIn, TlsConfig, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::{StartTls, TlsEcho, read_line, stream_handler};
use support::tls_clients::{TlsClients, VERSIONS};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// More than the buffers of a connection take.
const MUCH: usize = 8 << 20;

fn localhost(authority: &Authority) -> TlsConfig {
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    options.load().unwrap()
}

fn serve(
    authority: &Authority,
    factory: impl HandlerFactory<StreamRequest>,
) -> RunningServer<impl BaseServer> {
    let config = localhost(authority);
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    RunningServer::start(layers.bind().unwrap())
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % 23) as u8).collect()
}

#[test]
fn a_handler_that_reads_to_the_end_gets_an_error_if_the_end_has_no_notice() {
    let authority = Authority::new();
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        let mut body = Vec::new();
        match request.read_to_end(&mut body) {
            Ok(count) => reporter.say(format_args!("{count} bytes")),
            Err(error) => {
                assert!(error.get_ref().unwrap().is::<EndWithoutNotice>());
                reporter.say(format_args!("{:?}", error.kind()));
            }
        }
        Ok(())
    });
    let running = serve(&authority, factory);
    for (version, _) in VERSIONS {
        let clients = TlsClients::with(&authority, &[version], None);
        let mut honest = clients.connect(&running.address());
        honest.send("hello");
        honest.finish_sending();
        assert_eq!(reports.next_report(), "5 bytes");
        let mut cut = clients.connect(&running.address());
        cut.send("hello");
        cut.end_without_notice();
        assert_eq!(reports.next_report(), "UnexpectedEof");
    }
    running.close();
}

#[test]
fn an_end_without_a_notice_is_the_client_s_end_between_messages_and_an_error_within_one() {
    let authority = Authority::new();
    for reactor in [false, true] {
        let config = localhost(&authority);
        let layers = TcpServer::new(LOOPBACK, || TlsEcho);
        let address;
        let ended: Box<dyn FnOnce() -> (u64, u64)>;
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        macro_rules! serve {
            ($mix_in:expr) => {{
                let running = RunningServer::start(layers.mix_in($mix_in).bind().unwrap());
                address = running.address();
                ended = Box::new(move || {
                    let handle = running.handle();
                    eventually("both have ended", || handle.statistics().active == 0);
                    running.close();
                    (handle.statistics().finished, handle.statistics().failed)
                });
            }};
        }
        if reactor {
            serve!(ReactorMixIn::new);
        } else {
            serve!(ThreadingMixIn::new);
        }
        let clients = TlsClients::new(&authority);
        let mut between = clients.connect(&address);
        assert_eq!(between.exchange("hello"), "hello");
        between.end_without_notice();
        assert_eq!(between.rest().unwrap(), b"");
        let mut within = clients.connect(&address);
        within.send("half a li");
        within.end_without_notice();
        assert_eq!(within.rest().unwrap(), b"");
        assert_eq!(ended(), (1, 1), "with a reactor: {reactor}");
    }
}

#[test]
fn each_side_can_end_its_direction_and_read_on() {
    let authority = Authority::new();
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        // The client's direction ends first.
        let mut question = String::new();
        request.read_to_string(&mut question)?;
        writeln!(request, "behind your end: {question}")?;
        request.flush()?;
        request.shutdown(Shutdown::Write)?;
        let error = request.write_all(b"more").and_then(|()| request.flush());
        reporter.say(format_args!("{:?}", error.unwrap_err().kind()));
        Ok(())
    });
    let running = serve(&authority, factory);
    // With TLS 1.2 an end ends both directions, by its rules, which clients may follow.
    let clients = TlsClients::with(&authority, &[VERSIONS[1].0], None);
    let mut client = clients.connect(&running.address());
    client.send("hello");
    client.finish_sending();
    assert_eq!(client.rest().unwrap(), b"behind your end: hello\n");
    assert_eq!(reports.next_report(), "BrokenPipe");
    running.close();
}

#[test]
fn a_handler_that_has_ended_its_direction_reads_what_the_client_still_sends() {
    let authority = Authority::new();
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        request.write_all(b"good bye")?;
        request.shutdown(Shutdown::Write)?;
        let mut rest = String::new();
        request.read_to_string(&mut rest)?;
        reporter.say(rest);
        Ok(())
    });
    let running = serve(&authority, factory);
    let mut client = TlsClients::new(&authority).connect(&running.address());
    assert_eq!(client.rest().unwrap(), b"good bye");
    client.send("still here");
    client.finish_sending();
    assert_eq!(reports.next_report(), "still here");
    running.close();
}

#[test]
fn a_handler_that_ends_the_client_s_direction_reads_an_end_without_error() {
    let authority = Authority::new();
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        request.shutdown(Shutdown::Read)?;
        let read = request.read(&mut [0; 10]);
        reporter.say(format_args!("{:?}", read.ok()));
        Ok(writeln!(request, "still here")?)
    });
    let running = serve(&authority, factory);
    let mut client = TlsClients::new(&authority).connect(&running.address());
    assert_eq!(reports.next_report(), "Some(0)");
    assert_eq!(client.rest().unwrap(), b"still here\n");
    running.close();
}

#[test]
fn at_a_drain_an_idle_client_gets_notice_of_the_end_and_counts_as_idle() {
    let authority = Authority::new();
    macro_rules! drains {
        ($mix_in:expr) => {{
            let config = localhost(&authority);
            let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in($mix_in);
            let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
            let running = RunningServer::start(layers.bind().unwrap());
            let mut clients = VERSIONS.map(|(version, _)| {
                let clients = TlsClients::with(&authority, &[version], None);
                clients.connect(&running.address())
            });
            for client in &mut clients {
                assert_eq!(client.exchange("hello"), "hello");
            }
            let handle = running.handle();
            let report = running.close();
            for client in &mut clients {
                assert_eq!(client.rest().unwrap(), b"");
            }
            assert_eq!((report.idle + report.ended, report.aborted), (2, 0));
            assert!(report.idle > 0, "{report}");
            assert_eq!(handle.statistics().failed, 0);
        }};
    }
    drains!(ThreadingMixIn::new);
    drains!(ReactorMixIn::new);
}

#[test]
fn large_transfers_arrive_whole_in_both_directions_also_with_slow_readers() {
    let authority = Authority::new();
    let factory = stream_handler(|request| {
        let mut buffer = [0; 3000];
        let mut sum = 0_u64;
        let mut left = MUCH;
        while left > 0 {
            let count = request.read(&mut buffer[..left.min(3000)])?;
            sum += buffer[..count]
                .iter()
                .map(|&byte| u64::from(byte))
                .sum::<u64>();
            left -= count;
        }
        writeln!(request, "{sum}")?;
        Ok(request.write_all(&text(MUCH))?)
    });
    let running = serve(&authority, factory);
    let sum = text(MUCH).iter().map(|&byte| u64::from(byte)).sum::<u64>();
    for (version, _) in VERSIONS {
        let clients = TlsClients::with(&authority, &[version], None);
        let mut client = clients.connect(&running.address());
        client.try_send(&text(MUCH)).unwrap();
        assert_eq!(client.line(), sum.to_string());
        let mut received = Vec::new();
        while received.len() < MUCH {
            // Small and uneven parts, so that the server's writes wait.
            let part = (MUCH - received.len()).min(70_001);
            received.extend(client.receive_exactly(part));
            if received.len() < 1 << 20 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        assert!(received == text(MUCH));
        assert_eq!(client.rest().unwrap(), b"");
    }
    running.close();
}

#[test]
fn a_file_is_sent_encrypted() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, text(1 << 20)).unwrap();
    let factory =
        stream_handler(move |request| Ok(request.send_file(&File::open(&path)?, 0, 1 << 20)?));
    let running = serve(&authority, factory);
    let mut client = TlsClients::new(&authority).connect(&running.address());
    assert!(client.rest().unwrap() == text(1 << 20));
    running.close();
}

#[test]
fn the_deadlines_of_reads_and_writes_hold_over_tls() {
    let authority = Authority::new();
    let short = Duration::from_millis(60);
    for (deadlines, sent) in [
        (Deadlines::none().with_first_byte(short), ""),
        (Deadlines::none().with_idle(short), "hello\n"),
        (Deadlines::none().with_read(short), "half"),
        (Deadlines::none().with_progress(short), "half"),
        (Deadlines::none().with_lifetime(short), "hello\n"),
    ] {
        let running = serve(&authority, || TlsEcho);
        let handle = running.handle();
        handle.set_deadlines(deadlines);
        let mut client = TlsClients::new(&authority).connect(&running.address());
        client.send(sent);
        eventually("the client was late", || handle.statistics().timed_out == 1);
        running.close();
    }
    // The client does not read: neither the write nor the notice of the end waits longer.
    for deadlines in [
        Deadlines::none().with_write(short),
        Deadlines::none().with_progress(short),
    ] {
        let factory = stream_handler(|request| Ok(request.write_all(&text(4 * MUCH))?));
        let running = serve(&authority, factory);
        let handle = running.handle();
        handle.set_deadlines(deadlines);
        let mut client = TlsClients::new(&authority).connect(&running.address());
        eventually("the client was late", || handle.statistics().timed_out == 1);
        eventually("the client is gone", || handle.statistics().active == 0);
        // A part is not taken for the whole.
        assert!(client.rest().is_err());
        running.close();
    }
}

#[test]
fn encryption_can_begin_in_the_middle_of_a_conversation() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let handler = StartTls(config.clone());
    let layers = TcpServer::new(LOOPBACK, move || handler.clone()).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    for (version, name) in VERSIONS {
        let mut plain = StreamClient::connect(&running.address());
        plain.send("hello\n");
        assert_eq!(plain.line(), "hello over plain");
        plain.send("STARTTLS\n");
        assert_eq!(plain.line(), "go ahead");
        let mut client = TlsClients::with(&authority, &[version], None).over(plain);
        assert_eq!(client.exchange("hello"), format!("hello over {name}"));
        let refused = client.exchange("STARTTLS again");
        assert_eq!(refused, "the connection is encrypted already");
        assert_eq!(client.exchange("again"), format!("again over {name}"));
    }
    let statistics = config.statistics();
    assert_eq!((statistics.full, statistics.failed), (2, 0));
    running.close();
}

#[test]
fn bytes_behind_the_wish_for_encryption_are_refused_and_so_is_what_is_no_handshake() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let for_handler = config.clone();
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        let wish = read_line(request)?;
        if wish == "wait" {
            // The rest arrives before the handler has asked for the encryption.
            read_line(request)?;
        }
        let started = request.start_tls(&for_handler);
        reporter.say(started.unwrap_err());
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut injected = StreamClient::connect(&running.address());
    injected.send("STARTTLS\nDELETE everything\n");
    let error = reports.next_report();
    assert!(error.contains("unencrypted bytes"), "{error}");
    assert_eq!(injected.rest(), b"");
    let mut nonsense = StreamClient::connect(&running.address());
    nonsense.send("STARTTLS\n");
    nonsense.send("GET / HTTP/1.0\r\n\r\n");
    // Whether the handler has read it with its line or not.
    let error = reports.next_report();
    let expected = ["unencrypted bytes", "handshake failed"];
    assert!(expected.iter().any(|it| error.contains(it)), "{error}");
    let _ = nonsense.try_rest();
    let leaving = StreamClient::connect(&running.address());
    leaving.send("STARTTLS\n");
    leaving.finish_sending();
    let error = reports.next_report();
    assert!(error.contains("has left"), "{error}");
    running.close();
}
