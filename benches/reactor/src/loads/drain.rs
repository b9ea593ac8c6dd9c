//! A stop request while connections are idle, a handler is blocked, and a message is incomplete.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use measuring::ServerProcess;

use crate::figures::{Figure, Sample};
use crate::loads::clients::{LINE, check, connect, connect_all, line};

pub fn run(server: &mut ServerProcess, idle: usize) -> io::Result<Sample> {
    let mut idle = connect_all(server.address(), idle)?;
    let mut blocked = connect(server.address())?;
    let mut half = connect(server.address())?;
    let blocking = line(b'B');
    let (first_half, second_half) = LINE.split_at(LINE.len() / 2);
    blocked.write_all(&blocking)?;
    half.write_all(first_half)?;
    // Long enough for both to arrive, and less than the handler is blocked.
    thread::sleep(Duration::from_millis(10));

    let start = Instant::now();
    server.request_stop()?;
    for client in &mut idle {
        expect_end(client)?;
    }
    let drained = start.elapsed();
    half.write_all(second_half)?;
    let answers = [answer(&mut blocked, &blocking), answer(&mut half, &LINE)];
    server.wait_for_end(Duration::from_secs(5))?;
    Ok(Sample::from([
        (Figure::DrainTime, drained.as_secs_f64() * 1e3),
        (
            Figure::Answered,
            answers.iter().filter(|it| it.is_ok()).count() as f64,
        ),
    ]))
}

/// Waits for the answer and for the server's close.
fn answer(client: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    let mut answer = vec![0; line.len()];
    client.read_exact(&mut answer)?;
    check(line, &answer)?;
    expect_end(client)
}

fn expect_end(client: &mut TcpStream) -> io::Result<()> {
    match client.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("the server sends, and does not close")),
    }
}
