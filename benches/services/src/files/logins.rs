//! Whether the time of a refused login tells a wrong user from a wrong password.

use std::fmt::Write as _;
use std::io;
use std::process::Stdio;
use std::time::Instant;

use fastrand::Rng;
use measuring::Quartiles;

use crate::servers::{Running, Server, USER};
use crate::transfers::{Material, Sizes};

/// A table with a row for each kind of refused login, which take turns in random order.
pub fn table(running: &[Running], material: &Material, sizes: &Sizes) -> io::Result<String> {
    let ours = running.iter().find(|it| it.server() == Server::Ours);
    let ours = ours.ok_or_else(|| io::Error::other("our server does not run"))?;
    let kinds = [
        ("wrong password", USER),
        ("wrong user", "nobody-of-that-name"),
    ];
    let mut times = kinds.map(|_| Vec::new());
    let mut rng = Rng::with_seed(1);
    for _ in 0..sizes.logins {
        let mut order = [0, 1];
        rng.shuffle(&mut order);
        for index in order {
            let (_, user) = kinds[index];
            let mut command = ours.login(user, &material.own().join("wrong"))?;
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            if command.status()?.success() {
                return Err(io::Error::other("the wrong password is accepted"));
            }
            times[index].push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let mut table = "| refused login | median ms | quartiles | least | most |\n".to_owned();
    table.push_str("|---|---:|---|---:|---:|");
    for ((kind, _), times) in kinds.iter().zip(times) {
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        let most = times.iter().copied().fold(0.0, f64::max);
        let Some(Quartiles { low, median, high }) = Quartiles::of(times) else {
            continue;
        };
        let _ = write!(
            table,
            "\n| {kind} | {median:.1} | {low:.1} to {high:.1} | {least:.1} | {most:.1} |"
        );
    }
    Ok(table)
}
