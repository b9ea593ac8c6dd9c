//! A part of Redis, with messages of several parts, and with pipelining, which needs no code.
//!
//! `cargo run --example redis`, then `redis-cli -p 6380 set colour blue` or
//! `redis-benchmark -p 6380 -t set,get,incr -P 16`.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use socketserver::{Error, HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

/// The most bytes of a command's arguments, and the most arguments.
const MAX_BYTES: usize = 1 << 20;
const MAX_ARGUMENTS: usize = 1024;

/// The values of all clients, by their keys.
#[derive(Clone, Default)]
struct Redis(Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>);

enum Reply {
    Text(&'static str),
    Integer(i64),
    Bytes(Option<Vec<u8>>),
    Error(String),
}

impl RequestHandler for Redis {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        loop {
            match next_command(request) {
                Ok(None) => return Ok(()),
                Ok(Some(command)) => self.run(&command).write_to(request)?,
                Err(error) => {
                    if error.kind() == ErrorKind::InvalidData {
                        let reply = Reply::Error(format!("Protocol error: {error}"));
                        reply.write_to(request)?;
                    }
                    return Err(error.into());
                }
            }
        }
    }
}

/// Waits for a command: an array of strings, each after its length, such as
/// `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`.
fn next_command(request: &mut StreamRequest) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = request.next_line(32)? else {
        return Ok(None);
    };
    let mut command = Vec::new();
    let mut room = MAX_BYTES;
    for _ in 0..number(&count, '*', MAX_ARGUMENTS)? {
        let length = number(&request.further_line(32)?, '$', room)?;
        room -= length;
        command.push(request.further_exact(length)?);
        // A line end follows the string.
        request.further_line(0)?;
    }
    Ok(Some(command))
}

fn number(line: &str, mark: char, max: usize) -> io::Result<usize> {
    let number = line.strip_prefix(mark).and_then(|it| it.parse().ok());
    let number = number.ok_or_else(|| invalid(&format!("expected '{mark}' and a number")))?;
    if number > max {
        return Err(invalid(&format!("{number} is more than {max}")));
    }
    Ok(number)
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

impl Redis {
    fn run(&self, command: &[Vec<u8>]) -> Reply {
        let Some((name, arguments)) = command.split_first() else {
            return Reply::Error("an empty command".to_owned());
        };
        // The lock is held for one command, and never during a wait for a client.
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (name.to_ascii_uppercase().as_slice(), arguments) {
            (b"PING", []) => Reply::Text("PONG"),
            (b"PING" | b"ECHO", [text]) => Reply::Bytes(Some(text.clone())),
            (b"GET", [key]) => Reply::Bytes(values.get(key).cloned()),
            (b"SET", [key, value]) => {
                values.insert(key.clone(), value.clone());
                Reply::Text("OK")
            }
            (b"DEL", keys) if !keys.is_empty() => {
                let removed = keys.iter().filter_map(|key| values.remove(key));
                Reply::Integer(removed.count() as i64)
            }
            (b"INCR", [key]) => {
                let value = values.entry(key.clone()).or_insert_with(|| b"0".to_vec());
                let number = str::from_utf8(value).ok().and_then(|it| it.parse().ok());
                match number.and_then(|it: i64| it.checked_add(1)) {
                    Some(next) => {
                        *value = next.to_string().into_bytes();
                        Reply::Integer(next)
                    }
                    None => Reply::Error("value is not an integer or out of range".to_owned()),
                }
            }
            _ => {
                let name = name.escape_ascii();
                Reply::Error(format!("unknown command, or its arguments: '{name}'"))
            }
        }
    }
}

impl Reply {
    fn write_to(&self, request: &mut StreamRequest) -> io::Result<()> {
        match self {
            Self::Text(text) => write!(request, "+{text}\r\n"),
            Self::Integer(number) => write!(request, ":{number}\r\n"),
            Self::Bytes(None) => write!(request, "$-1\r\n"),
            Self::Bytes(Some(bytes)) => {
                write!(request, "${}\r\n", bytes.len())?;
                request.write_all(bytes)?;
                write!(request, "\r\n")
            }
            Self::Error(problem) => write!(request, "-ERR {problem}\r\n"),
        }
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let redis = Redis::default();
    ThreadingTcpServer::bind("127.0.0.1:6380", move || redis.clone())?.serve_forever()
}

#[cfg(test)]
mod tests {
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
}
