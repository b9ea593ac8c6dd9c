//! Ordinary clients, and how long their exchanges take.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What a client sends, and gets back.
const LINE: [u8; 32] = *b"a line of two and thirty bytes \n";

/// A reply that takes longer is lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two exchanges of a client that stays.
const PACE_OF_EXCHANGES: Duration = Duration::from_millis(2);

/// Between two connections of a client that comes and goes.
const PACE_OF_CONNECTS: Duration = Duration::from_millis(20);

/// How long each exchange of a round took.
#[derive(Debug, Default)]
pub struct Round {
    /// Exchanges over connections that stay.
    pub exchanges: Vec<Duration>,
    /// From the connect to the server's close.
    pub connects: Vec<Duration>,
}

/// What one client does once.
type Step = fn(SocketAddr, &mut Option<TcpStream>) -> io::Result<()>;

/// Half of `clients` stay connected, the others come and go, for `time`.
pub fn round(server: SocketAddr, clients: usize, time: Duration) -> io::Result<Round> {
    let end = Instant::now() + time;
    let start = |step: Step, pace| thread::spawn(move || client(server, step, pace, end));
    let staying = Vec::from_iter((0..clients / 2).map(|_| start(exchange, PACE_OF_EXCHANGES)));
    let coming = Vec::from_iter((0..clients / 2).map(|_| start(visit, PACE_OF_CONNECTS)));
    let gather = |threads: Vec<thread::JoinHandle<io::Result<Vec<Duration>>>>| {
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a client does not panic")?);
        }
        Ok::<_, io::Error>(all)
    };
    let (exchanges, connects) = (gather(staying), gather(coming));
    Ok(Round {
        exchanges: exchanges?,
        connects: connects?,
    })
}

fn client(
    server: SocketAddr,
    step: Step,
    pace: Duration,
    end: Instant,
) -> io::Result<Vec<Duration>> {
    let mut connection = None;
    let mut durations = Vec::new();
    step(server, &mut connection)?;
    while Instant::now() < end {
        let begin = Instant::now();
        step(server, &mut connection)?;
        durations.push(begin.elapsed());
        thread::sleep(pace);
    }
    Ok(durations)
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(server)?;
    connection.set_read_timeout(Some(REPLY_TIMEOUT))?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Exchanges a line over the connection, which is made the first time.
fn exchange(server: SocketAddr, connection: &mut Option<TcpStream>) -> io::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(server)?),
    };
    connection.write_all(&LINE)?;
    let mut reply = [0; LINE.len()];
    connection.read_exact(&mut reply)?;
    if reply == LINE {
        Ok(())
    } else {
        Err(io::Error::other("a line came back changed"))
    }
}

/// Connects, exchanges a line, closes, and waits until the server has closed.
fn visit(server: SocketAddr, _: &mut Option<TcpStream>) -> io::Result<()> {
    let mut connection = Some(connect(server)?);
    exchange(server, &mut connection)?;
    let mut connection = connection.expect("it was made above");
    connection.shutdown(Shutdown::Write)?;
    match connection.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("the server sent more than the line")),
    }
}
