//! How fast an idle server stops.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::ThreadingTcpServer;

use crate::load::Exchanges;
use crate::servers::echo;

/// After its last request the loop is given so long to become idle.
const PAUSE: Duration = Duration::from_millis(5);

/// The times from `shutdown()` to the return of an idle `serve_forever`, sorted.
pub fn idle_shutdowns(times: usize) -> io::Result<Vec<Duration>> {
    let server = ThreadingTcpServer::bind("127.0.0.1:0", echo).map_err(io::Error::other)?;
    let mut durations = Vec::with_capacity(times);
    for _ in 0..times {
        durations.push(thread::scope(|scope| {
            let serving = scope.spawn(|| (server.serve_forever(), Instant::now()));
            serve_one(server.local_addr().expect("it is bound to an IP address"))?;
            thread::sleep(PAUSE);
            let begin = Instant::now();
            server.shutdown();
            let (served, returned) = serving.join().expect("serve_forever does not panic");
            served.map_err(io::Error::other)?;
            io::Result::Ok(returned - begin)
        })?);
    }
    durations.sort();
    Ok(durations)
}

/// An exchange, after which the server is known to be in its loop.
fn serve_one(server: SocketAddr) -> io::Result<()> {
    Exchanges::over_tcp(server, 1).map(drop)
}
