//! The sockets that a service manager has opened for this program: `LISTEN_FDS`.

use std::env;
use std::fmt;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use nix::libc;

/// More descriptors than any program is passed. A larger number is an error.
const MOST: usize = 4096;

/// The number of the first descriptor that is passed, as in sd_listen_fds(3).
const FIRST: usize = 3;

/// The sockets that have been passed, until they are taken.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<Passed>,
    /// Why no socket was passed, although `LISTEN_FDS` is set.
    problem: Option<String>,
}

/// A socket with its number and its name.
#[derive(Debug)]
struct Passed {
    number: usize,
    /// `FileDescriptorName=` of the socket unit.
    name: String,
    /// `None` once the socket is taken, or if the descriptor is no socket.
    socket: Option<OwnedFd>,
}

/// The sockets that a user means by `fd://`: those of a name, or one by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketName {
    Name(String),
    Number(usize),
}

/// The beginning of the names of sockets that the predecessor hands over. The number of the
/// listener follows.
const HANDED_OVER: &str = "socketserver-handed-over-";

/// The name of the socket of the metrics that the predecessor hands over.
#[cfg(feature = "metrics")]
const METRICS: &str = "socketserver-handed-over-metrics";

/// The name of the connection to the predecessor.
const PREDECESSOR: &str = "socketserver-predecessor";

impl SocketName {
    /// The name under which the sockets of a listener are handed over.
    pub fn handed_over(listener: usize) -> String {
        format!("{HANDED_OVER}{listener}")
    }

    /// The name under which the socket of the metrics is handed over.
    #[cfg(feature = "metrics")]
    pub fn metrics() -> String {
        METRICS.to_owned()
    }

    /// The name of a successor's connection to the predecessor.
    pub fn predecessor() -> String {
        PREDECESSOR.to_owned()
    }
}

impl PassedSockets {
    /// Takes the descriptors over, and sets `FD_CLOEXEC` on them.
    ///
    /// Called before anything else in the program: the descriptors have no other owner then, and no
    /// other thread reads the environment, which loses `LISTEN_FDS` and `LISTEN_PID`.
    pub fn take_over() -> Self {
        let count = env::var("LISTEN_FDS").ok();
        if count.is_some_and(|count| count.parse().is_ok_and(|count: usize| count > MOST)) {
            let problem = format!("LISTEN_FDS is more than {MOST}");
            return Self {
                problem: Some(problem),
                ..Self::default()
            };
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let first = env::var("LISTEN_FDS_FIRST_FD").ok();
        let first = first.and_then(|it| it.parse().ok()).unwrap_or(FIRST);
        let mut passed = ListenFd::from_env();
        let names = names.split(':').map(str::to_owned);
        let names = names.chain(std::iter::repeat(String::new()));
        let sockets = (0..passed.len()).zip(names).map(|(index, name)| Passed {
            number: first + index,
            name,
            socket: take(&mut passed, index),
        });
        Self {
            sockets: sockets.collect(),
            problem: None,
        }
    }

    /// Takes the sockets that are meant: at least one.
    ///
    /// # Errors
    ///
    /// If there is no such socket, or it is taken already.
    pub fn take(&mut self, meant: &SocketName) -> Result<Vec<OwnedFd>, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.sockets.is_empty() {
            return Err(
                "no socket was passed to this program; start it by a socket unit of \
                        systemd, or by systemd-socket-activate"
                    .to_owned(),
            );
        }
        let is_meant = |passed: &&mut Passed| match meant {
            SocketName::Name(name) => passed.name == *name,
            SocketName::Number(number) => passed.number == *number,
        };
        let mut found = self.sockets.iter_mut().filter(is_meant).peekable();
        if found.peek().is_none() {
            return Err(format!(
                "no such socket was passed to this program; the passed sockets are: {}",
                Names(&self.sockets)
            ));
        }
        let take = |passed: &mut Passed| {
            passed.socket.take().ok_or_else(|| {
                format!(
                    "descriptor {} is no socket that can be served, or two --listen name it",
                    passed.number
                )
            })
        };
        found.map(take).collect()
    }

