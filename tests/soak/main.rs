//! Every transport with every mix-in, under good, slow, broken and hostile clients at once, for as
//! long as one likes. `docs/guide/soak.md` tells how to run it and what it looks at.
//!
//! It has a `main` of its own, because its servers are processes of this same program.

mod arguments;
mod at_rest;
mod broken_clients;
mod census;
mod channel;
mod closing;
mod connections;
mod consistency;
mod disturbances;
mod good_clients;
mod handler;
mod hostile_clients;
mod kinds;
mod phase;
mod port_history;
mod process;
mod report;
mod servers;
mod site;
mod slow_clients;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use support::certificates::Authority;
use support::tls_clients::TlsClients;

use crate::arguments::Task;
use crate::at_rest::AtRest;
use crate::closing::Closing;
use crate::kinds::Kind;
use crate::phase::Server;
use crate::process::ServerProcess;
use crate::site::{Failures, Site, Stop, Tally};

/// What everything takes at most that has no end of its own: then something hangs.
const BESIDES: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("soak: nothing is run here, since it needs /proc, which Linux has");
        return ExitCode::SUCCESS;
    }
    match Task::from_arguments(std::env::args().skip(1)) {
        Ok(Task::Serve { kind, directory }) => servers::run(kind, &directory),
        Ok(Task::List) => {
            println!("soak: test");
            ExitCode::SUCCESS
        }
        Ok(Task::Nothing) => ExitCode::SUCCESS,
        Ok(Task::Soak { time, seed }) => soak(time, seed),
        Err(what) => {
            eprintln!("soak: {what}");
            ExitCode::FAILURE
        }
    }
}

fn soak(time: Duration, seed: u64) -> ExitCode {
    let warm_up = (time / 5).clamp(Duration::from_secs(1), Duration::from_secs(20));
    end_after(warm_up + time + BESIDES);
    println!("soak: {} s, --seed {seed}", time.as_secs());
    let (stop, failures) = (Stop::default(), Failures::default());
    let authority = Authority::new();
    let tls_clients = TlsClients::new(&authority);
    let ran = tempfile::tempdir()
        .map_err(|error| format!("there is no temporary directory: {error}"))
        .and_then(|directory| {
            let directory = directory.path();
            let [certificate, key] = servers::IDENTITY.map(|name| directory.join(name));
            authority.server(&["localhost"]).copy_to(&certificate, &key);
            let (mut servers, fresh) = start(directory, &tls_clients, &stop, &failures)?;
            let mut rng = fastrand::Rng::with_seed(seed);
            phase::run(&mut servers, &stop, warm_up, &mut rng);
            let before = at_rest(&mut servers, &fresh, AtRest::after_warm_up)?;
            phase::run(&mut servers, &stop, time, &mut rng);
            let after = at_rest(&mut servers, &before, AtRest::at_the_end)?;
            let censuses = Vec::from_iter(before.into_iter().zip(after));
            print!("{}", report::tables(&servers, &censuses));
            consistency::check(&servers);
            let sum = |count| servers.iter().map(|it| it.site.counted(count)).sum();
            let sums: [u64; 2] = [site::Count::Exchanges, site::Count::Bytes].map(sum);
            let count = servers.len();
            for server in servers {
                server.process.end()?;
            }
            Ok((count, sums))
        });
    if let Err(what) = &ran {
        failures.add(what.clone());
    }
    match (ran, failures.first()) {
        (Ok((servers, [exchanges, bytes])), None) => {
            println!(
                "soak passed: {} s, {servers} servers, {exchanges} good exchanges, {bytes} bytes \
                 looked at, nothing left over",
                time.as_secs()
            );
            ExitCode::SUCCESS
        }
        (_, first) => {
            let count = failures.count();
            let first = first.unwrap_or_default();
            println!("soak FAILED: {count} failures, --seed {seed}; the first: {first}");
            ExitCode::FAILURE
        }
    }
}

/// What hangs is a failure too.
fn end_after(time: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(time);
        println!("soak FAILED: it has not come to its end within {time:?}");
        // The servers' processes end because nobody gives them orders any more.
        std::process::exit(1)
    });
}

/// Starts the servers. Gives also what their processes have at first.
fn start<'a>(
    directory: &Path,
    tls_clients: &'a TlsClients,
    stop: &'a Stop,
    failures: &'a Failures,
) -> Result<(Vec<Server<'a>>, Vec<AtRest>), String> {
    let start = |kind| {
        let mut process = ServerProcess::start(kind, directory)?;
        let (fresh, address) = AtRest::fresh(&mut process)?;
        let site = Site {
            kind,
            directory: directory.to_owned(),
            address: Some(address).into(),
            tls_clients,
            tally: Tally::default(),
            stop,
            failures,
        };
        let closings = Closing::default();
        let server = Server {
            site,
            process,
            closings,
        };
        Ok((server, fresh))
    };
    Kind::all().map(start).collect()
}

/// What each process has when no client is there, compared with what it had before.
///
/// What is made once and then kept is there after the warm-up: from then on nothing may be added.
fn at_rest(
    servers: &mut [Server<'_>],
    before: &[AtRest],
    count: impl Fn(&mut Server<'_>, &AtRest) -> Result<AtRest, String> + Sync,
) -> Result<Vec<AtRest>, String> {
    let count = &count;
    // All at once, since each may wait for a while.
    std::thread::scope(|scope| {
        let both = servers.iter_mut().zip(before);
        let counting = both.map(|(server, before)| scope.spawn(move || count(server, before)));
        Vec::from_iter(counting)
            .into_iter()
            .map(|counting| {
                counting
                    .join()
                    .map_err(|_| "a census panicked".to_owned())?
            })
            .collect()
    })
}
