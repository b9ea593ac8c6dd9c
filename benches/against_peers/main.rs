//! Measures our servers against hand-written ones, under the same load, in turn.
//!
//! `benches/README.md` tells how to run it and how to read the table.

mod comparison;
mod load;
mod memory;
mod peers;
mod process;
mod processor;
mod servers;
mod shutdown;
mod table;
mod tls;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::comparison::Pair;
use crate::load::{Connects, Exchanges, Limits};
use crate::process::{SERVER_ARGUMENT, ServerKind};

static SERVERS: [&ServerKind; 8] = [
    &peers::THREAD_LOOP,
    &peers::UDP_LOOP,
    &servers::THREADING,
    &servers::THREAD_POOL,
    &servers::FORKING,
    &servers::UDP,
    &tls::THREADING,
    &tls::THREAD_LOOP,
];

const THREADING: Pair = Pair {
    ours: &servers::THREADING,
    peer: &peers::THREAD_LOOP,
};
const THREAD_POOL: Pair = Pair {
    ours: &servers::THREAD_POOL,
    peer: &peers::THREAD_LOOP,
};
const FORKING: Pair = Pair {
    ours: &servers::FORKING,
    peer: &peers::THREAD_LOOP,
};
const UDP: Pair = Pair {
    ours: &servers::UDP,
    peer: &peers::UDP_LOOP,
};

const TLS: Pair = Pair {
    ours: &tls::THREADING,
    peer: &tls::THREAD_LOOP,
};

/// How much is measured.
#[derive(Debug)]
struct Sizes {
    rounds: usize,
    /// The rounds of what is only for information, or takes long.
    few_rounds: usize,
    exchanges: Limits,
    connects: Limits,
    many_connections: usize,
    idle_connections: usize,
    idle_tls_connections: usize,
    shutdowns: usize,
}

/// What `cargo bench` measures. Every server gets less than 20,000 connects.
const FULL: Sizes = Sizes {
    rounds: 12,
    few_rounds: 5,
    exchanges: Limits {
        exchanges: 100_000,
        time: Duration::from_millis(300),
    },
    connects: Limits {
        exchanges: 1500,
        time: Duration::from_millis(500),
    },
    many_connections: 1000,
    idle_connections: 5000,
    idle_tls_connections: 1000,
    shutdowns: 100,
};

/// What `cargo test` runs, to see that it works.
const TRIAL: Sizes = Sizes {
    rounds: 2,
    few_rounds: 1,
    exchanges: Limits {
        exchanges: 100,
        time: Duration::from_millis(50),
    },
    connects: Limits {
        exchanges: 50,
        time: Duration::from_millis(50),
    },
    many_connections: 20,
    idle_connections: 20,
    idle_tls_connections: 20,
    shutdowns: 2,
};

