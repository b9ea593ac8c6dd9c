//! `docs/design/path.md` shows what the two programs print: `socketserver trace`, and
//! `docs/design/python_path.py`.
//!
//! `WRITE_PAGES=1 cargo test -p socketserver-handlers --test path` writes the page anew.

mod line_numbers;
mod rows;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use rows::{Row, here};
use table::table;

const TRANSPORTS: [&str; 2] = ["tcp", "udp"];
const MIX_INS: [&str; 3] = ["none", "threading", "forking"];

/// The version of Python whose lines the page numbers.
const NUMBERED: &str = "Python 3.11.";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Standard output of a program that succeeds.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `socketserver trace` prints for one message.
fn run_here(transport: &str, mix_in: &str) -> String {
    let (handler, message) = match transport {
        "tcp" => ("upper", "hello\n"),
        _ => ("echo", "hello\n"),
    };
    let url = format!("{transport}://127.0.0.1:0");
    let options = ["--listen", &url, "--mixin", mix_in, "--message", message];
    let mut command = Command::new(env!("CARGO_BIN_EXE_socketserver"));
    output(command.args(["trace", handler]).args(options))
}

/// A Python that can show the calls, and its version; `None`, with a line that explains it, if this
/// machine has none.
fn python_here() -> Option<(&'static str, String)> {
    for python in ["python3.11", "python3"] {
        let Ok(output) = Command::new(python).arg("--version").output() else {
            continue;
        };
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        let minor = version.split('.').nth(1).and_then(|it| it.parse().ok());
        if minor >= Some(11) {
            return Some((python, version));
        }
    }
    println!("skipped: there is no python3 of version 3.11 or later");
    None
}

fn run_python(python: &str, transport: &str, mix_in: &str) -> String {
    let program = root().join("docs/design/python_path.py");
    output(Command::new(python).arg(program).args([transport, mix_in]))
}

/// The text between the two lines that enclose a part of the page.
fn part<'a>(page: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), "<!-- end -->");
    let (_, after) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no part {name}"));
    after
        .split_once(end)
        .unwrap_or_else(|| panic!("no end of {name}"))
        .0
}

/// The page with another text in a part.
fn with_part(page: &str, name: &str, text: &str) -> String {
    let begin = format!("<!-- begin: {name} -->\n");
    let old = format!("{begin}{}", part(page, name));
    page.replacen(&old, &format!("{begin}{text}"), 1)
}

/// The same rows, whether or not the numbers of lines are those of the page.
fn assert_rows(shown: &[Row], now: &[Row], has_numbers: bool, what: &str) {
    let without = |rows: &[Row]| match has_numbers {
        true => rows.to_vec(),
        false => rows.iter().map(Row::without_line).collect(),
    };
    assert_eq!(without(shown), without(now), "{what}");
}

#[test]
fn the_page_shows_what_both_programs_print() {
    let Some((python, version)) = python_here() else {
        return;
    };
    let has_numbers = version.starts_with(NUMBERED);
    let path = root().join("docs/design/path.md");
    let mut page = fs::read_to_string(&path).unwrap();
    let writes = env::var_os("WRITE_PAGES").is_some();
    let (ours, pythons) = (
        run_here("tcp", "threading"),
        run_python(python, "tcp", "threading"),
    );
    if writes {
        assert!(has_numbers, "the page has the lines of {NUMBERED}");
        page = with_part(&page, "here", &format!("```text\n{ours}```\n"));
        page = with_part(&page, "python", &format!("```text\n{pythons}```\n"));
    }
    let block = |name| {
        part(&page, name)
            .trim_matches(['`', '\n'])
            .replacen("text\n", "", 1)
    };
    assert_rows(
        &here(&block("here")),
        &here(&ours),
        true,
        "socketserver trace",
    );
    assert_rows(
        &rows::python(&block("python")),
        &rows::python(&pythons),
        has_numbers,
        "Python",
    );
    for transport in TRANSPORTS {
        for mix_in in MIX_INS {
            let name = format!("{transport} {mix_in}");
            let ours = here(&run_here(transport, mix_in));
            let pythons = rows::python(&run_python(python, transport, mix_in));
            if writes {
                page = with_part(&page, &name, &table(&ours, &pythons));
            }
            let (shown_here, shown_python) = table::columns(part(&page, &name));
            assert_rows(&shown_here, &ours, true, &name);
            assert_rows(&shown_python, &pythons, has_numbers, &name);
        }
    }
    if writes {
        fs::write(path, page).unwrap();
    }
}
