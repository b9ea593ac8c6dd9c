//! The benchmarks in tiny sizes, so that they cannot rot.

use std::process::Command;

/// The tables that a benchmark prints with these arguments.
fn tables(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tables = String::from_utf8(output.stdout).unwrap();
    assert!(!tables.contains("| failed |"), "{tables}\n{errors}");
    tables
}

#[test]
fn all_loads_and_servers_of_http_are_measured_in_tiny_sizes() {
    let tables = tables(env!("CARGO_BIN_EXE_http-bench"), &["--quick"]);
    for row in [
        "| load | measured | `socketserver` | hyper | Go | tiny_http | nginx | http.server |",
        "| hello, 64 connections | requests/s |",
        "| 1 KiB file, 64 connections | CPU µs/request |",
        "| 1 MiB file, 16 connections | p99 µs |",
        "| 50 kept connections | answered at the end | 50 | 50 |",
        "| hello beside 30 slow heads | p99 µs without them |",
        "| load | `socketserver`'s | divided by | median | quartiles | goal | reached |",
        "| hello, 64 connections | requests/s | hyper |",
    ] {
        assert!(tables.contains(row), "no {row} in\n{tables}");
    }
}

#[test]
fn programs_are_measured_beside_other_servers_in_tiny_sizes() {
    let tables = tables(env!("CARGO_BIN_EXE_exec-bench"), &["--quick"]);
    for row in [
        "| load | measured | `socketserver` | tcpserver | tcpsvd | socat | ncat | xinetd |",
        "| xinetd | inetutils-inetd | posix_spawn alone |",
        "| `cat`: 64 bytes to and fro | connections/s |",
        "| `true` | p99 µs |",
        "| `python3 -c 'print(7)'` | p50 µs |",
        "| 5 connections of `cat` | kB beside the program, each |",
        "| `socketserver` | waits until another has left |",
    ] {
        assert!(tables.contains(row), "no {row} in\n{tables}");
    }
}

#[test]
fn files_are_measured_beside_other_services_in_tiny_sizes() {
    let tables = tables(env!("CARGO_BIN_EXE_files-bench"), &["--quick"]);
    for row in [
        "| load | measured | `socketserver` | vsftpd | vsftpd, and SHA-256 | scp |",
        "| 2 MiB up | MiB/s |",
        "| 10 files of 4 KiB down | files/s |",
        "| 2 transfers down at a time | kB of the server, each |",
        "| wrong user |",
    ] {
        assert!(tables.contains(row), "no {row} in\n{tables}");
    }
}

#[test]
fn metrics_are_measured_in_tiny_sizes() {
    let tables = tables(env!("CARGO_BIN_EXE_metrics-bench"), &["--quick"]);
    for row in [
        "| load | measured | without | with `MetricsMixIn` |",
        "| UDP, 32 clients | CPU µs/exchange |",
        "| TCP, 64 connections | exchanges/s | without |",
    ] {
        assert!(tables.contains(row), "no {row} in\n{tables}");
    }
}
