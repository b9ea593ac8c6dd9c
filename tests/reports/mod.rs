//! What handlers and layers tell the test, and how the test holds them, from any thread and any
//! process: sockets cross a fork, channels and mutexes do not.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use std::fmt::Display;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::clients::LIMIT;

/// The end that speaks. Everything said goes into one system call, so lines do not mix.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<UnixStream>);

/// The test's end, which listens.
#[derive(Debug)]
pub struct Reports {
    reader: BufReader<UnixStream>,
}

pub fn reports() -> (Reporter, Reports) {
    let (speaker, listener) = UnixStream::pair().unwrap();
    listener.set_read_timeout(Some(LIMIT)).unwrap();
    let reader = BufReader::new(listener);
    (Reporter(Arc::new(speaker)), Reports { reader })
}

impl Reporter {
    pub fn say(&self, what: impl Display) {
        let line = format!("{what}\n");
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }
}

impl Reports {
    /// The next report, which is waited for.
    pub fn next(&mut self) -> String {
        let mut line = String::new();
        self.reader
            .read_line(&mut line)
            .unwrap_or_else(|error| panic!("no further report: {error}"));
        assert!(line.ends_with('\n'), "all reporters are gone");
        line.pop();
        line
    }

    /// The next reports, which are waited for.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Waits for a report that begins with `expected`, and gives those before it.
    pub fn until_starts_with(&mut self, expected: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.next() {
                line if line.starts_with(expected) => return before,
                line => before.push(line),
            }
        }
    }

    /// The reports that have come and were not taken.
    pub fn so_far(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.reader.get_ref().set_nonblocking(true).unwrap();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => lines.push(line.trim_end().to_owned()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.reader.get_ref().set_nonblocking(false).unwrap();
        lines
    }
}

/// Where handlers wait until the test lets them pass.
#[derive(Debug, Clone)]
pub struct Gate(Arc<UnixStream>);

/// What opens a gate.
#[derive(Debug)]
pub struct GateKey(UnixStream);

pub fn gate() -> (Gate, GateKey) {
    let (inside, outside) = UnixStream::pair().unwrap();
    inside.set_read_timeout(Some(LIMIT)).unwrap();
    (Gate(Arc::new(inside)), GateKey(outside))
}

impl Gate {
    /// Waits for one `let_pass`.
    pub fn pass(&self) {
        (&*self.0)
            .read_exact(&mut [0])
            .expect("the test lets it pass");
    }
}

impl GateKey {
    pub fn let_pass(&self, how_many: usize) {
        (&self.0).write_all(&vec![0; how_many]).unwrap();
    }
}
