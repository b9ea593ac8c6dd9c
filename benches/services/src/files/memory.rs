//! The memory of our server for each transfer.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};

use measuring::{Measurement, Rounds};

use crate::figures::{Figure, Sample};
use crate::servers::{Running, Server};
use crate::transfers::{Material, Sizes};

/// Where the bytes of the transfers go.
#[derive(Debug, Clone, Copy)]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The row.
    pub fn title(self, sizes: &Sizes) -> String {
        let direction = match self {
            Self::Up => "up",
            Self::Down => "down",
        };
        format!("{} transfers {direction} at a time", sizes.at_a_time)
    }

    /// The command of the transfer, and the file that it makes.
    fn transfer(self, number: usize, server: &Running, material: &Material) -> (String, PathBuf) {
        let name = format!("{number}.bin");
        match self {
            Self::Up => {
                let command = format!("put {} {name}", material.large().display());
                (command, server.stored(material).join(name))
            }
            Self::Down => {
                let target = material.received().join(name);
                (format!("get large.bin {}", target.display()), target)
            }
        }
    }
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

/// Transfers the large file from or to many clients at a time, all of whom have logged in before:
/// the check of a password takes more memory than a transfer. Divides what the memory of a new
/// server has grown by at its peak.
pub fn measure(
    direction: Direction,
    material: &Material,
    sizes: &Sizes,
) -> io::Result<Measurement<Figure>> {
    let ours = Server::Ours.start(material)?;
    let process = ours.process();
    let clients = (0..sizes.at_a_time).map(|_| Session::begin(&ours));
    let mut clients = clients.collect::<io::Result<Vec<_>>>()?;
    let before = process.resident_kilobytes()?;
    // The peak begins anew.
    fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
    let mut made = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        let (command, file) = direction.transfer(number, &ours, material);
        client
            .commands
            .write_all(format!("{command}\nquit\n").as_bytes())?;
        made.push(file);
    }
    for client in &mut clients {
        let status = client.process.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("a client ended with {status}")));
        }
    }
    for file in made {
        fs::remove_file(file)?;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    let peak = peak.ok_or_else(|| io::Error::other("/proc has no VmHWM"))?;
    let each = peak.saturating_sub(before) as f64 / sizes.at_a_time as f64;
    Ok(Measurement {
        load: direction.title(sizes),
        servers: vec![Rounds {
            server: Server::Ours.title(),
            samples: vec![Some(Sample::from([(Figure::Kilobytes, each)]))],
        }],
        skipped: Vec::new(),
        failures: Vec::new(),
    })
}
