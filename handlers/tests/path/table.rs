//! The calls of both programs side by side, as a table of the page.

use std::cmp::Ordering;

use super::rows::{Place, Row};

const HEAD: &str = "| in | here | CPython 3.11 |\n|---|---|---|\n";

/// The table: calls of the same method in the same place are in one row.
pub fn table(here: &[Row], python: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for (ours, theirs) in aligned(here, python) {
        let place = match ours.or(theirs).map(|row| row.place) {
            Some(Place::Loop) => "loop",
            _ => "request",
        };
        let cell =
            |row: Option<&Row>| row.map_or("–".to_owned(), |row| format!("`{}`", row.text));
        table += &format!("| {place} | {} | {} |\n", cell(ours), cell(theirs));
    }
    table
}

/// The rows of a table's two columns.
pub fn columns(table: &str) -> (Vec<Row>, Vec<Row>) {
    let lines = table
        .strip_prefix(HEAD)
        .unwrap_or_else(|| panic!("{table}"))
        .lines();
    let (mut here, mut python) = (Vec::new(), Vec::new());
    for line in lines {
        let cells = Vec::from_iter(line.trim_matches('|').split('|').map(str::trim));
        let place = match cells[0] {
            "loop" => Place::Loop,
            _ => Place::Worker,
        };
        for (column, cell) in [(&mut here, cells[1]), (&mut python, cells[2])] {
            if cell != "–" {
                let text = cell.trim_matches('`').to_owned();
                column.push(Row { place, text });
            }
        }
    }
    (here, python)
}

/// What stands for what: the constructor and the end of a `with` block have other names here.
fn key(row: &Row) -> (Place, &str) {
    let method = match row.text.split(" (").next().unwrap_or_default() {
        "Server.bind" | "TCPServer.__init__" => "constructor",
        "Server.server_close" | "BaseServer.__exit__" => "end of the block",
        "BaseServer.__init__" | "BaseRequestHandler.__init__" | "_SocketWriter.__init__" => "",
        _ => row.method(),
    };
    (row.place, method)
}

/// How well two calls go together: not at all, by the method, or by the class as well.
fn likeness(here: &Row, python: &Row) -> u32 {
    let (ours, theirs) = (key(here), key(python));
    let class = |row: &Row| {
        row.text
            .split('.')
            .next()
            .unwrap_or_default()
            .to_lowercase()
    };
    match ours == theirs && !ours.1.is_empty() {
        true => 1 + u32::from(class(here) == class(python)),
        false => 0,
    }
}

type Pair<'a> = (Option<&'a Row>, Option<&'a Row>);

/// The pairs of calls, in the order of both programs, whose likeness is the greatest in sum; with
/// the other calls between.
fn aligned<'a>(here: &'a [Row], python: &'a [Row]) -> Vec<Pair<'a>> {
    let mut best = vec![vec![0; python.len() + 1]; here.len() + 1];
    for i in (0..here.len()).rev() {
        for j in (0..python.len()).rev() {
            let alone = best[i + 1][j].max(best[i][j + 1]);
            best[i][j] = match likeness(&here[i], &python[j]) {
                0 => alone,
                like => alone.max(best[i + 1][j + 1] + like),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < here.len() || j < python.len() {
        let (ours, theirs) = (here.get(i), python.get(j));
        let like = ours
            .zip(theirs)
            .map_or(0, |(ours, theirs)| likeness(ours, theirs));
        if like > 0 && best[i][j] == best[i + 1][j + 1] + like {
            pairs.push((ours, theirs));
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The loop's calls come before the worker's, as far as the pairs allow.
        let takes_ours = match (ours, theirs) {
            (Some(ours), Some(theirs)) => match best[i + 1][j].cmp(&best[i][j + 1]) {
                Ordering::Equal => ours.place == Place::Loop || theirs.place == Place::Worker,
                order => order == Ordering::Greater,
            },
            (ours, _) => ours.is_some(),
        };
        if takes_ours {
            pairs.push((ours, None));
            i += 1;
        } else {
            pairs.push((None, theirs));
            j += 1;
        }
    }
    pairs
}
