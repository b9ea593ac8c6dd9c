//! What begins after the end of a connection's lifetime fails at once, whatever is there to be read
//! and however much the client takes.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::time::Duration;

use socketserver::layer::{Preparation, RequestOf};
use socketserver::mock::{MockStream, StreamEvent, StreamRecording};
use socketserver::{
    BaseServer, DeadlineExceeded, Deadlines, HandlerError, MixIn, Serve, StreamRequest, TcpServer,
    handler_fn,
};

/// A lifetime that is over since the connection was accepted.
fn over() -> Deadlines {
    Deadlines::none().with_lifetime(Duration::ZERO)
}

fn assert_over(error: &io::Error) {
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let expected = DeadlineExceeded::Lifetime(Duration::ZERO);
    assert_eq!(DeadlineExceeded::find_in(error), Some(expected));
}

/// A request that has read the first of many lines, and has the others in its buffer.
fn in_the_middle() -> (StreamRequest, StreamRecording) {
    let many = "line\n".repeat(100);
    let (mut request, recording) = MockStream::new().chunk(&many).chunk(&many).into_request();
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("line"));
    assert!(!request.buffer().is_empty());
    (request, recording)
}

#[test]
fn no_way_to_read_returns_buffered_bytes_after_the_lifetime() {
    type Call = fn(&mut StreamRequest) -> io::Result<()>;
    let calls: [Call; 9] = [
        |it| it.wait().map(drop),
        |it| it.next_line(10).map(drop),
        |it| it.next_until(b'\n', 10).map(drop),
        |it| it.next_exact(1).map(drop),
        |it| it.fill_buf().map(drop),
        |it| it.read(&mut [0; 1]).map(drop),
        |it| it.read(&mut [0; 10_000]).map(drop),
        |it| it.read_line(&mut String::new()).map(drop),
        |it| it.read_exact(&mut [0; 4]),
    ];
    for call in calls {
        let (mut request, recording) = in_the_middle();
        request.set_deadlines(over());
        let events = recording.events();
        assert_over(&call(&mut request).unwrap_err());
        assert_eq!(recording.events(), events, "it reads nothing more");
        // A longer lifetime goes on where the conversation was.
        request.set_deadlines(Deadlines::none().with_lifetime(Duration::MAX));
        assert_eq!(request.next_line(10).unwrap().as_deref(), Some("line"));
    }
}

#[test]
fn what_is_in_the_connection_is_not_read_after_the_lifetime() {
    let (mut request, recording) = MockStream::new().chunk("line\n").into_request();
    request.set_deadlines(over());
    assert_over(&request.read(&mut [0; 10_000]).unwrap_err());
    assert_over(&request.fill_buf().unwrap_err());
    assert_over(&request.wait().unwrap_err());
    assert_eq!(recording.events(), []);
}

#[test]
fn what_was_written_before_the_end_is_sent_and_what_is_written_later_is_not() {
    let (mut request, recording) = in_the_middle();
    request.write_all(b"in time\n").unwrap();
    request.set_deadlines(over());
    assert_over(&request.write(b"late").unwrap_err());
    assert_over(&request.write_all(&[b'x'; 100_000]).unwrap_err());
    request.flush().unwrap();
    assert_eq!(recording.written(), b"in time\n");
}

#[test]
fn a_long_write_ends_with_the_lifetime_although_its_client_never_pauses() {
    let lifetime = Duration::from_millis(20);
    let answer = vec![b'x'; 64 << 20];
    // A client that takes a byte at once, again and again.
    let (mut request, recording) = MockStream::new().write_limit(1).into_request();
    request.set_deadlines(Deadlines::none().with_lifetime(lifetime));
    let error = request.write_all(&answer).unwrap_err();
    let expected = DeadlineExceeded::Lifetime(lifetime);
    assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
    let sent = format!(
        "; {} bytes of the answer had been sent",
        recording.written().len()
    );
    assert!(error.to_string().ends_with(&sent), "{error}");
    // There is a gap, so nothing follows.
    request.set_deadlines(Deadlines::none());
    assert!(request.write_all(b"more").is_err());
}

/// Asks its client for ever, and takes what comes.
struct Insatiable<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Insatiable<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        // In the middle of the preparation, whose time begins with the first read.
        request.read_exact(&mut [0; 1])?;
        let prepare = Duration::from_nanos(1);
        request.set_deadlines(Deadlines::none().with_prepare(prepare));
        loop {
            request.read_exact(&mut [0; 1])?;
        }
    }
}

#[test]
fn a_preparation_that_is_never_kept_waiting_ends_at_its_deadline_too() {
    let nobody = handler_fn(|_: &mut StreamRequest| Ok(()));
    let layers = TcpServer::new("127.0.0.1:0", nobody).mix_in(Insatiable);
    let client = MockStream::new().chunk("x".repeat(100_000));
    let recording = client.run_layers(layers);
    let error = recording.result().as_ref().unwrap_err();
    let expected = DeadlineExceeded::Prepare(Duration::from_nanos(1));
    assert_eq!(DeadlineExceeded::find_in(&**error), Some(expected));
    // Two fills of the buffer, and not all that the client has sent.
    let read = recording.events().into_iter().map(|event| match event {
        StreamEvent::Read(count) => count,
        _ => 0,
    });
    assert!(read.sum::<usize>() <= 2 * 8192);
}
