//! Clients that mean harm.

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::channel::VERSION_2;
use crate::connections::{Connection, DatagramSocket, Ending, question};
use crate::site::{Count, Site};
use crate::wire::{Kind, LONGEST_BODY, LONGEST_PACKET, MOST_GIVEN};

/// Hostile clients have an address of their own, so that a limit for each address meets them alone.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const ORDERS: [Kind; 3] = [Kind::Fail, Kind::Panic, Kind::Die];

/// One connection at a time, each of which the server has to get rid of.
pub fn streams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        let harmed = match site.kind.transport.has_preamble() && rng.bool() {
            true => Connection::open_bare(site, FROM).map(|it| harm_preamble(site, it, &mut rng)),
            false => Connection::open_from(site, FROM).map(|it| harm(site, it, &mut rng)),
        };
        if let Some(harmed) = harmed {
            site.count(Count::Hostile, 1);
            if let Err(Ending::Wrong(what)) = harmed {
                site.fail(format_args!("a hostile client: {what}"));
            }
        }
        site.pause(rng.u64(5..150));
    }
}

fn harm(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    match rng.u8(0..8) {
        // It says nothing.
        0 => {}
        // It says nothing more.
        1 => {
            let question = question(rng, Kind::Transform, 10);
            connection.send(&question.to_bytes())?;
            connection.expect(&question.answer())?;
        }
        // It asks for much, and takes nothing.
        2 => {
            connection.send(&question(rng, Kind::Give, MOST_GIVEN).to_bytes())?;
            site.pause(rng.u64(100..1500));
            return Ok(());
        }
        3 => {
            let mut garbage = vec![0; rng.usize(16..4000)];
            rng.fill(&mut garbage);
            garbage[0] = 0;
            connection.send(&garbage)?;
        }
        4 => {
            let kind = [Kind::Transform, Kind::Give][rng.usize(..2)];
            let least = LONGEST_BODY.max(MOST_GIVEN) + 1;
            let length = rng.usize(least..u32::MAX as usize);
            connection.send(&question(rng, kind, length).header())?;
        }
        5 if site.kind.forks() => return kill_from_outside(site, connection, rng),
        _ => {
            let order = ORDERS[rng.usize(..ORDERS.len())];
            count_order(site, order);
            connection.send(&question(rng, order, 0).to_bytes())?;
        }
    }
    connection.expect_close()
}

/// Sends something else than the handshake or the header that has to come first, or a part of it.
fn harm_preamble(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let begins: [&[u8]; 4] = [
        b"PROXY TCP4 127.0.0.1 ",
        VERSION_2,
        // A handshake record of TLS, which holds a longer message than it does.
        &[0x16, 3, 1, 0, 5, 1, 0, 1, 0, 3],
        // A handshake record with the largest length there is.
        &[0x16, 3, 1, 0xff, 0xff],
    ];
    match rng.u8(0..4) {
        // It says nothing.
        0 => {}
        1 => connection.send(begins[rng.usize(..begins.len())])?,
        // It sends a byte now and then.
        2 => {
            for byte in begins[rng.usize(..begins.len())] {
                connection.send(&[*byte])?;
                site.pause(rng.u64(1..200));
            }
        }
        // It leaves as a health check does.
        _ => {
            connection.send(begins[rng.usize(..begins.len())])?;
            connection.reset();
            return Ok(());
        }
    }
    connection.expect_end()
}

fn count_order(site: &Site<'_>, order: Kind) {
    match order {
        Kind::Panic => site.count(Count::Panics, 1),
        Kind::Die if site.kind.forks() => site.count(Count::Kills, 1),
        _ => {}
    }
}

/// Kills the child that serves the connection.
fn kill_from_outside(
    site: &Site<'_>,
    mut connection: Connection<'_>,
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let question = question(rng, Kind::Identify, 0);
    connection.send(&question.to_bytes())?;
    connection.expect(&question.answer_header())?;
    let child = connection.receive_number()?;
    // It waits for us. Should it have been told to end in this moment, its number is not given to
    // another process so soon: numbers go round.
    let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
    site.count(Count::Kills, 1);
    connection.expect_close()
}

/// Many connections at once, which say nothing or rubbish.
pub fn floods(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        let size = rng.usize(5..40);
        let open = |_| Connection::open_bare(site, FROM);
        let mut flood = Vec::from_iter((0..size).filter_map(open));
        site.count(Count::Hostile, flood.len() as u64);
        for connection in &mut flood {
            if rng.u8(..) < 64 {
                // It fails if the server has closed it.
                let _ = connection.send(b"rubbish");
            }
        }
        site.pause(rng.u64(10..200));
        drop(flood);
        site.pause(rng.u64(300..1500));
    }
}

pub fn datagrams(site: &Site<'_>, mut rng: fastrand::Rng) {
    while !site.stop.is_set() {
        if let Some(socket) = DatagramSocket::open(site) {
            let packets = bad_packets(site, &mut rng);
            site.count(Count::Hostile, packets.len() as u64);
            for packet in packets {
                // It fails when the server is closed.
                if socket.send(&packet, Duration::from_millis(200)).is_err() {
                    break;
                }
            }
            // Answers, if there are any, are not taken.
            site.pause(rng.u64(..100));
        }
        site.pause(rng.u64(20..200));
    }
}

fn bad_packets(site: &Site<'_>, rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    match rng.u8(0..6) {
        0 => {
            let mut garbage = vec![0; rng.usize(1..4000)];
            rng.fill(&mut garbage);
            garbage[0] = 0;
            vec![garbage]
        }
        1 => vec![vec![0; rng.usize(LONGEST_PACKET + 1..65_507)]],
        // More than a datagram holds.
        2 => vec![question(rng, Kind::Give, 70_000).to_bytes()],
        3 => {
            let answered = |_| question(rng, Kind::Give, 30_000).to_bytes();
            (0..30).map(answered).collect()
        }
        4 => {
            let milliseconds = rng.usize(..300);
            vec![question(rng, Kind::Work, milliseconds).to_bytes()]
        }
        _ => {
            let order = ORDERS[rng.usize(..ORDERS.len())];
            count_order(site, order);
            vec![question(rng, order, 0).to_bytes()]
        }
    }
}
