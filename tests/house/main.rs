//! The rules of the house, over the text of the sources: imports run downward, no hook is missing,
//! comments use plain words, lines are short.

mod hooks;
mod imports;
mod rooms;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hooks::{hooks_not_shown, missing_hooks};
use rooms::{MUTUAL, circles, in_one_room, upward_imports};
use words::{banned_names, banned_words};

const MAX_COLUMNS: usize = 100;

/// The most lines of an example.
const MAX_EXAMPLE: usize = 150;

/// The text of files, by their paths from the root of the repository, in order.
type Sources = BTreeMap<String, String>;

fn read_sources(directory: &str) -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Sources::new();
    let mut directories = vec![root.join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                sources.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!sources.is_empty(), "no Rust file in {directory}");
    sources
}

/// Fails with the whole list, a violation on each line.
fn assert_none(violations: &[String]) {
    let count = violations.len();
    let list = violations.join("\n");
    assert!(violations.is_empty(), "{count} violations:\n{list}");
}

#[test]
fn imports_run_downward() {
    assert_none(&upward_imports(&read_sources("src")));
}

#[test]
fn no_room_has_a_circle_of_imports() {
    assert_none(&circles(&read_sources("src"), MUTUAL, in_one_room));
}

#[test]
fn the_handlers_and_the_command_have_no_circle_of_imports() {
    let mut handlers = read_sources("handlers/src");
    handlers.retain(|file, _| !file.starts_with("handlers/src/bin/"));
    let mut violations = circles(&handlers, &[], |_, _| true);
    let command = read_sources("handlers/src/bin/socketserver");
    violations.extend(circles(&command, &[], |_, _| true));
    assert_none(&violations);
}

#[test]
fn a_mix_in_has_every_hook_of_a_server() {
    let sources = read_sources("src");
    let violations = missing_hooks(&sources["src/base_server.rs"], &sources["src/mix_in.rs"]);
    assert_none(&violations);
}

#[test]
fn a_trace_shows_every_hook_of_a_server() {
    let sources = read_sources("src");
    let file = "src/mix_ins/trace/mod.rs";
    assert_none(&hooks_not_shown(
        &sources["src/mix_in.rs"],
        file,
        &sources[file],
    ));
}

#[test]
fn comments_use_plain_words() {
    let mut violations = Vec::new();
    for directory in ["src", "handlers/src"] {
        for (file, source) in read_sources(directory) {
            violations.extend(banned_words(&file, &source));
        }
    }
    assert_none(&violations);
}

#[test]
fn the_names_of_tests_use_the_words_of_the_glossary() {
    let mut violations = Vec::new();
    for directory in ["src", "handlers", "tests", "examples", "benches", "fuzz"] {
        for (file, source) in read_sources(directory) {
            violations.extend(banned_names(&file, &source));
        }
    }
    assert_none(&violations);
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    let mut violations = Vec::new();
    for directory in ["src", "handlers", "tests", "examples", "benches"] {
        for (file, source) in read_sources(directory) {
            violations.extend(long_lines(&file, &source));
        }
    }
    assert_none(&violations);
}

#[test]
fn no_example_is_longer_than_a_hundred_and_fifty_lines() {
    let mut violations = Vec::new();
    for directory in ["examples", "handlers/examples"] {
        for (file, source) in read_sources(directory) {
            let lines = source.lines().count();
            if lines > MAX_EXAMPLE {
                violations.push(format!("{file}: {lines} lines"));
            }
        }
    }
    assert_none(&violations);
}

fn long_lines(file: &str, source: &str) -> Vec<String> {
    let lines = (1..).zip(source.lines().map(|line| line.chars().count()));
    lines
        .filter(|(_, columns)| *columns > MAX_COLUMNS)
        .map(|(line, columns)| format!("{file}:{line}: {columns} columns"))
        .collect()
}

#[test]
fn a_long_line_is_found_by_its_characters() {
    let source = ["ß".repeat(MAX_COLUMNS), "s".repeat(MAX_COLUMNS + 1)].join("\n");
    assert_eq!(long_lines("a.rs", &source), ["a.rs:2: 101 columns"]);
}

#[test]
#[should_panic(expected = "2 violations:\na.rs:1: one\nb.rs:2: other")]
fn violations_are_listed_all_together() {
    assert_none(&["a.rs:1: one".to_owned(), "b.rs:2: other".to_owned()]);
}
