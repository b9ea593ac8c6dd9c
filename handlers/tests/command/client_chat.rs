//! `socketserver client chat`.

use std::io::{self, PipeWriter, Write};

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::served::{Served, socketserver};

/// A chat server, and the keyboard of its operator.
fn serve(url: &str) -> (Served, PipeWriter) {
    let (keyboard, operator) = io::pipe().unwrap();
    // One at a time, as in the tutorial, so that messages are shown in the order of their arrival.
    let mut command = socketserver(&["serve", "chat", "--listen", url, "--mixin", "none"]);
    command.stdin(keyboard);
    (Served::run(command), operator)
}

#[test]
fn the_two_sides_take_turns_until_this_side_sends_bye() {
    let directory = support::short_paths::directory();
    let file = format!("unix://{}", directory.path().join("chat").display());
    for url in ["tcp://127.0.0.1:0", &file] {
        let (served, mut operator) = serve(url);
        let mut client = Client::start(&["chat", served.url()]);
        client.type_in("hello\n");
        operator.write_all("你好\n".as_bytes()).unwrap();
        assert_eq!(client.line(), "你好\n");
        client.type_in("bye\nlost\n");
        client.end().showed("");
        // The next call begins after the end of this one.
        operator.write_all(b"bye\n").unwrap();
        Client::run(&["chat", served.url()], "again\n").showed("bye\n");
        served.signal(Signal::SIGTERM);
        assert_eq!(served.exit().1, "hello\nbye\nagain\n");
    }
}

#[test]
fn the_operator_s_bye_ends_the_call() {
    let (served, mut operator) = serve("tcp://127.0.0.1:0");
    let mut client = Client::start(&["chat", served.url()]);
    client.type_in("hello\n");
    operator.write_all(b"bye\n").unwrap();
    assert_eq!(client.line(), "bye\n");
    client.end().showed("");
    served.signal(Signal::SIGTERM);
    assert_eq!(served.exit().1, "hello\n");
}

#[test]
fn the_end_of_the_input_sends_bye() {
    let (served, mut operator) = serve("tcp://127.0.0.1:0");
    Client::run(&["chat", served.url()], "").showed("");
    operator.write_all(b"bye\n").unwrap();
    Client::run(&["chat", served.url()], "again\n").showed("bye\n");
    served.signal(Signal::SIGTERM);
    assert_eq!(served.exit().1, "bye\nagain\n");
}

#[test]
fn friends_are_picked_by_name_and_each_is_sent_their_messages() {
    let directory = support::short_paths::directory();
    let file = format!("unixgram://{}", directory.path().join("chat").display());
    let (jack, mut jacks) = serve("udp://127.0.0.1:0");
    let (jedan, mut jedans) = serve(&file);
    let friends = [("Jack", &jack), ("Jedan", &jedan)];
    let friends = friends.map(|(name, served)| format!("{name}={}", served.url()));
    let mut client = Client::start(&["chat", "--friend", &friends[0], "--friend", &friends[1]]);
    client.type_in("\nNobody\nJack\n hi \n");
    jacks.write_all("你好\n".as_bytes()).unwrap();
    assert_eq!(client.line(), format!("from {}: 你好\n", jack.url()));
    client.type_in("\nq\nJedan\nhello\n");
    jedans.write_all(b"\x1b[2J\n").unwrap();
    let expected = format!("from {}: \\u{{1b}}[2J\n", jedan.url());
    assert_eq!(client.line(), expected);
    client.end().showed("");
    for (served, message) in [(jack, ": hi\n"), (jedan, ": hello\n")] {
        served.signal(Signal::SIGTERM);
        let (_, screen, _) = served.exit();
        assert!(screen.ends_with(message), "{screen}");
        assert_eq!(screen.lines().count(), 1, "{screen}");
    }
}

#[test]
fn one_friend_needs_no_name() {
    let (served, mut operator) = serve("udp://127.0.0.1:0");
    let mut client = Client::start(&["chat", served.url()]);
    client.type_in("hello\n");
    operator.write_all(b"hi\n").unwrap();
    assert_eq!(client.line(), format!("from {}: hi\n", served.url()));
    client.type_in("q\nlost\n");
    client.end().showed("");
    served.signal(Signal::SIGTERM);
    assert_eq!(served.exit().0, Some(0));
}
