//! Reports of handlers and layers to the test, and gates at which handlers wait for the test, from
//! any thread and any process. They are sockets, because a socket works across a fork, and channels
//! and mutexes do not.

use std::fmt::Display;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::waiting::LIMIT;

/// The write end. Each report is one system call, so lines do not mix.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<UnixStream>);

/// The read end, which the test has.
#[derive(Debug)]
pub struct Reports {
    reader: BufReader<UnixStream>,
}

/// Makes both ends of a new channel for reports.
pub fn reports() -> (Reporter, Reports) {
    let (write_end, read_end) = UnixStream::pair().unwrap();
    read_end.set_read_timeout(Some(LIMIT)).unwrap();
    let reader = BufReader::new(read_end);
    (Reporter(Arc::new(write_end)), Reports { reader })
}

impl Reporter {
    /// Sends a line to the test.
    pub fn say(&self, what: impl Display) {
        let line = format!("{what}\n");
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }
}

impl Reports {
    /// Waits for the next report, and returns it.
    pub fn next_report(&mut self) -> String {
        let mut line = String::new();
        self.reader
            .read_line(&mut line)
            .unwrap_or_else(|error| panic!("no further report: {error}"));
        assert!(line.ends_with('\n'), "all reporters are gone");
        line.pop();
        line
    }

    /// Waits for the next reports, and returns them.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next_report()).collect()
    }

    /// Waits for a report that begins with `expected`, and returns the reports before it.
    pub fn until_starts_with(&mut self, expected: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.next_report() {
                line if line.starts_with(expected) => return before,
                line => before.push(line),
            }
        }
    }

    /// Returns the reports that have arrived and were not taken.
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

/// A gate at which handlers wait until the test lets them pass.
#[derive(Debug, Clone)]
pub struct Gate(Arc<UnixStream>);

/// The test's key to a gate.
#[derive(Debug)]
pub struct GateKey(UnixStream);

/// Makes a gate for handlers, and the test's key to it.
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
    /// Lets `how_many` calls of [`Gate::pass`] return.
    pub fn let_pass(&self, how_many: usize) {
        (&self.0).write_all(&vec![0; how_many]).unwrap();
    }
}
