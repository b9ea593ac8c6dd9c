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
#[path = "../tests/examples/redis.rs"]
mod tests;
