//! The numbers of lines in the design's pages hold for the versions of Python that
//! `docs/design/README.md` names.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::{MIX_INS, TRANSPORTS, output, part, root, table};

/// Prints the line and the name of each method of the module.
const METHODS: &str = "
import ast, socketserver
for kind in ast.walk(ast.parse(open(socketserver.__file__).read())):
    if isinstance(kind, ast.ClassDef):
        for it in kind.body:
            if isinstance(it, ast.FunctionDef):
                print(it.lineno, f'{kind.name}.{it.name}')
";

/// The ranges of lines of 3.11, each with what to add in two later kinds of file.
fn offsets() -> Vec<(u32, [u32; 2])> {
    let page = fs::read_to_string(root().join("docs/design/README.md")).unwrap();
    let (_, table) = page.split_once("| Lines of 3.11 |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let offset = |line: &str| {
        let cells = Vec::from_iter(line.split('|').map(str::trim));
        let first = cells[1].trim_start_matches("from ").split('–').next();
        let number = |text: &str| text.parse().unwrap();
        (
            first.map(number).unwrap(),
            [number(cells[2]), number(cells[3])],
        )
    };
    rows.map(offset).collect()
}

/// The methods that the tables of `path.md` number, with their lines in 3.11.
fn numbered() -> BTreeMap<String, u32> {
    let page = fs::read_to_string(root().join("docs/design/path.md")).unwrap();
    let names = TRANSPORTS.iter().flat_map(|transport| {
        let name = move |mix_in| format!("{transport} {mix_in}");
        MIX_INS.iter().map(name)
    });
    let rows = names.flat_map(|name| table::columns(part(&page, &name)).1);
    let numbered = rows.filter_map(|row| {
        let (name, line) = row.text.split_once(" (")?;
        Some((name.to_owned(), line.trim_end_matches(')').parse().unwrap()))
    });
    numbered.collect()
}

#[test]
fn the_lines_of_every_python_are_those_of_the_pages_with_the_offsets() {
    let (numbered, offsets) = (numbered(), offsets());
    assert!(
        numbered.len() > 25 && offsets.len() == 5,
        "{numbered:?} {offsets:?}"
    );
    for version in 11..=14 {
        let python = format!("python3.{version}");
        let asked = Command::new(&python).arg("--version").output();
        if !asked.is_ok_and(|output| output.status.success()) {
            println!("skipped: there is no {python}");
            continue;
        }
        let methods = output(Command::new(&python).args(["-c", METHODS]));
        let lines = methods.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.map(|(line, name)| (name, line.parse::<u32>().unwrap()));
        let lines = BTreeMap::from_iter(lines);
        let added = lines["TCPServer.server_activate"] - numbered["TCPServer.server_activate"];
        for (name, line) in &numbered {
            let range = offsets.iter().rev().find(|(first, _)| first <= line);
            let (_, [one, other]) = range.unwrap();
            let offset = match (version, added) {
                (11, _) => 0,
                (_, 1) => *one,
                _ => *other,
            };
            assert_eq!(lines[name.as_str()], line + offset, "{python}: {name}");
        }
    }
}
