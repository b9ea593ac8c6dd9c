//! Outboxes: other threads send whole messages to a client, and its handler delivers them.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketserver::mock::MockStream;
use socketserver::{
    Deadlines, Outbox, OutboxError, Serve, StreamRequest, TcpServer, ThreadingMixIn,
    ThreadingTcpServer,
};
use support::clients::StreamClient;
use support::reports::{gate, reports};
use support::running_server::{RunningServer, close};
use support::services::stream_handler;
use support::waiting::{LIMIT, eventually};

const LOOPBACK: &str = "127.0.0.1:0";

/// A room in which every line goes to everybody who is there.
fn room() -> (
    Arc<Mutex<Vec<Outbox>>>,
    RunningServer<impl socketserver::BaseServer>,
) {
    let members = Arc::new(Mutex::new(Vec::<Outbox>::new()));
    let room = members.clone();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        room.lock().unwrap().push(request.outbox()?);
        while let Some(line) = request.next_line(100)? {
            for member in &*room.lock().unwrap() {
                member.send(format!("{line}\n").as_bytes())?;
            }
        }
        Ok(())
    });
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    (members, RunningServer::start(server))
}

#[test]
fn a_hundred_clients_each_receive_a_hundred_messages_in_order_and_whole() {
    const CLIENTS: usize = 100;
    const MESSAGES: usize = 100;
    let (members, running) = room();
    let address = running.address();
    let mut clients = Vec::from_iter((0..CLIENTS).map(|_| StreamClient::connect(&address)));
    eventually("everybody is in the room", || {
        members.lock().unwrap().len() == CLIENTS
    });
    for (number, client) in clients.iter().enumerate() {
        client.send(&format!("{number} {}\n", "x".repeat(number % 50)));
    }
    let mut first = None;
    for client in &mut clients {
        let lines = Vec::from_iter((0..MESSAGES).map(|_| client.line()));
        let mut numbers = Vec::from_iter(lines.iter().map(|line| {
            let (number, rest) = line.split_once(' ').unwrap();
            let number: usize = number.parse().unwrap();
            assert_eq!(rest, "x".repeat(number % 50));
            number
        }));
        // The order is that of the room, the same for all.
        assert_eq!(first.get_or_insert_with(|| numbers.clone()), &numbers);
        numbers.sort_unstable();
        assert_eq!(numbers, Vec::from_iter(0..MESSAGES));
    }
    drop(clients);
    running.close();
}

#[test]
fn a_message_waits_until_the_answer_is_written_and_never_lands_in_its_middle() {
    let (gate, key) = gate();
    let (sender, outboxes) = channel();
    let sender = Mutex::new(sender);
    let (sender, gate) = (Arc::new(sender), Arc::new(gate));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        sender.lock().unwrap().send(request.outbox()?).unwrap();
        while let Some(line) = request.next_line(100)? {
            write!(request, "{line} ")?;
            request.flush()?;
            gate.pass();
            writeln!(request, "answered")?;
        }
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let outbox = outboxes.recv_timeout(LIMIT).unwrap();
    // At once while the handler waits.
    outbox.send(b"push\n").unwrap();
    assert_eq!(client.line(), "push");
    client.send("line\n");
    assert_eq!(client.receive_exactly(5), b"line ");
    outbox.send(b"later\n").unwrap();
    key.let_pass(1);
    assert_eq!(client.line(), "answered");
    assert_eq!(client.line(), "later");
    client.finish_sending();
    assert_eq!(client.rest(), b"");
    let handle = running.handle();
    running.close();
    assert_eq!(
        handle.statistics().sent,
        "push\nline answered\nlater\n".len() as u64
    );
    assert_eq!(outbox.send(b"late"), Err(OutboxError::Closed));
}

#[test]
fn a_message_is_delivered_while_the_client_is_in_the_middle_of_its_line() {
    let (members, running) = room();
    let mut client = StreamClient::connect(&running.address());
    let handle = running.handle();
    client.send("half ");
    eventually("half a line has come", || handle.statistics().received == 5);
    members.lock().unwrap()[0].send(b"push\n").unwrap();
    assert_eq!(client.line(), "push");
    client.send("a line\n");
    assert_eq!(client.line(), "half a line");
    drop(client);
    running.close();
}

#[test]
fn a_slow_client_fills_its_outbox_which_returns_an_error_and_holds_back_nobody() {
    let (sender, outboxes) = channel();
    let sender = Arc::new(Mutex::new(sender));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        sender.lock().unwrap().send(request.outbox()?).unwrap();
        while request.next_line(100)?.is_some() {}
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    server.set_drain_timeout(Some(Duration::ZERO));
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    let outbox = outboxes.recv_timeout(LIMIT).unwrap();
    let message = [b'x'; 10_000];
    let mut sent = 0;
    let full = loop {
        match outbox.send(&message) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "nothing bounds the outbox");
    };
    assert!(matches!(full, OutboxError::Full { .. }), "{full:?}");
    // When the client reads, there is room again, and nothing of what was taken is lost.
    let mut received = 0;
    let mut bytes = [0; 65_536];
    while received < sent * message.len() {
        received += client.socket().read(&mut bytes).unwrap();
    }
    assert_eq!(received, sent * message.len());
    eventually("the outbox takes messages again", || {
        outbox.send(b"more").is_ok()
    });
    drop(client);
    running.close();
}

#[test]
fn a_notice_before_a_stop_reaches_an_idle_client() {
    let (members, running) = room();
    let mut client = StreamClient::connect(&running.address());
    let handle = running.handle();
    eventually("the client is idle", || handle.statistics().idle == 1);
    members.lock().unwrap()[0]
        .send(b"the server stops\n")
        .unwrap();
    let server = running.stop();
    assert_eq!(client.rest(), b"the server stops\n");
    assert_eq!(close(server).aborted, 0);
}

#[test]
fn the_idle_deadline_ends_a_client_that_receives_and_never_sends() {
    let (reporter, mut ends) = reports();
    let (sender, outboxes) = channel();
    let sender = Arc::new(Mutex::new(sender));
    let factory = stream_handler(move |request: &mut StreamRequest| {
        sender.lock().unwrap().send(request.outbox()?).unwrap();
        let error = request.next_line(100).unwrap_err();
        reporter.say(&error);
        Err(error.into())
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    let limit = Duration::from_millis(100);
    server
        .handle()
        .set_deadlines(Deadlines::none().with_first_byte(limit));
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    let outbox = outboxes.recv_timeout(LIMIT).unwrap();
    outbox.send(b"push\n").unwrap();
    assert_eq!(client.line(), "push");
    assert!(ends.next_report().contains("(first-byte deadline)"));
    client.wait_for_close();
    running.close();
}

#[test]
fn a_mock_records_what_others_have_sent() {
    let (mut request, recording) = MockStream::new().chunk("a\n").into_request();
    let outbox = request.outbox().unwrap();
    outbox.send(b"one\n").unwrap();
    outbox.clone().send(b"two\n").unwrap();
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("a"));
    assert_eq!(recording.written(), b"one\ntwo\n");
    drop(request);
    assert_eq!(outbox.send(b"three"), Err(OutboxError::Closed));
}
