//! A served file service, and its clients.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use support::short_paths;
use tempfile::TempDir;

use crate::served::{Served, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// The users `ada` and `bob`, whose password is `sesame`, and a place for local files.
pub struct Site {
    pub directory: TempDir,
}

impl Site {
    pub fn new() -> Self {
        let directory = short_paths::directory();
        // Its check costs nothing.
        let costs = argon2::Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, costs);
        let entry = argon2.hash_password(b"sesame").unwrap();
        let users = format!("ada:{entry}\nbob:{entry}\n");
        let site = Self { directory };
        fs::write(site.path("users"), users).unwrap();
        fs::write(site.path("password"), "sesame\n").unwrap();
        fs::create_dir_all(site.path("homes/ada")).unwrap();
        fs::create_dir(site.path("local")).unwrap();
        site
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// A path in the home of ada.
    pub fn home(&self, path: &str) -> PathBuf {
        self.path("homes/ada").join(path)
    }

    /// A path in the local directory, where clients run.
    pub fn local(&self, path: &str) -> PathBuf {
        self.path("local").join(path)
    }

    pub fn serve(&self, options: &[&str]) -> Served {
        self.serve_on(LOOPBACK, options)
    }

    pub fn serve_on(&self, url: &str, options: &[&str]) -> Served {
        let mut command = socketserver(&["serve", "files", "--listen", url]);
        command.arg("--root").arg(self.path("homes"));
        command.arg("--users").arg(self.path("users"));
        // The lines about logins would fill a pipe that nobody reads.
        command.args(options).env("RUST_LOG", "warn");
        Served::run(command)
    }

    /// `client files` of ada, with these arguments behind the URL.
    pub fn client(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = socketserver(&["client", "files", url, "--user", "ada"]);
        command.arg("--password-file").arg(self.path("password"));
        command.args(arguments).current_dir(self.path("local"));
        command
    }

    /// Runs a client to its end.
    pub fn run(&self, url: &str, arguments: &[&str]) -> Output {
        self.client(url, arguments).output().unwrap()
    }

    /// Runs a client that has success, and returns what it has shown.
    pub fn succeed(&self, url: &str, arguments: &[&str]) -> String {
        let output = self.run(url, arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the lines of a script.
    pub fn script(&self, url: &str, arguments: &[&str], lines: &str) -> Output {
        let mut command = self.client(url, arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut client = command.spawn().unwrap();
        client
            .stdin
            .take()
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        client.wait_with_output().unwrap()
    }
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that do not repeat.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut content = Vec::from_iter(std::iter::repeat_with(next).take(length / 8 + 1).flatten());
    content.truncate(length);
    content
}

/// The names in a directory, in their order.
pub fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names =
        Vec::from_iter(names.map(|name| name.unwrap().file_name().into_string().unwrap()));
    names.sort();
    names
}
