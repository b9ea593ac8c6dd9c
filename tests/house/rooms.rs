//! Which room may import from which other, and circles inside a room.

use std::collections::{BTreeMap, BTreeSet};

use crate::Sources;
use crate::imports::{Import, all_imports, module_of};

struct Room {
    name: &'static str,
    /// The first parts of the paths of its modules.
    modules: &'static [&'static str],
}

/// The rooms of `src/`, a floor on each line, from the top. A file imports from the rooms of lower
/// floors, and from its own room. The four contracts, a file each, are one room.
const FLOORS: &[&[Room]] = &[
    &[room("lib", &["lib", "book"])],
    &[
        room(
            "stacks",
            &["stacks", "any_mix_in", "accepted", "servers_together"],
        ),
        room("mock", &["mock"]),
    ],
    &[room("servers", &["servers"]), room("mix_ins", &["mix_ins"])],
    &[room("server", &["server"])],
    &[room(
        "contracts",
        &[
            "base_server",
            "exchange_handler",
            "mix_in",
            "request_handler",
        ],
    )],
    &[room("requests", &["requests"])],
    &[room("running", &["running"])],
    &[room("transport", &["transport"])],
    &[room("values", &["values"])],
    &[room("support", &["support"])],
];

/// The pairs of files, inside a room, that may import each other.
pub const MUTUAL: &[(&str, &str)] = &[];

const fn room(name: &'static str, modules: &'static [&'static str]) -> Room {
    Room { name, modules }
}

/// The floor, counted from the top, and the room of a module.
fn room_of(module: &str) -> Option<(usize, &'static Room)> {
    let first = match module.split('/').next() {
        Some("") | None => "lib",
        Some(first) => first,
    };
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let room = rooms.iter().find(|room| room.modules.contains(&first))?;
        Some((floor, room))
    })
}

pub fn in_one_room(module: &str, other: &str) -> bool {
    let name = |module| room_of(module).map(|(_, room)| room.name);
    name(module) == name(other)
}

/// The imports that lead upward, into another room of the same floor, or from one mix-in to
/// another; and the files that have no room.
pub fn upward_imports(sources: &Sources) -> Vec<String> {
    let mut violations = Vec::new();
    for (file, imports) in all_imports(sources) {
        let module = module_of(file);
        let Some((floor, room)) = room_of(module) else {
            violations.push(format!("{file}:1: this file has no room"));
            continue;
        };
        for Import {
            line,
            module: target,
            ..
        } in imports
        {
            // A target without a room is reported as a file.
            let Some((target_floor, target_room)) = room_of(&target) else {
                continue;
            };
            let (from, to) = (room.name, target_room.name);
            if from != to && target_floor <= floor {
                let path = format!("crate/{target}");
                let path = path.trim_end_matches('/');
                violations.push(format!("{file}:{line}: {from} imports {to}: {path}"));
            }
            if from == "mix_ins" && are_two_mix_ins(module, &target) {
                violations.push(format!("{file}:{line}: a mix-in imports another: {target}"));
            }
        }
    }
    violations
}

/// The modules belong to two different mix-ins: `mix_ins/forking` and `mix_ins/threading/crew`.
fn are_two_mix_ins(module: &str, other: &str) -> bool {
    let mix_in = |module: &str| {
        module
            .strip_prefix("mix_ins/")?
            .split('/')
            .next()
            .map(str::to_owned)
    };
    match (mix_in(module), mix_in(other)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

/// The circles of imports between files for which `counts` is true, as the lines that form them;
/// and the pairs that are allowed to import each other, and do not.
pub fn circles(
    sources: &Sources,
    allowed: &[(&str, &str)],
    counts: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    // An allowed pair counts as one file, so that a way around a third file is still a circle.
    let merged = |module: &str| {
        let pair = allowed.iter().find(|(_, other)| *other == module);
        pair.map_or(module, |(one, _)| one).to_owned()
    };
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    let mut direct = BTreeSet::new();
    let mut lines = Vec::new();
    for (file, imports) in all_imports(sources) {
        let module = module_of(file);
        for Import {
            line,
            module: target,
            is_re_export,
        } in imports
        {
            if is_re_export || !counts(module, &target) {
                continue;
            }
            let (from, to) = (merged(module), merged(&target));
            if from != to {
                let text = format!("{file}:{line} imports {target}");
                lines.push((from.clone(), to.clone(), text));
                edges.entry(from).or_default().insert(to);
            }
            direct.insert((module, target));
        }
    }
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    for start in edges.keys() {
        let mut circle = reached(start, &edges);
        circle.retain(|module| reached(module, &edges).contains(start.as_str()));
        if !circle.is_empty() && seen.insert(circle.clone()) {
            let inside = |module: &String| circle.contains(module.as_str());
            let lines = lines
                .iter()
                .filter(|(from, to, _)| inside(from) && inside(to));
            let lines = Vec::from_iter(lines.map(|(.., text)| text.as_str()));
            violations.push(format!("a circle:\n    {}", lines.join("\n    ")));
        }
    }
    for (one, other) in allowed {
        let both = [(*one, other.to_string()), (*other, one.to_string())];
        if !both.iter().all(|edge| direct.contains(edge)) {
            let text = format!("{one} and {other} may import each other, and do not");
            violations.push(text);
        }
    }
    violations
}

/// Every module that a path of imports leads to.
fn reached<'a>(start: &str, edges: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a str> {
    let next = |module: &str| edges.get(module).into_iter().flatten().map(String::as_str);
    let mut reached = BTreeSet::new();
    let mut open = Vec::from_iter(next(start));
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(next(module));
        }
    }
    reached
}

