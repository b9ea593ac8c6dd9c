//! What a handler sees of a datagram, and what is sent for it.

use std::io::{BufRead, ErrorKind, Read, Write};

use socketserver::mock::MockDatagram;
use socketserver::{
    Address, DatagramRequest, HandlerResult, RequestHandler, Serve, ThreadingMixIn, UdpServer,
    datagram_handler_fn,
};

/// A handler made of a function.
struct Handle<F>(F);

fn handle<F: FnMut(&mut DatagramRequest) -> HandlerResult>(function: F) -> Handle<F> {
    Handle(function)
}

impl<F> RequestHandler<DatagramRequest> for Handle<F>
where
    F: FnMut(&mut DatagramRequest) -> HandlerResult + Send,
{
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        (self.0)(request)
    }
}

#[test]
fn everything_that_was_written_is_one_datagram() {
    let recording = MockDatagram::new("x").run(handle(|request| {
        write!(request, "one ")?;
        request.flush()?;
        write!(request, "reply")?;
        Ok(())
    }));
    assert_eq!(recording.sent(), [b"one reply"]);
}

#[test]
fn where_nothing_was_written_nothing_is_sent() {
    let recording = MockDatagram::new("x").run(handle(|_| Ok(())));
    recording.result().as_ref().unwrap();
    assert!(recording.sent().is_empty());
}

#[test]
fn a_handler_that_has_failed_sends_no_incomplete_reply() {
    let recording = MockDatagram::new("x").run(handle(|request| {
        write!(request, "half a ")?;
        Err("no".into())
    }));
    assert!(recording.result().is_err());
    assert!(recording.sent().is_empty());
}

#[test]
fn replies_that_are_sent_one_by_one_may_be_empty() {
    let recording = MockDatagram::new("x").run(handle(|request| {
        request.send(b"first")?;
        request.send(b"")?;
        write!(request, "last")?;
        Ok(())
    }));
    assert_eq!(recording.sent(), [b"first".as_slice(), b"", b"last"]);
}

#[test]
fn a_recording_has_who_each_datagram_was_sent_to() {
    let client = Address::from(([192, 0, 2, 1], 1111));
    let other = Address::from(([192, 0, 2, 2], 2222));
    let to_other = other.clone();
    let datagram = MockDatagram::new("x").client_address(client.clone());
    let recording = datagram.run(handle(move |request| {
        request.send_to(b"news", &to_other)?;
        request.send(b"first")?;
        Ok(request.write_all(b"last")?)
    }));
    assert_eq!(
        recording.sent_with_addresses(),
        [
            (other, b"news".to_vec()),
            (client.clone(), b"first".to_vec()),
            (client, b"last".to_vec())
        ]
    );
    assert_eq!(recording.sent(), [b"news".as_slice(), b"first", b"last"]);
    assert_eq!(recording.server().statistics().sent, 13);
}

#[test]
fn a_datagram_to_another_that_fails_is_not_counted_and_names_its_receiver() {
    let datagram = MockDatagram::new("x").send_error(ErrorKind::PermissionDenied);
    let recording = datagram.run(handle(|request| {
        let broadcast = Address::from(([192, 0, 2, 255], 9));
        Ok(request.send_to(b"wake", &broadcast)?)
    }));
    let error = recording.result().as_ref().unwrap_err();
    let kind = error.downcast_ref::<std::io::Error>().unwrap().kind();
    assert_eq!(kind, ErrorKind::PermissionDenied);
    let error = error.to_string();
    assert!(error.contains("4 bytes to 192.0.2.255:9:"), "{error}");
    assert!(recording.sent_with_addresses().is_empty());
    assert_eq!(recording.server().statistics().sent, 0);
}

#[test]
fn a_packet_can_be_read_as_a_stream_and_is_still_there_whole() {
    let recording = MockDatagram::new("a line\nrest").run(handle(|request| {
        let mut line = String::new();
        request.read_line(&mut line)?;
        assert_eq!(line, "a line\n");
        let mut rest = String::new();
        request.read_to_string(&mut rest)?;
        assert_eq!(rest, "rest");
        assert_eq!(request.packet(), b"a line\nrest");
        Ok(())
    }));
    recording.result().as_ref().unwrap();
}

#[test]
fn a_handler_can_recognise_a_truncated_datagram() {
    let tell = |request: &mut DatagramRequest| {
        let truncated = request.is_truncated();
        Ok(write!(request, "{truncated}")?)
    };
    assert_eq!(MockDatagram::new("x").run(handle(tell)).sent(), [b"false"]);
    assert_eq!(
        MockDatagram::new("x").truncated().run(handle(tell)).sent(),
        [b"true"]
    );
}

#[test]
fn a_reply_that_cannot_be_sent_is_an_error_with_its_length() {
    let mock = MockDatagram::new("x").send_error(ErrorKind::TimedOut);
    let recording = mock.run(handle(|request| Ok(write!(request, "four")?)));
    let error = recording.result().as_ref().unwrap_err().to_string();
    assert!(error.contains("datagram of 4 bytes"), "{error}");
}

#[test]
fn layers_run_over_a_mock_in_this_thread() {
    let length = datagram_handler_fn(|request| {
        let length = request.packet().len();
        Ok(write!(request, "{length}")?)
    });
    let layers = UdpServer::new("127.0.0.1:0", length).mix_in(ThreadingMixIn::new);
    let recording = MockDatagram::new("four").run_layers(layers);
    recording.result().as_ref().unwrap();
    assert_eq!(recording.sent(), [b"4"]);
    assert_eq!(recording.server().statistics().finished, 1);
}
