//! SIGKILL of either side in the middle of a transfer: a file is right, or it is not there.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::site::{Site, content, names};
use crate::served::{SAFETY_NET, Served};

const SIZE: usize = 24_000_000;

/// A child that is killed when it is dropped.
struct Killed(Child);

impl Killed {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bytes of the partial file in a directory; 0 without one.
fn arrived(directory: &Path) -> u64 {
    let names = fs::read_dir(directory).unwrap();
    let names = names.map(|name| name.unwrap());
    let mut partials = names.filter(|name| name.path().extension().is_some_and(|it| it == "part"));
    partials
        .next()
        .map_or(0, |partial| partial.metadata().map_or(0, |it| it.len()))
}

/// Waits until so many bytes have arrived, or the transfer is over.
fn wait_for(bytes: usize, directory: &Path, target: &Path) {
    let begin = Instant::now();
    while arrived(directory) < bytes as u64 && !target.exists() {
        assert!(
            begin.elapsed() < SAFETY_NET,
            "{} bytes have come",
            arrived(directory)
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// A file that is there is the whole one.
fn check(target: &Path, content: &[u8]) -> bool {
    match fs::read(target) {
        Ok(found) => {
            assert!(found == content, "a wrong file has the name");
            true
        }
        Err(_) => false,
    }
}

/// The points at which somebody is killed, in bytes of the content.
const POINTS: [usize; 4] = [1, SIZE / 3, SIZE / 2, SIZE - 300_000];

#[test]
fn a_client_that_is_killed_goes_on_where_it_was() {
    let site = Site::new();
    let served = site.serve(&[]);
    let content = content(SIZE);
    fs::write(site.local("up"), &content).unwrap();
    fs::write(site.home("down"), &content).unwrap();
    for (name, directory) in [("up", site.home("")), ("down", site.local(""))] {
        let target = directory.join(name);
        let arguments = [if name == "up" { "put" } else { "get" }, name];
        for point in POINTS {
            let client = Killed::start(site.client(served.url(), &arguments));
            wait_for(point, &directory, &target);
            drop(client);
            if check(&target, &content) {
                break;
            }
        }
        if !target.exists() {
            let before = arrived(&directory);
            site.succeed(served.url(), &arguments);
            assert!(before > 0);
        }
        assert!(check(&target, &content));
    }
    assert_eq!(names(&site.home("")), ["down", "up"]);
    assert_eq!(names(&site.local("")), ["down", "up"]);
    served.stop();
}

#[test]
fn a_client_outlives_servers_that_are_killed() {
    let content = content(SIZE);
    for name in ["up", "down"] {
        let site = Site::new();
        fs::write(site.local("up"), &content).unwrap();
        fs::write(site.home("down"), &content).unwrap();
        let directory = if name == "up" {
            site.home("")
        } else {
            site.local("")
        };
        let (target, copy) = (directory.join("copy"), "copy");
        let mut served = site.serve(&[]);
        let url = served.url().to_owned();
        let command = if name == "up" { "put" } else { "get" };
        let mut client =
            Killed::start(site.client(&url, &["--retries", "20", command, name, copy]));
        for point in POINTS {
            wait_for(point, &directory, &target);
            drop::<Served>(served);
            if target.exists() {
                assert!(check(&target, &content));
            }
            served = site.serve_on(&url, &[]);
        }
        let status = client.0.wait().unwrap();
        assert!(
            status.success() || check(&target, &content),
            "{name}: {status}"
        );
        assert!(check(&target, &content), "{name}");
        assert_eq!(arrived(&directory), 0);
        served.stop();
    }
}
