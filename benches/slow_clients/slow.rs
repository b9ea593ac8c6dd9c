//! Clients that send one byte a second each, and never end their line.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// The bytes of a second are sent in so many parts, each by its share of the clients.
const PARTS: usize = 100;

/// The clients, and the thread that sends their bytes as long as this lives.
#[derive(Debug)]
pub struct SlowClients {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl SlowClients {
    /// So many, each of which has had an answer.
    pub fn connect(server: SocketAddr, count: usize) -> io::Result<Self> {
        let connections = (0..count).map(|_| {
            let mut connection = TcpStream::connect(server)?;
            // It ends with a reset, so that no port stays taken after it.
            SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
            // Its thread has been started when the answer is here: that is not what is measured.
            connection.write_all(b"\n")?;
            connection.read_exact(&mut [0])?;
            Ok(connection)
        });
        let connections = connections.collect::<io::Result<Vec<_>>>()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || send_slowly(&connections, &over));
        Ok(Self {
            is_over,
            thread: Some(thread),
        })
    }

    /// Ends them, and tells of a byte that could not be sent.
    pub fn leave(mut self) -> io::Result<()> {
        self.is_over.store(true, SeqCst);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(sent)) => sent,
            _ => Err(io::Error::other("the thread of the slow clients panicked")),
        }
    }
}

impl Drop for SlowClients {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

fn send_slowly(connections: &[TcpStream], over: &AtomicBool) -> io::Result<()> {
    let share = connections.len().div_ceil(PARTS).max(1);
    let interval = Duration::from_secs(1) / PARTS as u32;
    let mut next = Instant::now();
    for part in connections.chunks(share).cycle() {
        if over.load(SeqCst) {
            break;
        }
        for mut connection in part {
            connection.write_all(b"x")?;
        }
        next += interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
