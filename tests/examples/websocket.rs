//! The broadcast server, and clients that behave badly.

use std::net::TcpStream;
use std::thread;

use support::clients::StreamClient;
use support::running_server::RunningServer;
use support::waiting::{LIMIT, eventually};
use tungstenite::WebSocket;

use super::*;

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The most bytes of a message.
const MOST: usize = 64 * 1024;

fn start() -> RunningServer<impl BaseServer> {
    RunningServer::start(server("127.0.0.1:0").unwrap())
}

/// Connects a client, which is in the room once the first message has come back to it.
fn connect(server: &RunningServer<impl BaseServer>) -> WebSocket<TcpStream> {
    let address = server.address();
    let stream = TcpStream::connect(address.to_string()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    let name = stream.local_addr().unwrap().to_string();
    let (mut client, _) = tungstenite::client(format!("ws://{address}/"), stream).unwrap();
    client.send(Text(name.as_str().into())).unwrap();
    while client.read().unwrap() != Text(name.as_str().into()) {}
    client
}

/// Connects a client that writes its frames itself.
fn connect_by_hand(server: &RunningServer<impl BaseServer>) -> StreamClient {
    let mut client = StreamClient::connect(&server.address());
    client.send(HANDSHAKE);
    assert_eq!(client.line(), "HTTP/1.1 101 Switching Protocols\r");
    while client.line() != "\r" {}
    client
}

/// Makes a frame of a client, with a mask of zeros.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![first_byte];
    match u8::try_from(length) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Sends these bytes, and returns the code of the close frame that is the only answer.
fn close_code(bytes: &[u8]) -> u16 {
    let server = start();
    let mut client = connect_by_hand(&server);
    (&client.socket().try_clone().unwrap())
        .write_all(bytes)
        .unwrap();
    let answer = client.rest();
    assert_eq!(
        answer[..2],
        [0x88, answer.len() as u8 - 2],
        "{}",
        answer.escape_ascii()
    );
    server.close();
    u16::from_be_bytes([answer[2], answer[3]])
}

#[test]
fn what_one_client_sends_all_receive() {
    let server = start();
    let mut clients = Vec::from_iter((0..3).map(|_| connect(&server)));
    clients[1].send(Text("to all".into())).unwrap();
    for client in &mut clients {
        while client.read().unwrap() != Text("to all".into()) {}
    }
    server.close();
}

#[test]
fn a_request_without_a_valid_handshake_has_a_page() {
    let server = start();
    let ask = |request: &str| {
        let client = &mut StreamClient::connect(&server.address());
        client.send(request);
        client.finish_sending();
        String::from_utf8(client.rest()).unwrap()
    };
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
    let page = ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"));
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("WebSocket"),
        "{page}"
    );
    for (from, to) in [
        ("GET", "PUT"),
        ("Version: 13", "Version: 8"),
        ("Upgrade: websocket", "Upgrade: other"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
    ] {
        let answer = ask(&HANDSHAKE.replace(from, to));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{to}: {answer}");
    }
    server.close();
}

#[test]
fn a_message_may_arrive_in_fragments_and_byte_by_byte() {
    let server = start();
    let mut client = connect_by_hand(&server);
    let half = "é".as_bytes();
    let fragments = [
        frame(0x01, &half[..1]),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x80, &half[1..]),
    ];
    for byte in fragments.concat() {
        client.send(str::from_utf8(&[byte]).unwrap_or_default());
        if !byte.is_ascii() {
            (&client.socket().try_clone().unwrap())
                .write_all(&[byte])
                .unwrap();
        }
    }
    assert_eq!(client.receive_exactly(9), b"\x8a\x07between");
    assert_eq!(client.receive_exactly(4), [&[0x81, 2], half].concat());
    server.close();
}

#[test]
fn many_messages_of_one_write_arrive_in_order() {
    let server = start();
    let mut client = connect_by_hand(&server);
    let messages = Vec::from_iter((0..5000_u16).map(|number| number.to_string()));
    let frames = messages.iter().map(|text| frame(0x81, text.as_bytes()));
    let frames = Vec::from_iter(frames).concat();
    let socket = client.socket().try_clone().unwrap();
    let sending = thread::spawn(move || (&socket).write_all(&frames).unwrap());
    for text in &messages {
        let header = client.receive_exactly(2);
        assert_eq!(header, [0x81, text.len() as u8]);
        assert_eq!(client.receive_exactly(text.len()), text.as_bytes());
    }
    sending.join().unwrap();
    server.close();
}

