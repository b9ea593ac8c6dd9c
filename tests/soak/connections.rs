//! The clients' ends of connections, and what may come through them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use crate::channel::Channel;
use crate::port_history;
use crate::site::{Count, LIMIT, Site};
use crate::wire::{HEADER, Kind, Question, REFUSAL};

/// Answers are taken in such pieces.
const PIECE: usize = 64 << 10;

/// A stream to a server.
#[derive(Debug)]
pub struct Connection<'a> {
    site: &'a Site<'a>,
    channel: Channel,
    /// Nothing has come yet.
    untouched: bool,
}

/// Why there was no right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The server closed before the whole answer had come. What came of it was right.
    Early,
    /// There are too many, says the server.
    Refused,
    /// It should not have ended like this.
    Wrong(String),
}

impl<'a> Connection<'a> {
    /// A connection, unless the server is away for the moment.
    pub fn open(site: &'a Site<'a>) -> Option<Self> {
        Self::open_from(site, Ipv4Addr::LOCALHOST)
    }

    /// A connection from this address, which means nothing over Unix sockets.
    pub fn open_from(site: &'a Site<'a>, from: Ipv4Addr) -> Option<Self> {
        let socket = Self::connect(site, from)?;
        Some(Self {
            channel: Channel::over(socket, site),
            site,
            untouched: true,
        })
    }

    /// A connection whose client sends nothing of what has to come before the first question.
    pub fn open_bare(site: &'a Site<'a>, from: Ipv4Addr) -> Option<Self> {
        let socket = Self::connect(site, from)?;
        Some(Self {
            channel: Channel::Plain(socket),
            site,
            untouched: true,
        })
    }

    fn connect(site: &Site<'_>, from: Ipv4Addr) -> Option<Socket> {
        let address = site.address()?;
        let socket = Socket::new(address.domain(), Type::STREAM, None).ok()?;
        if !address.is_unix() && from != Ipv4Addr::LOCALHOST {
            socket.bind(&SocketAddrV4::new(from, 0).into()).ok()?;
        }
        socket.set_read_timeout(Some(LIMIT)).ok()?;
        if !address.is_unix() {
            // Of half the clients a small message waits until the one before is confirmed.
            socket.set_tcp_nodelay(fastrand::bool()).ok()?;
        }
        // Over Unix sockets it is also the time to connect.
        socket.set_write_timeout(Some(LIMIT)).ok()?;
        site.count(Count::Attempts, 1);
        let connected = match address.is_unix() {
            true => socket.connect(&address),
            false => socket.connect_timeout(&address, LIMIT),
        };
        match connected {
            Ok(()) => (!is_connected_to_itself(&socket)).then_some(socket),
            Err(error) => {
                if is_timeout(&error) {
                    site.fail(format_args!("took no connection for {LIMIT:?}: {error}"));
                }
                None
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        let channel = &mut self.channel;
        match channel.write_all(bytes).and_then(|()| channel.flush()) {
            Err(error) if is_timeout(&error) => {
                Err(Ending::Wrong(format!("took nothing for {LIMIT:?}")))
            }
            sent => sent.map_err(ended),
        }
    }

    /// Reads what `expected` says, comparing it.
    pub fn expect(&mut self, expected: &[u8]) -> Result<(), Ending> {
        let mut at = 0;
        while at < expected.len() {
            at += self.expect_some(&expected[at..], PIECE)?;
        }
        Ok(())
    }

    /// Reads no more than `most` bytes, compares them with the first of `expected`, and tells how
    /// many they were.
    pub fn expect_some(&mut self, expected: &[u8], most: usize) -> Result<usize, Ending> {
        let mut piece = vec![0; most.min(expected.len())];
        let count = self.receive(&mut piece)?;
        let got = &piece[..count];
        if std::mem::take(&mut self.untouched) && got[0] == REFUSAL[0] {
            return Err(self.rest_of_refusal(got));
        }
        match got.iter().zip(expected).position(|(got, it)| got != it) {
            None => {
                self.site.count(Count::Bytes, count as u64);
                Ok(count)
            }
            Some(at) => {
                let (got, it) = (got[at], expected[at]);
                let what = format!("sent {got:#x} where {it:#x} belongs, {at} bytes into {count}");
                Err(Ending::Wrong(what))
            }
        }
    }

    /// Reads a number of which nothing is known.
    pub fn receive_number(&mut self) -> Result<u32, Ending> {
        let mut bytes = [0; 4];
        let mut at = 0;
        while at < bytes.len() {
            at += self.receive(&mut bytes[at..])?;
        }
        Ok(u32::from_le_bytes(bytes))
    }

    /// The server is to close without another byte, unless it refuses.
    pub fn expect_close(&mut self) -> Result<(), Ending> {
        let mut byte = [0];
        match self.receive(&mut byte) {
            Err(Ending::Early) => Ok(()),
            Err(ending) => Err(ending),
            Ok(_) if self.untouched && byte[0] == REFUSAL[0] => Err(self.rest_of_refusal(&byte)),
            Ok(_) => {
                let what = format!("sent {:#x} where nothing belongs", byte[0]);
                Err(Ending::Wrong(what))
            }
        }
    }

    /// The server is to close, whatever it sends before: an alert, or a refusal.
    pub fn expect_end(&mut self) -> Result<(), Ending> {
        let mut piece = [0; 1024];
        loop {
            match self.receive(&mut piece) {
                Ok(_) => {}
                Err(Ending::Early) => return Ok(()),
                Err(ending) => return Err(ending),
            }
        }
    }

    fn rest_of_refusal(&mut self, begin: &[u8]) -> Ending {
        let mut refusal = begin.to_owned();
        let mut piece = [0; REFUSAL.len()];
        loop {
            match self.receive(&mut piece) {
                Ok(count) => refusal.extend(&piece[..count]),
                Err(Ending::Early) if REFUSAL.starts_with(&refusal) => return Ending::Refused,
                Err(Ending::Early) => {
                    return Ending::Wrong(format!("refused with {}", refusal.escape_ascii()));
                }
                Err(ending) => return ending,
            }
        }
    }

    /// Reads at least a byte.
    fn receive(&mut self, piece: &mut [u8]) -> Result<usize, Ending> {
        match self.channel.read(piece) {
            Ok(0) => Err(Ending::Early),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => {
                let what = format!("has neither answered nor closed for {LIMIT:?}");
                Err(Ending::Wrong(what))
            }
            Err(error) => Err(ended(error)),
        }
    }

    /// Ends one direction or both.
    pub fn shut_down(&mut self, how: Shutdown) {
        if how == Shutdown::Write {
            self.channel.end();
        }
        // It fails if the server was faster.
        let _ = self.channel.socket().shutdown(how);
    }

    /// Ends the connection with a reset, where the family has such.
    pub fn reset(self) {
        let _ = self.channel.socket().set_linger(Some(Duration::ZERO));
    }
}

/// A socket that sends datagrams to one server.
#[derive(Debug)]
pub struct DatagramSocket<'a> {
    site: &'a Site<'a>,
    socket: Socket,
    file: Option<PathBuf>,
}

/// Distinguishes the names of Unix clients.
static NAMES: AtomicU64 = AtomicU64::new(0);

impl<'a> DatagramSocket<'a> {
    /// A socket that can be answered to, unless the server is away for the moment.
    pub fn open(site: &'a Site<'a>) -> Option<Self> {
        Self::connect(site, site.kind.transport.is_unix())
    }

