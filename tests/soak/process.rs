//! A server's process, as it is watched and ordered about.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::arguments::SERVER;
use crate::census::Census;
use crate::closing::Closing;
use crate::kinds::Kind;
use crate::site::LIMIT;

/// How often a process is asked again whether everything has ended in it.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(20);

/// How many counts in a row have to be the same before a process counts as being at rest.
const SAME_COUNTS: usize = 5;

/// A process with a server, which ends with this value.
#[derive(Debug)]
pub struct ServerProcess {
    kind: Kind,
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl ServerProcess {
    pub fn start(kind: Kind, directory: &Path) -> Result<Self, String> {
        let failed = |error| format!("{kind}: its process cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args([SERVER, &kind.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let orders = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let (to_us, answers) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if to_us.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            kind,
            child,
            orders,
            answers,
        })
    }

    /// Gives an order, and waits for the answer.
    pub fn order(&mut self, order: &str) -> Result<String, String> {
        let kind = self.kind;
        let orders = self.orders.as_mut().expect("it is open until the end");
        writeln!(orders, "{order}")
            .map_err(|error| format!("{kind}: its process takes no orders: {error}"))?;
        let answer = self.answers.recv_timeout(LIMIT);
        answer.map_err(|error| format!("{kind}: no answer to {order:?}: {error}"))
    }

    /// Opens the server, unless it is open, and tells where it is.
    pub fn open(&mut self) -> Result<SockAddr, String> {
        let place = self.order("open")?;
        let address = match self.kind.transport.is_unix() {
            true => SockAddr::unix(&place).ok(),
            false => place.parse::<SocketAddr>().ok().map(SockAddr::from),
        };
        address.ok_or_else(|| format!("{}: it is at {place:?}, it says", self.kind))
    }

    /// Closes the server, and gives what it says of itself.
    pub fn close(&mut self) -> Result<Closing, String> {
        let line = self.order("close")?;
        Closing::from_line(&line).ok_or_else(|| format!("{}: it said {line:?}", self.kind))
    }

    pub fn census(&mut self) -> Result<Census, String> {
        let line = self.order("census")?;
        Census::from_line(&line).ok_or_else(|| format!("{}: it said {line:?}", self.kind))
    }

    /// Waits until there is what there is to be: there is no event for the end of a thread. Gives
    /// the last census in any case.
    pub fn census_when(
        &mut self,
        mut is_as_it_should_be: impl FnMut(&Census) -> bool,
    ) -> Result<Census, String> {
        let begun = Instant::now();
        loop {
            let census = self.census()?;
            if is_as_it_should_be(&census) || begun.elapsed() > LIMIT {
                return Ok(census);
            }
            std::thread::sleep(BETWEEN_QUESTIONS);
        }
    }

    /// Waits until several counts in a row are the same, memory aside, and gives the last one. A
    /// server that opens has threads and descriptors for an instant, and their end is no event.
    pub fn census_at_rest(&mut self) -> Result<Census, String> {
        let (mut last, mut same) = (None, 0);
        self.census_when(move |now| {
            let is_same = last.is_some_and(|last| now.resembles(&last, (0, 0)));
            same = if is_same { same + 1 } else { 1 };
            last = Some(*now);
            same == SAME_COUNTS
        })
    }

    /// Lets the process end by itself.
    pub fn end(mut self) -> Result<(), String> {
        self.orders = None;
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) if begun.elapsed() < LIMIT => std::thread::sleep(BETWEEN_QUESTIONS),
                status => return Err(format!("{}: its process ended with {status:?}", self.kind)),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
