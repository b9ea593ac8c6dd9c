//! The console blocks of the book, run as they are on the page: a block cannot show a line that the
//! program does not print.
//!
//! Each block has a comment above it: `<!-- run -->`, or `<!-- not run: the reason -->`.
//! [`page`] has the words of that comment. The blocks below one heading are a section. Its blocks
//! run in their order, each in a terminal of its own, in a network of their own.

mod page;
mod section;
mod terminal;
mod varying;

use std::path::{Path, PathBuf};
use std::process::Command;

use page::Page;

/// Set in a process that has a network of its own.
const HAS_NETWORK: &str = "SOCKETSERVER_TEST_HAS_NETWORK";

macro_rules! pages {
    ($($test:ident: $path:literal,)*) => {
        /// The pages that have a test.
        const PAGES: &[&str] = &[$($path),*];

        $(
            #[test]
            fn $test() {
                in_a_network_of_its_own(stringify!($test), || run($path));
            }
        )*
    };
}

pages! {
    the_tutorial_shows_what_happens: "docs/tutorial.md",
    the_page_client_and_server_shows_what_happens: "docs/basics/client-server.md",
    the_page_tcp_udp_shows_what_happens: "docs/basics/tcp-udp.md",
    the_page_buffers_shows_what_happens: "docs/basics/buffers.md",
    the_page_sticky_packets_shows_what_happens: "docs/basics/sticky-packets.md",
    the_page_datagrams_shows_what_happens: "docs/basics/datagrams.md",
    getting_started_shows_what_happens: "docs/guide/getting-started.md",
    the_page_layer_shows_what_happens: "docs/guide/layer.md",
    the_page_limits_shows_what_happens: "docs/guide/limits.md",
    the_page_metrics_shows_what_happens: "docs/guide/metrics.md",
    the_page_mix_in_shows_what_happens: "docs/guide/mix-in.md",
    the_page_shared_state_shows_what_happens: "docs/guide/shared-state.md",
    troubleshooting_shows_what_happens: "docs/guide/troubleshooting.md",
    the_page_udp_shows_what_happens: "docs/guide/udp.md",
    the_page_unix_sockets_shows_what_happens: "docs/guide/unix-sockets.md",
    the_page_exec_shows_what_happens: "docs/guide/exec.md",
    the_page_http_shows_what_happens: "docs/guide/http.md",
    the_page_files_shows_what_happens: "docs/guide/files.md",
    the_chinese_tutorial_shows_what_happens: "docs/zh/tutorial.md",
}

fn root() -> &'static Path {
    let handlers = Path::new(env!("CARGO_MANIFEST_DIR"));
    handlers.parent().expect("the package is in the repository")
}

fn read(path: &Path) -> Page {
    let text = std::fs::read_to_string(root().join(path));
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Page::parse(&text).unwrap_or_else(|error| panic!("{}:{error}", path.display()))
}

fn run(path: &str) {
    let page = read(Path::new(path));
    let failures = page.sections.iter().filter_map(|it| section::run(it).err());
    let failures = Vec::from_iter(failures.map(|failure| format!("{path}:{failure}")));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Runs `test` in a process of this test program that has a network with a loopback and nothing
/// else, so that every port of the pages is free. Skips the test on a system that permits no such
/// network.
fn in_a_network_of_its_own(name: &str, test: impl FnOnce()) {
    if std::env::var_os(HAS_NETWORK).is_some() {
        return test();
    }
    let network = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "--", "sh", "-c", command]);
        unshare
    };
    let can = network("ip link set lo up").output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("skipped: no network of its own, which needs unshare and ip");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut again = network("ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture");
    let again = again.arg(program).arg(name).env(HAS_NETWORK, "1");
    let output = again.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && printed.contains("1 passed");
    assert!(passed, "{printed}{errors}");
    printed
        .lines()
        .filter(|it| it.starts_with("skipped"))
        .for_each(|it| println!("{it}"));
}

/// The pages of the book, and the front page of the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("README.md")];
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_console_block_is_run_or_has_a_reason_against_it() {
    for path in pages() {
        let page = read(&path);
        let is_run = page.sections.iter().any(|it| !it.blocks.is_empty());
        let has_test = PAGES.iter().any(|it| Path::new(it) == path);
        assert_eq!(has_test, is_run, "{} and its test", path.display());
    }
}
