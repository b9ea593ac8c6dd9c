//! The loads: what the clients of a slice do, and what is measured of it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use measuring::{Poller, ServerProcess, microseconds};
use socket2::SockRef;

/// What every client sends, and what comes back.
const MESSAGE: [u8; 64] = [b'a'; 64];

/// An answer that takes longer is lost.
const LONGEST: Duration = Duration::from_secs(5);

/// A load under which the servers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Lines,
    Datagrams,
    Visits,
}

/// One number that a slice of a load has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    Cpu,
}

/// The figures of one slice.
type Sample = measuring::Sample<Figure>;

impl measuring::Figure for Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "exchanges/s",
            Self::Cpu => "CPU µs/exchange",
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Rate => 0,
            Self::Cpu => 2,
        }
    }
}

impl Load {
    pub const ALL: &[Self] = &[Self::Lines, Self::Datagrams, Self::Visits];

    pub fn title(self) -> &'static str {
        match self {
            Self::Lines => "TCP, 64 connections",
            Self::Datagrams => "UDP, 32 clients",
            Self::Visits => "TCP: connect, exchange, close",
        }
    }

    /// The protocol of the server, on its command line.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Lines | Self::Visits => "tcp",
            Self::Datagrams => "udp",
        }
    }

    /// Does it once.
    pub fn run(self, server: &ServerProcess, time: Duration) -> io::Result<Sample> {
        let cpu_before = server.cpu_time()?;
        let start = Instant::now();
        let count = match self {
            Self::Lines => {
                let clients = (0..64).map(|_| connect(server));
                exchange(&clients.collect::<io::Result<Vec<_>>>()?, time)?
            }
            Self::Datagrams => {
                let clients = (0..32).map(|_| Datagrams::new(server));
                exchange(&clients.collect::<io::Result<Vec<_>>>()?, time)?
            }
            Self::Visits => visit(server, time)?,
        };
        let cpu = server.cpu_time()? - cpu_before;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        Ok(Sample::from([
            (Figure::Rate, rate),
            (Figure::Cpu, microseconds(cpu) / count.max(1) as f64),
        ]))
    }
}

/// A client that sends a message and receives its echo.
trait Client: AsFd {
    fn send(&self) -> io::Result<()>;
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Client for TcpStream {
    fn send(&self) -> io::Result<()> {
        (&*self).write_all(&MESSAGE)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

struct Datagrams(UdpSocket);

impl Datagrams {
    fn new(server: &ServerProcess) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server.address())?;
        Ok(Self(socket))
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Client for Datagrams {
    fn send(&self) -> io::Result<()> {
        self.0.send(&MESSAGE).map(drop)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

/// A connection that is closed with a reset.
fn connect(server: &ServerProcess) -> io::Result<TcpStream> {
    let client = TcpStream::connect(server.address())?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(LONGEST))?;
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    Ok(client)
}

/// Keeps one message outstanding for each client, and returns the number of echoes.
fn exchange(clients: &[impl Client], time: Duration) -> io::Result<usize> {
    let mut poller = Poller::new()?;
    for (index, client) in clients.iter().enumerate() {
        poller.add(client, index)?;
        client.send()?;
    }
    let mut buffer = [0; 2 * MESSAGE.len()];
    let mut count = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        let before = count;
        for index in poller.wait(5000)? {
            let received = clients[index].receive(&mut buffer)?;
            if buffer[..received] != MESSAGE {
                return Err(io::Error::other("what has come back is another message"));
            }
            count += 1;
            clients[index].send()?;
        }
        if count == before {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(count)
}

/// One client after the other connects, exchanges a message, and closes.
fn visit(server: &ServerProcess, time: Duration) -> io::Result<usize> {
    let mut buffer = [0; MESSAGE.len()];
    let mut count = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut client = connect(server)?;
        client.write_all(&MESSAGE)?;
        client.read_exact(&mut buffer)?;
        count += 1;
    }
    Ok(count)
}