    /// Takes the connection to the predecessor, if this program is a successor.
    pub fn take_predecessor(&mut self) -> Option<OwnedFd> {
        self.take_named(PREDECESSOR)
    }

    /// Takes the socket of the metrics, if this program is a successor.
    #[cfg(feature = "metrics")]
    pub fn take_metrics(&mut self) -> Option<OwnedFd> {
        self.take_named(METRICS)
    }

    fn take_named(&mut self, name: &str) -> Option<OwnedFd> {
        let mut sockets = self.sockets.iter_mut();
        let passed = sockets.find(|passed| passed.name == name)?;
        passed.socket.take()
    }

    /// The only socket, with which a service manager starts a program for a single connection;
    /// `None` if none was passed, or several.
    pub fn take_only(&mut self) -> Option<OwnedFd> {
        match &mut *self.sockets {
            [only] => only.socket.take(),
            _ => None,
        }
    }

    /// The sockets that nobody has taken; `None` if there are none.
    pub fn left(&self) -> Option<String> {
        let left = || self.sockets.iter().filter(|passed| passed.socket.is_some());
        left().next()?;
        let each = left().map(ToString::to_string);
        Some(Vec::from_iter(each).join(", "))
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "fd://{name}"),
            Self::Number(number) => write!(f, "fd://{number}"),
        }
    }
}

/// The descriptor at the index, if it is a socket of a kind that can be served.
fn take(passed: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    let families = [libc::AF_UNIX, libc::AF_INET];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
    let each = families
        .into_iter()
        .flat_map(|family| kinds.map(|kind| (family, kind)));
    each.into_iter()
        .find_map(|(family, kind)| passed.take_custom(index, family, kind, "socket").ok()?)
}

/// The names of some sockets, in a sentence.
struct Names<'a>(&'a [Passed]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, passed) in self.0.iter().enumerate() {
            write!(f, "{}{passed}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, .. } = self;
        match &**name {
            "" => write!(f, "fd://{number}"),
            name => write!(f, "fd://{number} (fd://{name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn passed(names: &[&str]) -> PassedSockets {
        let socket = |(index, name): (usize, &&str)| Passed {
            number: FIRST + index,
            name: (*name).to_owned(),
            socket: Some(TcpListener::bind("127.0.0.1:0").unwrap().into()),
        };
        PassedSockets {
            sockets: names.iter().enumerate().map(socket).collect(),
            problem: None,
        }
    }

    fn name(name: &str) -> SocketName {
        SocketName::Name(name.to_owned())
    }

    #[test]
    fn a_name_means_every_socket_of_that_name_and_a_number_one() {
        let mut sockets = passed(&["web", "control", "web", ""]);
        assert_eq!(sockets.take(&name("web")).unwrap().len(), 2);
        assert_eq!(sockets.take(&SocketName::Number(4)).unwrap().len(), 1);
        assert_eq!(sockets.left().unwrap(), "fd://6");
        sockets.take(&SocketName::Number(6)).unwrap();
        assert_eq!(sockets.left(), None);
    }

    #[test]
    fn a_socket_that_is_not_there_or_taken_is_an_error_that_names_the_others() {
        let mut sockets = passed(&["web", "control"]);
        let error = sockets.take(&name("wep")).unwrap_err();
        assert!(error.contains("fd://3 (fd://web)"), "{error}");
        sockets.take(&name("web")).unwrap();
        let error = sockets.take(&SocketName::Number(3)).unwrap_err();
        assert!(error.contains("descriptor 3"), "{error}");
        let error = PassedSockets::default().take(&name("web")).unwrap_err();
        assert!(error.contains("socket unit"), "{error}");
    }
}
