//! Ordinary clients, without and with many that send a byte a second.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use measuring::ServerProcess;

use crate::figures::Sample;
use crate::loads::Sizes;
use crate::loads::clients::connect_all;
use crate::loads::paced::{Pace, keep_pace, sample};

const ORDINARY: Pace = Pace {
    connections: 64,
    rate: 2000,
    marked: None,
};

/// The time in which every slow client sends a byte.
const PERIOD: Duration = Duration::from_secs(1);

/// The slow clients send in so many groups.
const GROUPS: usize = 100;

pub fn run(server: &ServerProcess, sizes: &Sizes, rng: &mut Rng) -> io::Result<Sample> {
    let time = 2 * sizes.slice;
    let ordinary = |rng: &mut Rng| keep_pace(server, &ORDINARY, sizes.warm_up, time, rng);
    let beside_slow = |rng: &mut Rng| {
        let slow = SlowClients::start(server, sizes.slow)?;
        let outcome = ordinary(rng);
        slow.leave()?;
        server.settle(Duration::from_secs(5))?;
        outcome
    };
    let (mut without, mut with) = if rng.bool() {
        let without = ordinary(rng)?;
        (without, beside_slow(rng)?)
    } else {
        let with = beside_slow(rng)?;
        (ordinary(rng)?, with)
    };
    Ok(sample(&mut without, &mut with))
}

/// A thread that sends for all slow clients, of whose lines none ever ends.
struct SlowClients {
    leaves: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl SlowClients {
    fn start(server: &ServerProcess, count: usize) -> io::Result<Self> {
        let mut clients = connect_all(server.address(), count)?;
        let leaves = Arc::new(AtomicBool::new(false));
        let leave = leaves.clone();
        let thread = thread::spawn(move || {
            let group = clients.len().div_ceil(GROUPS);
            while !leave.load(Ordering::Relaxed) {
                send_bytes(&mut clients, group, &leave)?;
            }
            Ok(())
        });
        Ok(Self { leaves, thread })
    }

    fn leave(self) -> io::Result<()> {
        self.leaves.store(true, Ordering::Relaxed);
        self.thread.join().expect("the slow clients do not panic")
    }
}

/// Sends a byte for each client within the period.
fn send_bytes(clients: &mut [TcpStream], group: usize, leave: &AtomicBool) -> io::Result<()> {
    let mut due = Instant::now();
    for clients in clients.chunks_mut(group) {
        if leave.load(Ordering::Relaxed) {
            break;
        }
        for client in clients {
            client.write_all(b"a")?;
        }
        due += PERIOD / GROUPS as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