#[test]
fn a_ping_is_answered_without_a_message() {
    let server = start();
    let mut client = connect_by_hand(&server);
    let pings = Vec::from_iter((0..3000).map(|_| frame(0x89, b"x"))).concat();
    let socket = client.socket().try_clone().unwrap();
    let sending = thread::spawn(move || (&socket).write_all(&pings).unwrap());
    for _ in 0..3000 {
        assert_eq!(client.receive_exactly(3), b"\x8a\x01x");
    }
    sending.join().unwrap();
    server.close();
}

#[test]
fn a_message_that_is_not_valid_is_answered_with_the_reason() {
    assert_eq!(close_code(&frame(0x81, b"caf\xe9")), 1007);
    assert_eq!(close_code(&frame(0x82, b"binary")), 1003);
    // Longer than the limit: the length of a frame alone, and the sum of fragments.
    let header = [
        &[0x81, 0x80 | 127][..],
        &(MOST as u64 + 1).to_be_bytes(),
        &[0; 4],
    ];
    assert_eq!(close_code(&header.concat()), 1009);
    let fragments = [
        frame(0x01, &[b'a'; MOST / 2]),
        frame(0x00, &[b'a'; MOST / 2 + 1]),
    ];
    assert_eq!(close_code(&fragments.concat()), 1009);
    // Without a mask, with a reserved bit, a rest without a beginning, a long ping.
    assert_eq!(close_code(b"\x81\x02hi"), 1002);
    assert_eq!(close_code(&frame(0xc1, b"hi")), 1002);
    assert_eq!(close_code(&frame(0x80, b"hi")), 1002);
    assert_eq!(close_code(&frame(0x89, &[b'a'; 126])), 1002);
}

#[test]
fn a_message_of_the_greatest_length_is_broadcast() {
    let server = start();
    let (mut sender, mut receiver) = (connect(&server), connect(&server));
    let text = "a".repeat(MOST);
    sender.send(Text(text.as_str().into())).unwrap();
    while receiver.read().unwrap() != Text(text.as_str().into()) {}
    server.close();
}

#[test]
fn a_close_frame_is_answered_after_all_messages() {
    assert_eq!(close_code(&frame(0x88, &1000_u16.to_be_bytes())), 1000);
    assert_eq!(close_code(&frame(0x88, &4321_u16.to_be_bytes())), 4321);
    let server = start();
    let mut client = connect_by_hand(&server);
    let frames = [frame(0x81, b"a"), frame(0x88, b""), frame(0x81, b"late")].concat();
    (&client.socket().try_clone().unwrap())
        .write_all(&frames)
        .unwrap();
    assert_eq!(client.rest(), b"\x81\x01a\x88\x00");
    server.close();
}

#[test]
fn a_client_that_leaves_is_no_longer_in_the_room() {
    let server = start();
    let mut stays = connect(&server);
    let mut client = connect_by_hand(&server);
    let beginning = frame(0x01, b"the beginning of a message");
    (&client.socket().try_clone().unwrap())
        .write_all(&beginning)
        .unwrap();
    client.reset();
    client = connect_by_hand(&server);
    drop(client);
    let handle = server.handle();
    eventually("one client is left", || handle.active_request_count() == 1);
    stays.send(Text("alone".into())).unwrap();
    assert_eq!(stays.read().unwrap(), Text("alone".into()));
    server.close();
}

#[test]
fn a_client_that_never_reads_is_disconnected_and_delays_nobody() {
    let server = server("127.0.0.1:0").unwrap();
    let handle = server.handle();
    assert_eq!(handle.deadlines().progress(), Some(Duration::from_secs(30)));
    handle.set_deadlines(Deadlines::none().with_progress(Duration::from_secs(1)));
    let server = RunningServer::start(server);
    let silent = connect(&server);
    let mut client = connect(&server);
    let text = "a".repeat(MOST);
    // The silent client's outbox is full after a few messages, and all others still arrive.
    eventually("the silent client is disconnected", || {
        client.send(Text(text.as_str().into())).unwrap();
        while client.read().unwrap() != Text(text.as_str().into()) {}
        handle.active_request_count() == 1
    });
    drop(silent);
    server.close();
}

#[test]
fn a_client_whose_outbox_was_full_receives_later_messages() {
    let server = start();
    let mut slow = connect(&server);
    let mut client = connect(&server);
    let text = "a".repeat(MOST);
    // More than the socket and the outbox have room for.
    for _ in 0..256 {
        client.send(Text(text.as_str().into())).unwrap();
        while client.read().unwrap() != Text(text.as_str().into()) {}
    }
    let reading = thread::spawn(move || while slow.read().unwrap() != Text("late".into()) {});
    eventually("the message arrives", || {
        client.send(Text("late".into())).unwrap();
        while client.read().unwrap() != Text("late".into()) {}
        reading.is_finished()
    });
    reading.join().unwrap();
    server.close();
}
