//! Clients that leave at any point, in good order or not.

use std::net::Shutdown;
use std::time::Duration;

use crate::connections::{Connection, DatagramSocket, Ending, question};
use crate::site::{Count, Site};
use crate::wire::Kind;

pub fn streams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        if let Some(connection) = Connection::open(site) {
            site.count(Count::Broken, 1);
            if let Err(Ending::Wrong(what)) = leave(site, connection, &mut rng) {
                site.fail(format_args!("a broken client: {what}"));
            }
        }
        site.pause(rng.u64(2..60));
    }
}

fn leave(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let length = rng.usize(..100_000);
    let kind = [Kind::Transform, Kind::Give, Kind::Work][rng.usize(..3)];
    let question = question(rng, kind, length);
    let bytes = question.to_bytes();
    match rng.u8(0..6) {
        // Before it has said anything.
        0 => {}
        // In the middle of the question.
        1 => connection.send(&bytes[..rng.usize(..bytes.len())])?,
        // Having told that nothing more comes, in the middle of the question: no answer is due.
        2 => {
            connection.send(&bytes[..rng.usize(1..bytes.len())])?;
            connection.shut_down(Shutdown::Write);
            return connection.expect_close();
        }
        // Before the answer.
        3 => {
            connection.send(&bytes)?;
            site.pause(rng.u64(..5));
        }
        // In the middle of the answer.
        4 => {
            connection.send(&bytes)?;
            let answer = question.answer();
            connection.expect(&answer[..rng.usize(..answer.len())])?;
        }
        // Taking nothing any more.
        _ => {
            connection.shut_down(Shutdown::Read);
            connection.send(&bytes)?;
            site.pause(rng.u64(..50));
        }
    }
    match rng.u8(0..3) {
        0 => connection.reset(),
        1 => connection.shut_down(Shutdown::Both),
        _ => drop(connection),
    }
    Ok(())
}

/// Clients that are gone when the answer comes, or that no answer can be sent to.
pub fn datagrams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        let socket = match rng.bool() {
            true => DatagramSocket::open(site),
            false => DatagramSocket::open_unnamed(site),
        };
        if let Some(socket) = socket {
            site.count(Count::Broken, 1);
            for _ in 0..rng.usize(1..5) {
                let length = rng.usize(..3000);
                let question = question(&mut rng, Kind::Transform, length);
                let _ = socket.send(&question.to_bytes(), Duration::from_millis(100));
            }
        }
        site.pause(rng.u64(5..80));
    }
}