/// A part of the table: its name for the filter, and what prints its rows.
type Part = (&'static str, fn(&Sizes) -> io::Result<()>);

static PARTS: [Part; 13] = [
    ("tcp-1", |sizes| tcp("1 connection", sizes, 1)),
    ("tcp-64", |sizes| tcp("64 connections", sizes, 64)),
    ("tcp-1000", |sizes| {
        let connections = sizes.many_connections;
        tcp(&format!("{connections} connections"), sizes, connections)
    }),
    ("connect", |sizes| {
        connect("connect, exchange, close", THREADING, sizes, sizes.rounds)
    }),
    ("connect-pool", |sizes| {
        connect(
            "the same, ThreadPoolMixIn",
            THREAD_POOL,
            sizes,
            sizes.few_rounds,
        )
    }),
    ("connect-fork", |sizes| {
        connect("the same, ForkingMixIn", FORKING, sizes, sizes.few_rounds)
    }),
    ("udp-1", |sizes| udp("UDP, 1 client", sizes, 1)),
    ("udp-32", |sizes| udp("UDP, 32 clients", sizes, 32)),
    ("memory", memory),
    ("tls-handshake", tls_handshakes),
    ("tls-bulk", tls_bulk),
    ("tls-memory", tls_memory),
    ("shutdown", shutdown),
];

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    match arguments.as_slice() {
        [argument, name] if argument == SERVER_ARGUMENT => run_server(name),
        arguments => match measure(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run_server(name: &str) -> ExitCode {
    match SERVERS.iter().find(|server| server.name == name) {
        Some(server) => server.run(),
        None => {
            eprintln!("there is no server {name}");
            ExitCode::from(2)
        }
    }
}

/// Cargo says `--bench` when it measures, and not when it tests. Other flags are for the harness
/// of other targets; words are parts of the names of what is to run.
fn measure(arguments: &[String]) -> io::Result<()> {
    let (flags, words): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.starts_with('-'));
    let sizes = if flags.iter().any(|flag| *flag == "--bench") {
        FULL
    } else {
        TRIAL
    };
    let chosen = |part: &&Part| words.is_empty() || words.iter().any(|word| part.0.contains(*word));
    let chosen = Vec::from_iter(PARTS.iter().filter(chosen));
    if chosen.is_empty() {
        // No failure: the words may be meant for the tests that cargo runs besides.
        println!(
            "none of these is meant: {}",
            PARTS.map(|part| part.0).join(", ")
        );
        return Ok(());
    }
    table::print_head();
    for (name, print_rows) in chosen {
        print_rows(&sizes)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    }
    Ok(())
}

fn tcp(load: &str, sizes: &Sizes, connections: usize) -> io::Result<()> {
    comparison::exchanges(load, THREADING, sizes.rounds, sizes.exchanges, |server| {
        Ok(Box::new(Exchanges::over_tcp(server, connections)?))
    })
}

fn connect(load: &str, pair: Pair, sizes: &Sizes, rounds: usize) -> io::Result<()> {
    comparison::exchanges(load, pair, rounds, sizes.connects, |server| {
        Ok(Box::new(Connects::new(server, 32)?))
    })
}

fn udp(load: &str, sizes: &Sizes, clients: usize) -> io::Result<()> {
    comparison::exchanges(load, UDP, sizes.rounds, sizes.exchanges, |server| {
        Ok(Box::new(Exchanges::over_udp(server, clients)?))
    })
}

fn memory(sizes: &Sizes) -> io::Result<()> {
    let connections = sizes.idle_connections;
    let load = format!("{connections} idle connections");
    comparison::memory(&load, THREADING, sizes.few_rounds, connections, |server| {
        Ok(Box::new(Exchanges::over_tcp(server, connections)?))
    })
}

fn tls_handshakes(sizes: &Sizes) -> io::Result<()> {
    let clients = tls::Clients::new()?;
    let load = "TLS: connect, exchange, close";
    comparison::exchanges(load, TLS, sizes.rounds, sizes.connects, |server| {
        Ok(Box::new(clients.visits(server)))
    })
}

fn tls_bulk(sizes: &Sizes) -> io::Result<()> {
    let clients = tls::Clients::new()?;
    let load = "TLS: 256 KiB to and fro";
    comparison::exchanges(load, TLS, sizes.rounds, sizes.exchanges, |server| {
        Ok(Box::new(clients.connected(server, 1)?))
    })
}

fn tls_memory(sizes: &Sizes) -> io::Result<()> {
    let clients = tls::Clients::new()?;
    let connections = sizes.idle_tls_connections;
    let load = format!("TLS: {connections} idle connections");
    comparison::memory(&load, TLS, sizes.few_rounds, connections, |server| {
        Ok(Box::new(clients.connected(server, connections)?))
    })
}

fn shutdown(sizes: &Sizes) -> io::Result<()> {
    let durations = shutdown::idle_shutdowns(sizes.shutdowns)?;
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!(
        "idle shutdown: median {:.3} ms, longest of {} {:.3} ms (Python polls every 500 ms: its \
         default poll_interval=0.5)",
        milliseconds(durations[durations.len() / 2]),
        durations.len(),
        milliseconds(durations[durations.len() - 1]),
    );
    Ok(())
}
