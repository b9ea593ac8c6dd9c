//! `socketserver list`.

use crate::served::socketserver;

#[test]
fn the_list_has_a_line_per_handler_in_aligned_columns() {
    let output = socketserver(&["list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let list = String::from_utf8(output.stdout).unwrap();
    let names = [
        "echo",
        "upper",
        "upper-loop",
        "time",
        "greeting",
        "hello",
        #[cfg(feature = "http")]
        "http",
        "chat",
        "shell",
        #[cfg(feature = "files")]
        "files",
        "operator",
    ];
    assert_eq!(list.lines().count(), names.len());
    for (line, name) in list.lines().zip(names) {
        assert!(line.starts_with(&format!("{name} ")), "{line}");
        let transports = line[12..33].trim_end();
        assert!(
            transports.ends_with("unix") || transports.ends_with("unixgram"),
            "{line}"
        );
        assert!(
            !line[35..].starts_with(' ') && &line[33..35] == "  ",
            "{line}"
        );
        let address = &line[97..];
        assert!(address.contains("://127.0.0.1:"), "{line}");
    }
}

#[test]
fn the_list_shows_the_tutorial_s_ports_and_what_each_handler_speaks() {
    let output = socketserver(&["list"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for (name, transports, address) in [
        ("upper", "tcp unix", "tcp://127.0.0.1:9999"),
        ("upper-loop", "tcp unix", "tcp://127.0.0.1:9999"),
        ("time", "tcp unix udp unixgram", "udp://127.0.0.1:9000"),
        ("greeting", "tcp unix", "tcp://127.0.0.1:8090"),
        ("hello", "tcp unix udp unixgram", "tcp://127.0.0.1:8898"),
        #[cfg(feature = "http")]
        ("http", "tcp unix", "tcp://127.0.0.1:8000"),
        ("chat", "tcp unix udp unixgram", "tcp://127.0.0.1:8090"),
        ("shell", "tcp unix udp unixgram", "tcp://127.0.0.1:8080"),
        ("operator", "udp unixgram", "udp://127.0.0.1:8090"),
    ] {
        let mut lines = list.lines();
        let line = lines
            .find(|line| line.split(' ').next() == Some(name))
            .unwrap();
        assert_eq!(line[12..33].trim_end(), transports);
        assert_eq!(line.rsplit(' ').next(), Some(address));
    }
}

#[test]
fn a_list_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = socketserver(&["list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = "socketserver: cannot write to standard output: ";
    assert!(message.starts_with(expected), "{message}");
}
