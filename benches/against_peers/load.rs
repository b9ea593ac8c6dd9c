//! The load generator: one thread that drives any number of clients through epoll.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// What a client sends, and gets back.
const MESSAGE: [u8; 32] = *b"a request of two and thirty byte";

/// A reply that takes longer is lost.
const REPLY_TIMEOUT_MS: u16 = 5000;

/// How long a burst of load lasts: until either is reached.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most exchanges that are begun.
    pub exchanges: u64,
    /// The time in which they are begun.
    pub time: Duration,
}

/// Clients of one server.
pub trait Load {
    /// Exchanges messages with the server, and tells how many were sent and came back.
    fn run(&mut self, limits: Limits) -> io::Result<u64>;
}

/// A client's end of a transport.
pub trait Client: AsFd {
    /// Sends one message.
    fn send(&mut self, message: &[u8]) -> io::Result<usize>;
    /// Receives one message.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Client for TcpStream {
    fn send(&mut self, message: &[u8]) -> io::Result<usize> {
        self.write(message)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

impl Client for UdpSocket {
    fn send(&mut self, message: &[u8]) -> io::Result<usize> {
        UdpSocket::send(self, message)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv(buffer)
    }
}

/// Counts the exchanges of a burst.
struct Burst {
    limits: Limits,
    end: Instant,
    begun: u64,
}

impl Burst {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            end: Instant::now() + limits.time,
            begun: 0,
        }
    }

    /// Whether another exchange may begin, which it then does.
    fn begin_exchange(&mut self, now: Instant) -> bool {
        let begin = self.begun < self.limits.exchanges && now < self.end;
        self.begun += u64::from(begin);
        begin
    }
}

/// Clients that stay, with one request outstanding each.
#[derive(Debug)]
pub struct Exchanges<C> {
    clients: Vec<C>,
    poller: Poller,
}

impl Exchanges<TcpStream> {
    /// So many connections, each of which has done an exchange.
    pub fn over_tcp(server: SocketAddr, connections: usize) -> io::Result<Self> {
        Self::new(connections, || TcpStream::connect(server))
    }
}

impl Exchanges<UdpSocket> {
    /// So many clients, each of which has done an exchange.
    pub fn over_udp(server: SocketAddr, clients: usize) -> io::Result<Self> {
        Self::new(clients, || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(server)?;
            Ok(socket)
        })
    }
}

impl<C: Client> Exchanges<C> {
    fn new(count: usize, connect: impl Fn() -> io::Result<C>) -> io::Result<Self> {
        let poller = Poller::new(count)?;
        let mut clients = Vec::with_capacity(count);
        for index in 0..count {
            let mut client = connect()?;
            send(&mut client)?;
            expect_reply(&mut client)?;
            poller.add(&client, index)?;
            clients.push(client);
        }
        Ok(Self { clients, poller })
    }
}

impl<C: Client> Load for Exchanges<C> {
    fn run(&mut self, limits: Limits) -> io::Result<u64> {
        let mut burst = Burst::new(limits);
        let mut ended = 0;
        let now = Instant::now();
        for client in &mut self.clients {
            if burst.begin_exchange(now) {
                send(client)?;
            }
        }
        while ended < burst.begun {
            let ready = self.poller.wait()?;
            let now = Instant::now();
            for event in ready {
                let client = &mut self.clients[index(event)];
                expect_reply(client)?;
                ended += 1;
                if burst.begin_exchange(now) {
                    send(client)?;
                }
            }
        }
        Ok(ended)
    }
}

/// Clients that connect, exchange one message and close, so many at a time.
///
/// The client closes its side first, and has ended when the server has closed too. Its port stays
/// taken for a while (`TIME_WAIT`), for this one server: at 28,000 ports, a server must not be
/// given more than about 20,000 connects in a run.
#[derive(Debug)]
pub struct Connects {
    server: SocketAddr,
    conversations: Vec<Option<Conversation>>,
    poller: Poller,
}

#[derive(Debug)]
struct Conversation {
    connection: TcpStream,
    replied: bool,
}

impl Connects {
    /// None is connected yet.
    pub fn new(server: SocketAddr, at_a_time: usize) -> io::Result<Self> {
        Ok(Self {
            server,
            conversations: Vec::from_iter((0..at_a_time).map(|_| None)),
            poller: Poller::new(at_a_time)?,
        })
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let mut connection = TcpStream::connect(self.server)?;
        send(&mut connection)?;
        self.poller.add(&connection, index)?;
        self.conversations[index] = Some(Conversation {
            connection,
            replied: false,
        });
        Ok(())
    }

    /// Goes on with a conversation for which something has come. True if that was its end.
    fn go_on(&mut self, index: usize) -> io::Result<bool> {
        let Some(conversation) = &mut self.conversations[index] else {
            return Err(io::Error::other("a closed connection is ready"));
        };
        if !conversation.replied {
            expect_reply(&mut conversation.connection)?;
            conversation.replied = true;
            conversation.connection.shutdown(Shutdown::Write)?;
            return Ok(false);
        }
        if conversation.connection.read(&mut [0; 1])? != 0 {
            return Err(io::Error::other("the server sent more than the reply"));
        }
        self.conversations[index] = None;
        Ok(true)
    }
}

impl Load for Connects {
    fn run(&mut self, limits: Limits) -> io::Result<u64> {
        let mut burst = Burst::new(limits);
        let mut ended = 0;
        for index in 0..self.conversations.len() {
            if burst.begin_exchange(Instant::now()) {
                self.begin(index)?;
            }
        }
        while ended < burst.begun {
            for event in 0..self.poller.wait()?.len() {
                let index = index(&self.poller.events[event]);
                if self.go_on(index)? {
                    ended += 1;
                    if burst.begin_exchange(Instant::now()) {
                        self.begin(index)?;
                    }
                }
            }
        }
        Ok(ended)
    }
}

fn send(client: &mut impl Client) -> io::Result<()> {
    match client.send(&MESSAGE)? {
        count if count == MESSAGE.len() => Ok(()),
        count => Err(io::Error::other(format!("{count} bytes were taken"))),
    }
}

/// A message is so short that it always comes in one piece.
fn expect_reply(client: &mut impl Client) -> io::Result<()> {
    let mut buffer = [0; 2 * MESSAGE.len()];
    let count = client.receive(&mut buffer)?;
    if buffer[..count] == MESSAGE {
        Ok(())
    } else {
        Err(io::Error::other(format!("a reply of {count} bytes")))
    }
}

/// Tells which clients can be read.
#[derive(Debug)]
struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    fn new(clients: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); clients],
        })
    }

    fn add(&self, client: &impl AsFd, index: usize) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        Ok(self.epoll.add(client, event)?)
    }

    fn wait(&mut self) -> io::Result<&[EpollEvent]> {
        match self.epoll.wait(&mut self.events, REPLY_TIMEOUT_MS)? {
            0 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no reply within {REPLY_TIMEOUT_MS} ms"),
            )),
            count => Ok(&self.events[..count]),
        }
    }
}

fn index(event: &EpollEvent) -> usize {
    usize::try_from(event.data()).expect("it was a usize when it was added")
}
