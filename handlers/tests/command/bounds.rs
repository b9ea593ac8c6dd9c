//! The options that bound a server, and its last line, which counts the requests.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// A client whose handler is in the middle of a line.
fn busy_client(served: &Served) -> TcpStream {
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"before\nun", 7), b"before\n");
    client
}

/// The last line on standard error of a server that is stopping.
fn last_line(served: Served) -> String {
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    log.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn no_more_connections_than_allowed_are_served_at_a_time() {
    for mixin in ["threading", "forking", "pool"] {
        let options = ["--max-connections", "1", "--mixin", mixin];
        let mut served = Served::start("upper-loop", LOOPBACK, &options);
        let mut first = served.connect();
        assert_eq!(exchange(&mut first, b"first", 5), b"FIRST");
        let mut second = served.connect();
        second.write_all(b"second").unwrap();
        served.wait_for_log("which is the limit; new clients wait");
        // The first client is still the only one that is served.
        assert_eq!(exchange(&mut first, b"again", 5), b"AGAIN");
        drop(first);
        let mut answer = [0; 6];
        second.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"SECOND");
        drop(second);
        served.stop();
    }
}

#[test]
fn no_more_connections_of_one_address_than_allowed_are_served_at_a_time() {
    let options = ["--max-connections-per-address", "1", "--ipv6-prefix", "56"];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut first = served.connect();
    assert_eq!(exchange(&mut first, b"first", 5), b"FIRST");
    assert_eq!(rest(served.connect()), b"");
    served.wait_for_log("too many connections from its address");
    assert_eq!(exchange(&mut first, b"again", 5), b"AGAIN");
    served.stop();
}

#[test]
fn an_ipv6_prefix_is_of_use_with_a_limit_per_address_alone() {
    for options in [
        &["--ipv6-prefix", "64"][..],
        &["--max-connections-per-address", "1", "--ipv6-prefix", "129"],
    ] {
        let mut command = socketserver(&["serve", "echo", "--listen", LOOPBACK]);
        let output = command.args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn a_client_that_keeps_the_server_waiting_is_closed_and_logged_with_its_address() {
    for (sent, deadline) in [
        ("", "first-byte deadline"),
        ("line\n", "idle deadline"),
        ("half a line", "read deadline"),
    ] {
        let mut served = Served::start("time", LOOPBACK, &["--idle-timeout", "0.1"]);
        let mut client = served.connect();
        let address = client.local_addr().unwrap().to_string();
        client.write_all(sent.as_bytes()).unwrap();
        let line = served.wait_for_log(deadline);
        assert!(line.contains(&address) && line.contains("100ms"), "{line}");
        let _ = client.read_to_end(&mut Vec::new());
        served.stop();
    }
}

#[test]
fn a_timeout_of_connections_is_refused_for_datagrams() {
    for option in [
        "--idle-timeout",
        "--progress-timeout",
        "--lifetime",
        "--turn",
    ] {
        let mut command = socketserver(&["serve", "time", "--listen", "udp://127.0.0.1:0"]);
        let output = command.args([option, "5"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        let expected = format!("{option} is for connections");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_client_that_stops_in_the_middle_is_closed_after_the_progress_timeout() {
    let mut served = Served::start("time", LOOPBACK, &["--progress-timeout", "0.1"]);
    let mut client = served.connect();
    client.write_all(b"half a line").unwrap();
    served.wait_for_log("progress deadline");
    let _ = client.read_to_end(&mut Vec::new());
    served.stop();
}

#[test]
fn a_client_that_always_sends_more_is_closed_at_the_end_of_its_lifetime() {
    for mixin in ["threading", "forking", "pool", "none"] {
        let options = ["--lifetime", "0.2", "--mixin", mixin];
        let mut served = Served::start("upper-loop", LOOPBACK, &options);
        let client = served.connect();
        let mut reading = client.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let _ = std::io::copy(&mut reading, &mut std::io::sink());
        });
        client.set_write_timeout(Some(SAFETY_NET)).unwrap();
        while (&client).write_all(&[b'x'; 1000]).is_ok() {}
        served.wait_for_log("lifetime deadline");
        reader.join().unwrap();
        served.stop();
    }
}

#[test]
fn the_last_line_counts_those_that_were_idle_and_those_that_ended() {
    let mut served = Served::start("time", LOOPBACK, &[]);
    let mut busy = busy_client(&served);
    served.signal(Signal::SIGTERM);
    served.wait_for_log("stopping");
    busy.write_all(b"finished\n").unwrap();
    assert_eq!(rest(busy), b"unfinished\n");
    let last = last_line(served);
    assert_eq!(
        last,
        "stopped; requests: 0 idle, 1 ended, 0 aborted, 0 still running"
    );
}

#[test]
fn what_runs_at_the_drain_timeout_is_aborted_and_counted_with_every_mix_in() {
    for mixin in ["threading", "forking", "pool", "none"] {
        let options = ["--drain-timeout", "0.1", "--mixin", mixin];
        let served = Served::start("time", LOOPBACK, &options);
        let mut client = busy_client(&served);
        served.signal(Signal::SIGTERM);
        let last = last_line(served);
        let expected = "stopped; requests: 0 idle, 0 ended, 1 aborted, 0 still running";
        assert_eq!(last, expected, "{mixin}");
        let _ = client.read(&mut [0]);
    }
}

#[test]
fn without_a_drain_timeout_a_running_request_has_all_the_time_it_needs() {
    let mut served = Served::start("time", LOOPBACK, &["--drain-timeout", "none"]);
    let mut busy = busy_client(&served);
    served.signal(Signal::SIGTERM);
    served.wait_for_log("stopping");
    busy.set_read_timeout(Some(SAFETY_NET)).unwrap();
    busy.write_all(b"finished\n").unwrap();
    assert_eq!(rest(busy), b"unfinished\n");
    assert!(last_line(served).contains("1 ended"));
}

#[test]
fn a_client_that_waits_in_the_queue_at_the_stop_is_served_if_the_user_wants_that() {
    for (how, expected) in [("serve", "QUEUED"), ("refuse", "")] {
        let options = ["--mixin", "none", "--drain-backlog", how];
        let served = Served::start("upper-loop", LOOPBACK, &options);
        let mut busy = served.connect();
        assert_eq!(exchange(&mut busy, b"before\nun", 7), b"BEFORE\n");
        let mut queued = served.connect();
        queued.write_all(b"queued").unwrap();
        // The signal ends the wait of the busy client's handler.
        served.signal(Signal::SIGTERM);
        let mut answer = String::new();
        queued.read_to_string(&mut answer).unwrap();
        drop((busy, queued));
        assert_eq!(answer, expected, "{how}");
        let line = last_line(served);
        assert!(line.contains("1 from the backlog"), "{line}");
    }
}
