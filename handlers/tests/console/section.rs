//! The blocks of one section, which run in their order.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::page::{Block, Section};
use crate::root;
use crate::terminal::{Changed, LOOK_EVERY, Terminal};

/// A block that waits longer than this for something has failed.
const SAFETY_NET: Duration = Duration::from_secs(60);

/// `cargo run` of the pages. The programs are built already.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = run ] || exit 127
shift
program=socketserver
while [ $# -gt 0 ]; do
    case "$1" in
        -q | --release) shift ;;
        -p) shift 2 ;;
        --example) program="examples/$2"; shift 2 ;;
        --) shift; break ;;
        *) break ;;
    esac
done
exec "$PROGRAMS/$program" "$@"
"#;

/// Runs the section. The error begins with the number of a line.
pub fn run(section: &Section) -> Result<(), String> {
    if let Some((line, missing)) = missing(section) {
        println!("skipped: the section at line {line}, which needs {missing}");
        return Ok(());
    }
    wait_until_nobody_listens();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bin");
    make_programs(directory.path(), &path);
    let changed = Changed::default();
    let mut terminals = Vec::new();
    for block in &section.blocks {
        if block.begins_anew {
            finish(&mut terminals, &changed)?;
            terminals.clear();
            wait_until_nobody_listens();
        }
        let before = listening_sockets();
        terminals.push(Terminal::start(block, directory.path(), &path, &changed));
        let is_there = |terminals: &[Terminal<'_>]| {
            let newest = terminals.last().expect("one was started");
            if !block.is_server {
                return newest.has_ended();
            }
            if newest.announces_itself() {
                return newest.has_announced_itself();
            }
            let listens = || !listening_sockets().is_subset(&before);
            listens() || newest.has_output() && newest.is_as_shown()
        };
        wait(&mut terminals, &changed, is_there);
        let newest = terminals.last().expect("one was started");
        if !block.is_server && !newest.is_as_shown() || !is_there(&terminals) {
            // What the servers show helps to understand it.
            let all = terminals.iter().rev().map(Terminal::complaint);
            return Err(Vec::from_iter(all).join("\n"));
        }
    }
    finish(&mut terminals, &changed)
}

/// Waits until every terminal is as the page shows it.
fn finish(terminals: &mut [Terminal<'_>], changed: &Changed) -> Result<(), String> {
    wait(terminals, changed, |terminals| {
        terminals
            .iter()
            .all(|it| it.is_as_shown() || it.has_ended())
    });
    let wrong = terminals.iter().find(|it| !it.is_as_shown());
    wrong.map_or(Ok(()), |terminal| Err(terminal.complaint()))
}

/// Types what is due in every terminal, until `is_over`, or for as long as the safety net.
fn wait<'b>(
    terminals: &mut [Terminal<'b>],
    changed: &Arc<Condvar>,
    is_over: impl Fn(&[Terminal<'b>]) -> bool,
) {
    let lock = Mutex::new(());
    let end = Instant::now() + SAFETY_NET;
    while Instant::now() < end {
        while type_a_line(terminals) {}
        if is_over(terminals) {
            return;
        }
        let guard = lock.lock().expect("nobody panics with it");
        let _ = changed.wait_timeout(guard, LOOK_EVERY);
    }
}

/// Types a line that is due. Returns whether there was one.
///
/// A person types slowly, so that a server has read a line before the next line is sent. Here the
/// next line waits until every terminal that shows the line before has shown it.
fn type_a_line(terminals: &mut [Terminal<'_>]) -> bool {
    for index in 0..terminals.len() {
        let is_noticed = terminals[index].last_typed().is_none_or(|line| {
            let mut others = (0..terminals.len()).filter(|&other| other != index);
            others.all(|other| terminals[other].has_noticed(line))
        });
        if is_noticed && terminals[index].advance() {
            return true;
        }
    }
    false
}

/// Waits for the end of the programs that were killed. Nobody else is in this network.
fn wait_until_nobody_listens() {
    let end = Instant::now() + SAFETY_NET;
    while !listening_sockets().is_empty() && Instant::now() < end {
        thread::sleep(LOOK_EVERY);
    }
}

/// The program that the section needs and that is not there, with the line of the block.
fn missing(section: &Section) -> Option<(usize, String)> {
    section.blocks.iter().find_map(|block| {
        let missing = programs_of(block).into_iter().find(|it| !is_there(it));
        missing.map(|program| (block.line, program))
    })
}

fn programs_of(block: &Block) -> Vec<String> {
    let mut programs = vec!["bash".to_owned(), "setsid".to_owned()];
    programs.extend(block.needs.iter().cloned());
    if block.text.contains("python3 ") {
        programs.push("python3".to_owned());
    }
    let examples = block.text.split("--example ").skip(1);
    let names = examples.filter_map(|rest| rest.split_whitespace().next());
    programs.extend(names.map(|name| format!("examples/{name}")));
    programs
}

/// An example that was built from the present sources, or a program of the system.
fn is_there(program: &str) -> bool {
    if program.starts_with("examples/") {
        let built = modified(&programs().join(program));
        let source = root().join(program).with_extension("rs");
        let sources = newest(&root().join("src")).max(modified(&source));
        return built.is_some() && built >= sources;
    }
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|it| it.modified()).ok()
}

/// The time of the last change of a file in `directory` and below.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let times = paths.map(|it| {
        if it.is_dir() {
            newest(&it)
        } else {
            modified(&it)
        }
    });
    times.max().flatten()
}

/// Where the command and the examples are.
fn programs() -> PathBuf {
    let command = Path::new(env!("CARGO_BIN_EXE_socketserver"));
    command.parent().expect("it is in a directory").to_owned()
}

/// Makes `cargo`, `socketserver` and `target/debug` of the pages.
fn make_programs(directory: &Path, path: &Path) {
    fs::create_dir(path).unwrap();
    let cargo = path.join("cargo");
    let programs = programs();
    let text = CARGO.replace("$PROGRAMS", programs.to_str().expect("the path is text"));
    fs::write(&cargo, text).unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    symlink(programs.join("socketserver"), path.join("socketserver")).unwrap();
    fs::create_dir(directory.join("target")).unwrap();
    symlink(programs, directory.join("target/debug")).unwrap();
}

/// The inodes of the sockets in this network that wait for clients.
fn listening_sockets() -> HashSet<String> {
    let mut found = HashSet::new();
    for (file, state, inode, waits) in [
        ("tcp", 3, 9, "0A"),
        ("tcp6", 3, 9, "0A"),
        ("udp", 3, 9, "07"),
        ("udp6", 3, 9, "07"),
        // The flag of a socket that accepts connections.
        ("unix", 3, 6, "00010000"),
    ] {
        let table = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields = Vec::from_iter(line.split_whitespace());
            if fields.get(state) == Some(&waits) {
                found.extend(fields.get(inode).map(|&inode| format!("{file} {inode}")));
            }
        }
    }
    found
}