    /// A socket without a name, if the family has such.
    pub fn open_unnamed(site: &'a Site<'a>) -> Option<Self> {
        Self::connect(site, false)
    }

    fn connect(site: &'a Site<'a>, named: bool) -> Option<Self> {
        let address = site.address()?;
        let socket = Socket::new(address.domain(), Type::DGRAM, None).ok()?;
        let name = || {
            let number = NAMES.fetch_add(1, SeqCst);
            site.directory.join(format!("client-{number}"))
        };
        let file = named.then(name);
        if let Some(file) = &file {
            socket.bind(&SockAddr::unix(file).ok()?).ok()?;
        }
        let opened = Self { site, socket, file };
        opened.socket.connect(&address).ok()?;
        (!is_connected_to_itself(&opened.socket)).then_some(opened)
    }

    /// Sends a packet; false if there is no room at the server in that time.
    pub fn send(&self, packet: &[u8], time: Duration) -> io::Result<bool> {
        self.socket.set_write_timeout(Some(time))?;
        self.site.count(Count::Attempts, 1);
        let question = packet.get(..HEADER).and_then(Question::from_header);
        if packet.is_empty() || question.is_some() {
            port_history::remember(&self.socket, question.map(|it| it.salt));
        }
        match self.socket.send(packet) {
            Err(error) if is_timeout(&error) => Ok(false),
            // No memory for it in the kernel, now.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(false),
            sent => sent.map(|_| true),
        }
    }

    /// Whether `packet` is the right answer to what an earlier owner of the port has asked.
    pub fn is_for_predecessor(&self, packet: &[u8]) -> bool {
        let question = Question::answered_by(packet);
        let is_right = match question {
            Some(question) => packet == question.answer(),
            None => packet.is_empty(),
        };
        is_right && port_history::was_asked(&self.socket, question.map(|it| it.salt))
    }

    /// The next packet; `None` if there is none until then.
    pub fn receive(&self, until: Instant) -> io::Result<Option<Vec<u8>>> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut packet = vec![0; 66_000];
        match (&self.socket).read(&mut packet) {
            Ok(length) => {
                packet.truncate(length);
                Ok(Some(packet))
            }
            Err(error) if is_timeout(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for DatagramSocket<'_> {
    fn drop(&mut self) {
        self.file.as_ref().map(std::fs::remove_file);
    }
}

/// On the loopback, a port that nobody has can be connected to from that same port.
fn is_connected_to_itself(socket: &Socket) -> bool {
    let addresses = (socket.local_addr(), socket.peer_addr());
    matches!(addresses, (Ok(local), Ok(peer)) if !local.is_unix() && local == peer)
}

/// How a connection has ended: one whose encryption is broken should not have ended so.
fn ended(error: io::Error) -> Ending {
    let broken = error.get_ref().and_then(|it| it.downcast_ref());
    match broken {
        None | Some(rustls::Error::AlertReceived(_)) => Ending::Early,
        Some(broken) => Ending::Wrong(format!("the encryption is broken: {broken}")),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A question of this kind with a salt of its own.
pub fn question(rng: &mut fastrand::Rng, kind: Kind, length: usize) -> Question {
    let salt = rng.u64(..);
    Question { kind, length, salt }
}
