//! The servers that there are: each transport with each mix-in.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    /// TCP, encrypted.
    Tls,
    /// TCP, with the header of a proxy first.
    Proxied,
    Udp,
    UnixStream,
    UnixDatagram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MixIn {
    None,
    Threading,
    Forking,
    Pool,
    Reactor,
}

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub transport: Transport,
    pub mix_in: MixIn,
}

impl Transport {
    const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Tls,
        Self::Proxied,
        Self::Udp,
        Self::UnixStream,
        Self::UnixDatagram,
    ];

    pub fn is_stream(self) -> bool {
        !matches!(self, Self::Udp | Self::UnixDatagram)
    }

    /// Whether something comes before the first question: a handshake, or the header of a proxy.
    pub fn has_preamble(self) -> bool {
        matches!(self, Self::Tls | Self::Proxied)
    }

    pub fn is_unix(self) -> bool {
        matches!(self, Self::UnixStream | Self::UnixDatagram)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Proxied => "proxied",
            Self::Udp => "udp",
            Self::UnixStream => "unix-stream",
            Self::UnixDatagram => "unix-datagram",
        }
    }
}

impl MixIn {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Threading,
        Self::Forking,
        Self::Pool,
        Self::Reactor,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "alone",
            Self::Threading => "threading",
            Self::Forking => "forking",
            Self::Pool => "pool",
            Self::Reactor => "reactor",
        }
    }
}

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        Transport::ALL.into_iter().flat_map(|transport| {
            MixIn::ALL
                .into_iter()
                .map(move |mix_in| Self { transport, mix_in })
        })
    }

    /// The kind that is displayed as `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.to_string() == name)
    }

    pub fn forks(self) -> bool {
        self.mix_in == MixIn::Forking
    }

    /// How many threads and descriptors an open server has once it has seen a client, and keeps.
    pub fn kept(self) -> (usize, usize) {
        match self.mix_in {
            // The thread that waits for all connections, and the sentinel; the epoll, what wakes
            // it, and the state of the thread.
            MixIn::Reactor => (2, 3),
            _ => (0, 0),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{}/{}", self.transport.name(), self.mix_in.name());
        f.pad(&name)
    }
}
