//! The benchmark in tiny sizes, so that it cannot rot, and its end.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reactor-bench"));
    command.args(arguments);
    command
}

#[test]
fn all_loads_and_servers_are_measured_in_tiny_sizes() {
    let output = bench(&["--quick"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tables = String::from_utf8(output.stdout).unwrap();
    assert!(!tables.contains("| failed |"), "{tables}");
    for row in [
        "| load | measured | bare epoll | std, a thread each | tokio | Go | `ThreadingMixIn` |",
        "| 64 connections | exchanges/s |",
        "| 20 connections | CPU µs/exchange |",
        "| 1 connection | p99 µs |",
        "| connect, exchange, close | exchanges/s |",
        "| 600/s on 20 connections, 5 % block 50 ms | p99 µs without them | – |",
        "| 600/s on 20 connections, 5 % await 50 ms | threads | – | – |",
        "| beside 30 slow clients | threads | – |",
        "| beside 2 greedy clients | least/most served greedy client | – |",
        "| 50 idle connections | answered at the end | 50 | 50 | 50 |",
        "| drain of 20 idle connections | of the two busy ones, answered | – | – | – | – | 2 | 2 |",
        "| 50ms with 100 silent connections | context switches |",
        "| load | `ReactorMixIn`'s | divided by | median | quartiles | goal | reached |",
        "| 64 connections | CPU µs/exchange | bare epoll |",
    ] {
        assert!(tables.contains(row), "no {row} in\n{tables}");
    }
}

#[test]
fn the_servers_end_when_the_benchmark_is_killed() {
    let arguments = ["--load", "exchange-1", "--server", "reactor", "tokio"];
    let mut command = bench(&arguments);
    let mut bench = command.stdout(Stdio::null()).spawn().unwrap();
    let servers = wait_for(|| {
        let path = format!("/proc/{0}/task/{0}/children", bench.id());
        let children = fs::read_to_string(path).unwrap();
        let children = Vec::from_iter(children.split_whitespace().map(str::to_owned));
        (children.len() == 2).then_some(children)
    });
    bench.kill().unwrap();
    bench.wait().unwrap();
    for server in servers {
        wait_for(|| has_ended(&server).then_some(()));
    }
}

/// A process that has ended is gone, or waits to be collected.
fn has_ended(process: &str) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|it| it.starts_with(" Z")),
        Err(_) => true,
    }
}

fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "it takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}
