//! What the program is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::kinds::Kind;

/// The argument that makes the program a server: its kind and its directory follow.
pub const SERVER: &str = "--server";

/// How long it runs unless told, in seconds: enough that `cargo test` sees whether it works.
const SECONDS: u64 = 4;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    Soak {
        time: Duration,
        seed: u64,
    },
    Serve {
        kind: Kind,
        directory: PathBuf,
    },
    /// Tell that there is one test, as the test harness would.
    List,
    /// Another test is meant.
    Nothing,
}

/// Options of the test harness that a value follows, which may be given to every test program.
const HARNESS_OPTIONS_WITH_VALUE: [&str; 8] = [
    "--skip",
    "--test-threads",
    "--color",
    "--format",
    "--logfile",
    "--shuffle-seed",
    "--report-time",
    "-Z",
];

impl Task {
    /// Reads the arguments behind the program's name.
    ///
    /// `cargo test` gives what stands behind `--` to each test program, so what the test harness
    /// knows is no error here.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut seconds, mut seed) = (SECONDS, fastrand::u64(..));
        let (mut listed, mut ignored_only, mut exact) = (false, false, false);
        let (mut filters, mut skipped) = (Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name, Some(value.to_owned())),
                _ => (&*argument, None),
            };
            let mut value = || {
                let value = attached.clone().or_else(|| arguments.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                SERVER => {
                    let (kind, directory) = (value()?, value()?);
                    let kind = Kind::named(&kind).ok_or("no such kind of server")?;
                    let directory = directory.into();
                    return Ok(Self::Serve { kind, directory });
                }
                "--seconds" => seconds = number(name, &value()?)?,
                "--seed" => seed = number(name, &value()?)?,
                "--list" => listed = true,
                "--ignored" => ignored_only = true,
                "--exact" => exact = true,
                "--skip" => skipped.push(value()?),
                _ if HARNESS_OPTIONS_WITH_VALUE.contains(&name) => drop(value()?),
                _ if name.starts_with('-') => {}
                _ => filters.push(argument),
            }
        }
        let matches = |filter: &String| match exact {
            true => filter == "soak",
            false => "soak".contains(&**filter),
        };
        let meant = filters.is_empty() || filters.iter().any(matches);
        if ignored_only || !meant || skipped.iter().any(matches) {
            return Ok(Self::Nothing);
        }
        if listed {
            return Ok(Self::List);
        }
        let time = Duration::from_secs(seconds.max(1));
        Ok(Self::Soak { time, seed })
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    let number = value.parse();
    number.map_err(|_| format!("{name} {value}: that is not a number"))
}
