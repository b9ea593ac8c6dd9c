//! Clients that send, or take, a little now and then.

use std::time::{Duration, Instant};

use crate::connections::{Connection, DatagramSocket, Ending, question};
use crate::site::{Count, Site};
use crate::wire::{Kind, REFUSAL};

/// What is asked for by one who takes it slowly: more than the buffers hold.
const MUCH: usize = 8 << 20;

/// Longer than a server puts up with it.
const LONG: Duration = Duration::from_secs(4);

pub fn streams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        if let Some(connection) = Connection::open(site) {
            site.count(Count::Slow, 1);
            let ended = match rng.bool() {
                true => send_slowly(site, connection, &mut rng),
                false => take_slowly(site, connection, &mut rng),
            };
            if let Err(Ending::Wrong(what)) = ended {
                site.fail(format_args!("a slow client: {what}"));
            }
        }
        site.pause(rng.u64(50..500));
    }
}

/// A byte now and then. If it is quick enough there is an answer, and it is the right one.
fn send_slowly(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let length = rng.usize(1..60);
    let question = question(rng, Kind::Transform, length);
    let most = rng.u64(2..120);
    for byte in question.to_bytes() {
        connection.send(&[byte])?;
        site.pause(rng.u64(1..most));
    }
    connection.expect(&question.answer())
}

/// Asks for much, and takes little at a time, until the server has had enough of it.
fn take_slowly(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let question = question(rng, Kind::Give, MUCH);
    connection.send(&question.to_bytes())?;
    let answer = question.answer();
    let begun = Instant::now();
    let mut at = 0;
    while at < answer.len() && !site.stop.is_set() {
        at += connection.expect_some(&answer[at..], 1024)?;
        site.pause(rng.u64(5..60));
        // The server gives it up before that; what was in the buffers would come all the same.
        if begun.elapsed() > LONG {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends as others do, and takes its answers late.
pub fn datagrams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        if let Some(socket) = DatagramSocket::open(site) {
            site.count(Count::Slow, 1);
            let questions = (0..rng.usize(1..8)).map(|_| {
                let length = rng.usize(..2000);
                question(&mut rng, Kind::Transform, length)
            });
            let questions = Vec::from_iter(questions);
            let wait = Duration::from_millis(300);
            for question in &questions {
                // It fails when the server is closed.
                if !matches!(socket.send(&question.to_bytes(), wait), Ok(true)) {
                    break;
                }
            }
            site.pause(rng.u64(50..400));
            let until = Instant::now() + wait;
            while let Ok(Some(packet)) = socket.receive(until) {
                let is_right = questions.iter().any(|it| packet == it.answer());
                if !is_right && packet != REFUSAL && !socket.is_for_predecessor(&packet) {
                    let length = packet.len();
                    site.fail(format_args!(
                        "a slow client: a wrong datagram of {length} bytes"
                    ));
                }
            }
        }
        site.pause(rng.u64(20..200));
    }
}
