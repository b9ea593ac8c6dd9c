//! Commands that arrive in pieces, and commands that are not valid.

use std::process::Command;
use std::thread;

use socketserver::mock::MockStream;

use super::*;

/// The replies to these bytes, which arrive together and one by one.
fn replies(commands: &[u8]) -> String {
    let together = MockStream::new().chunk(commands).run(Redis::default());
    let one_by_one = commands
        .iter()
        .fold(MockStream::new(), |mock, byte| mock.chunk([*byte]))
        .run(Redis::default());
    assert_eq!(together.written(), one_by_one.written());
    assert_eq!(together.writes().len(), 1, "the replies leave together");
    String::from_utf8(together.written()).unwrap()
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let set = "*3\r\n$3\r\nset\r\n$1\r\na\r\n$3\r\n1\r\n\r\n";
    let get = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    let incr = "*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n";
    let wrong = "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n";
    let del = "*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nc\r\n";
    assert_eq!(
        replies([set, get, incr, wrong, del, get].concat().as_bytes()),
        "+OK\r\n$3\r\n1\r\n\r\n:1\r\n-ERR value is not an integer or out of range\r\n\
         :1\r\n$-1\r\n"
    );
}

#[test]
fn what_is_no_command_ends_the_connection_with_a_reason() {
    for (sent, reason) in [
        ("GET a\r\n", "expected '*' and a number"),
        ("*-1\r\n", "expected '*' and a number"),
        ("*9999\r\n", "9999 is more than 1024"),
        ("*1\r\n$1048577\r\n", "1048577 is more than 1048576"),
        (
            "*1\r\n$4\r\nPINGS\r\n",
            "the client's message is longer than 0 bytes",
        ),
    ] {
        let after = "*1\r\n$4\r\nPING\r\n";
        assert_eq!(
            replies(&[sent.as_bytes(), after.as_bytes()].concat()),
            format!("-ERR Protocol error: {reason}\r\n")
        );
    }
}

#[test]
fn a_command_that_is_cut_short_is_not_run() {
    let command = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n12\r\n";
    for length in 1..command.len() {
        let redis = Redis::default();
        let mock = MockStream::new().chunk(&command[..length]);
        assert!(mock.run(redis.clone()).result().is_err());
        assert!(redis.0.lock().unwrap().is_empty(), "after {length} bytes");
    }
}

#[test]
fn redis_cli_is_served() {
    let redis = Redis::default();
    let server = ThreadingTcpServer::bind("127.0.0.1:0", move || redis.clone()).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    let ask = |words: &[&str]| {
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(words)
            .output();
        output.map(|output| String::from_utf8(output.stdout).unwrap())
    };
    match ask(&["set", "colour", "dark blue"]) {
        Err(error) => println!("skipped: redis-cli cannot be started: {error}"),
        Ok(answer) => {
            assert_eq!(answer, "OK\n");
            assert_eq!(ask(&["get", "colour"]).unwrap(), "dark blue\n");
            assert_eq!(ask(&["get", "size"]).unwrap(), "\n");
            assert_eq!(ask(&["incr", "visits"]).unwrap(), "1\n");
            assert!(
                ask(&["flushall"])
                    .unwrap()
                    .starts_with("ERR unknown command")
            );
        }
    }
    handle.shutdown();
    serving.join().unwrap().unwrap();
}
