//! The tables at the end.

use std::fmt::Write;

use crate::at_rest::AtRest;
use crate::closing::Closing;
use crate::phase::Server;
use crate::site::Count;

/// What the clients did, what the servers say of it, and what the processes have.
pub fn tables(servers: &[Server<'_>], censuses: &[(AtRest, AtRest)]) -> String {
    let mut text = String::new();
    clients(&mut text, servers);
    statistics(&mut text, servers);
    processes(&mut text, servers, censuses);
    text
}

fn clients(text: &mut String, servers: &[Server<'_>]) {
    let columns = [
        ("attempts", Count::Attempts),
        ("exchanges", Count::Exchanges),
        ("cut short", Count::CutShort),
        ("refused", Count::Refused),
        ("lost", Count::Lost),
        ("slow", Count::Slow),
        ("broken", Count::Broken),
        ("hostile", Count::Hostile),
        ("panics", Count::Panics),
        ("kills", Count::Kills),
    ];
    line(text, "clients", &columns.map(|(name, _)| name.to_owned()));
    let mut total = [0; 10];
    for server in servers {
        let counts = columns.map(|(_, count)| server.site.counted(count));
        for (total, count) in total.iter_mut().zip(counts) {
            *total += count;
        }
        line(
            text,
            &server.site.kind.to_string(),
            &counts.map(|it| it.to_string()),
        );
    }
    line(text, "together", &total.map(|it| it.to_string()));
    let bytes = servers.iter().map(|it| it.site.counted(Count::Bytes));
    let _ = writeln!(text, "{} bytes looked at\n", bytes.sum::<u64>());
}

fn statistics(text: &mut String, servers: &[Server<'_>]) {
    let columns = [
        "accepted",
        "refused",
        "finished",
        "failed",
        "timed out",
        "panicked",
        "cut",
        "idle",
        "ended",
        "aborted",
    ];
    line(text, "servers", &columns.map(str::to_owned));
    let mut together = Closing::default();
    for server in servers {
        together.add(&server.closings);
        let name = server.site.kind.to_string();
        line(text, &name, &numbers(&server.closings));
    }
    line(text, "together", &numbers(&together));
    text.push_str("idle, ended, aborted: in the drains of servers that were closed\n\n");
}

fn numbers(closing: &Closing) -> [String; 10] {
    [
        closing.accepted,
        closing.refused,
        closing.finished,
        closing.failed,
        closing.timed_out,
        closing.panicked,
        closing.cut,
        closing.idle,
        closing.ended,
        closing.cut_at_close,
    ]
    .map(|number| number.to_string())
}

fn processes(text: &mut String, servers: &[Server<'_>], censuses: &[(AtRest, AtRest)]) {
    let columns = ["threads", "children", "descriptors", "memory KiB", "growth"];
    line(text, "processes", &columns.map(str::to_owned));
    for (server, (before, after)) in servers.iter().zip(censuses) {
        let (before, after) = (before.open, after.open);
        let both = |before: usize, after: usize| format!("{before} {after}");
        let numbers = [
            both(before.threads, after.threads),
            both(before.children, after.children),
            both(before.descriptors, after.descriptors),
            format!("{} {}", before.memory, after.memory),
            format!(
                "{}",
                after.memory.cast_signed() - before.memory.cast_signed()
            ),
        ];
        line(text, &server.site.kind.to_string(), &numbers);
    }
    text.push_str("before and after, while the server was open and nobody there\n\n");
}

fn line(text: &mut String, name: &str, columns: &[String]) {
    let _ = write!(text, "{name:<24}");
    for column in columns {
        let _ = write!(text, "{column:>12}");
    }
    text.push('\n');
}
