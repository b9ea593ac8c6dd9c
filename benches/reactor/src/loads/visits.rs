//! Clients that connect, exchange a line, and close.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fastrand::Rng;
use measuring::{Poller, ServerProcess, microseconds, percentile};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::figures::{Figure, Sample};
use crate::loads::clients::{LINE, LINE_LENGTH, LONGEST_ANSWER, check};

/// The port of a client that closes first stays taken for a minute, for this server and the
/// client's address. There are 28,000.
const MOST_VISITS: usize = 20_000;

pub fn run(
    server: &ServerProcess,
    at_a_time: usize,
    time: Duration,
    rng: &mut Rng,
) -> io::Result<Sample> {
    // An address of the loopback that has hardly been used before.
    let source = Ipv4Addr::new(127, rng.u8(1..=254), rng.u8(1..=254), rng.u8(1..=254));
    let mut poller = Poller::new()?;
    let mut latencies = Vec::new();
    let mut buffer = [0; 2 * LINE_LENGTH];
    let visit = |poller: &Poller, index| {
        let begun = Instant::now();
        let mut client = connect(server.address(), source)?;
        client.write_all(&LINE)?;
        poller.add(&client, index)?;
        Ok::<_, io::Error>((client, begun))
    };

    let cpu_before = server.cpu_time()?;
    let start = Instant::now();
    let mut visits = Vec::new();
    for index in 0..at_a_time {
        visits.push(visit(&poller, index)?);
    }
    let mut last_answer = start;
    while start.elapsed() < time && latencies.len() < MOST_VISITS {
        let ready = Vec::from_iter(poller.wait(100)?);
        for index in ready {
            let (client, begun) = &mut visits[index];
            let count = client.read(&mut buffer)?;
            check(&LINE, &buffer[..count])?;
            last_answer = Instant::now();
            latencies.push(last_answer - *begun);
            // The client of before closes here.
            visits[index] = visit(&poller, index)?;
        }
        if last_answer.elapsed() > LONGEST_ANSWER {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let cpu = server.cpu_time()? - cpu_before;
    let elapsed = start.elapsed();

    let count = latencies.len().max(1) as f64;
    Ok(Sample::from([
        (Figure::Rate, latencies.len() as f64 / elapsed.as_secs_f64()),
        (Figure::Cpu, microseconds(cpu) / count),
        (Figure::P50, percentile(&mut latencies, 50)),
        (Figure::P99, percentile(&mut latencies, 99)),
    ]))
}

fn connect(server: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // The port is chosen at the connect, which knows that ports may be shared.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}