fn sources(files: &[(&str, &str)]) -> Sources {
    let owned = files
        .iter()
        .map(|(file, text)| (file.to_string(), text.to_string()));
    owned.collect()
}

#[test]
fn an_import_into_a_higher_room_or_a_room_of_the_same_floor_is_found() {
    let sources = sources(&[
        ("lib.rs", "mod values; pub use values::error::Error;"),
        (
            "base_server.rs",
            "use crate::mix_in::M;\nuse crate::server::Server;",
        ),
        ("mix_in.rs", "use crate::running::R;"),
        (
            "mix_ins/forking/mod.rs",
            "mod child; use self::child::C; use crate::server::S;",
        ),
        ("mix_ins/forking/child.rs", "use super::F;"),
        ("mix_ins/mod.rs", "pub mod forking; pub mod threading;"),
        (
            "mix_ins/threading.rs",
            "use super::forking::F;\nuse crate::servers::U;",
        ),
        (
            "running/mod.rs",
            "\nuse crate::base_server::B; use crate::values::error::E;",
        ),
        ("server.rs", ""),
        (
            "servers/mod.rs",
            "fn f() { crate::mix_ins::threading::g() }",
        ),
        ("things.rs", "use crate::values::error::E;"),
        ("transport/mod.rs", "use crate::running::R;"),
        ("values/error.rs", "use crate::Error;"),
        ("values/mod.rs", "use crate::transport::T;"),
    ]);
    assert_eq!(
        upward_imports(&sources),
        [
            "base_server.rs:2: contracts imports server: crate/server",
            "mix_ins/threading.rs:1: a mix-in imports another: mix_ins/forking",
            "mix_ins/threading.rs:2: mix_ins imports servers: crate/servers",
            "running/mod.rs:2: running imports contracts: crate/base_server",
            "servers/mod.rs:1: servers imports mix_ins: crate/mix_ins/threading",
            "things.rs:1: this file has no room",
            "transport/mod.rs:1: transport imports running: crate/running",
            "values/error.rs:1: values imports lib: crate",
            "values/mod.rs:1: values imports transport: crate/transport",
        ]
    );
}

#[test]
fn a_circle_in_a_room_is_found() {
    let sources = sources(&[
        ("running/a.rs", "use super::b::B; use crate::running::d::D;"),
        ("running/b.rs", "\nuse crate::running::c::C;"),
        ("running/c.rs", "use super::a::A; use super::M;"),
        ("running/d.rs", "use crate::values::V;"),
        ("running/mod.rs", "mod c; pub use c::C;"),
        ("values/mod.rs", "use crate::running::d::D;"),
    ]);
    let circle = "a circle:\n    running/a.rs:1 imports running/b\n    \
                  running/b.rs:2 imports running/c\n    running/c.rs:1 imports running/a";
    assert_eq!(circles(&sources, &[], in_one_room), [circle]);
}

#[test]
fn an_allowed_pair_allows_no_circle_through_a_third_file() {
    let pair = [("running/a", "running/b")];
    let [to_a, to_b, to_c] = ["a", "b", "c"].map(|it| format!("use super::{it}::X;"));
    let two = sources(&[("running/a.rs", &to_b), ("running/b.rs", &to_a)]);
    assert_eq!(circles(&two, &[], in_one_room).len(), 1);
    assert_eq!(circles(&two, &pair, in_one_room), [""; 0]);

    let b_to_both = [&*to_a, &*to_c].concat();
    let three = sources(&[
        ("running/a.rs", &to_b),
        ("running/b.rs", &b_to_both),
        ("running/c.rs", &to_a),
    ]);
    let circle = "a circle:\n    running/b.rs:1 imports running/c\n    \
                  running/c.rs:1 imports running/a";
    assert_eq!(circles(&three, &pair, in_one_room), [circle]);

    let one_way = sources(&[("running/a.rs", &to_b), ("running/b.rs", "")]);
    let unused = "running/a and running/b may import each other, and do not";
    assert_eq!(circles(&one_way, &pair, in_one_room), [unused]);
}
