//! The memory of our server for each transfer.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};

use measuring::{Measurement, Rounds};

use crate::figures::{Figure, Sample};
use crate::servers::{Running, Server};
use crate::transfers::{Material, Sizes};

/// The row.
pub fn title(sizes: &Sizes) -> String {
    format!("{} transfers down at a time", sizes.at_a_time)
}

/// A client that has logged in, and reads commands.
struct Session {
    process: Child,
    commands: ChildStdin,
}

impl Session {
    fn begin(server: &Running) -> io::Result<Self> {
        let mut command = server.session()?;
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut commands = process.stdin.take().expect("it is piped");
        let results = process.stdout.take().expect("it is piped");
        commands.write_all(b"pwd\n")?;
        let mut line = String::new();
        BufReader::new(results).read_line(&mut line)?;
        match line.as_str() {
            "/\n" => Ok(Self { process, commands }),
            _ => Err(io::Error::other(format!("the directory is {line:?}"))),
        }
    }
}

/// Transfers the large file to many clients at a time, all of whom have logged in before: the check
/// of a password takes more memory than a transfer. Divides what the server's memory has grown by
/// at its peak.
pub fn measure(
    running: &[Running],
    material: &Material,
    sizes: &Sizes,
) -> io::Result<Measurement<Figure>> {
    let ours = running.iter().find(|it| it.server() == Server::Ours);
    let ours = ours.ok_or_else(|| io::Error::other("our server does not run"))?;
    let process = ours.process();
    let clients = (0..sizes.at_a_time).map(|_| Session::begin(ours));
    let mut clients = clients.collect::<io::Result<Vec<_>>>()?;
    let before = process.resident_kilobytes()?;
    // The peak begins anew.
    fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
    for (number, client) in clients.iter_mut().enumerate() {
        let target = material.received().join(format!("{number}.bin"));
        let command = format!("get large.bin {}\nquit\n", target.display());
        client.commands.write_all(command.as_bytes())?;
    }
    for client in &mut clients {
        let status = client.process.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("a client ended with {status}")));
        }
    }
    for number in 0..sizes.at_a_time {
        fs::remove_file(material.received().join(format!("{number}.bin")))?;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    let peak = peak.ok_or_else(|| io::Error::other("/proc has no VmHWM"))?;
    let each = peak.saturating_sub(before) as f64 / sizes.at_a_time as f64;
    Ok(Measurement {
        load: title(sizes),
        servers: vec![Rounds {
            server: Server::Ours.title(),
            samples: vec![Some(Sample::from([(Figure::Kilobytes, each)]))],
        }],
        skipped: Vec::new(),
        failures: Vec::new(),
    })
}
