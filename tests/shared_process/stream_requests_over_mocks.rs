//! What a handler sees of a connection, and what the connection sees of a handler.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use socketserver::layer::{LayerHandle, Stream};
use socketserver::mock::{MockStream, StreamEvent};
use socketserver::{
    Address, HandlerPanic, HandlerResult, RequestHandler, StreamRequest, handler_fn,
};

/// A handler made of a function.
struct Handle<F>(F);

fn handle<F: FnMut(&mut StreamRequest) -> HandlerResult>(function: F) -> Handle<F> {
    Handle(function)
}

impl<F: FnMut(&mut StreamRequest) -> HandlerResult + Send> RequestHandler for Handle<F> {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        (self.0)(request)
    }
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    let mut buffer = [0; 1024];
    while request.wait()? {
        let count = request.read(&mut buffer)?;
        request.write_all(&buffer[..count])?;
    }
    Ok(())
}

#[test]
fn a_prompt_leaves_before_the_read_that_waits_for_its_answer() {
    let recording = MockStream::new().chunk("Ada\n").run(handle(|request| {
        write!(request, "name? ")?;
        let mut name = String::new();
        request.read_line(&mut name)?;
        Ok(())
    }));
    let events = recording.events();
    assert_eq!(
        events[..3],
        [
            StreamEvent::Written(b"name? ".into()),
            StreamEvent::Flushed,
            StreamEvent::Read(4)
        ]
    );
}

#[test]
fn what_was_written_leaves_when_the_handler_returns() {
    let recording = MockStream::new().run(handle(|request| Ok(write!(request, "bye")?)));
    assert_eq!(recording.written(), b"bye");
    assert!(recording.is_flushed());
}

#[test]
fn what_was_written_before_an_error_or_a_panic_leaves_all_the_same() {
    let fail = handle(|request: &mut StreamRequest| {
        write!(request, "your fault: ")?;
        Err("no".into())
    });
    let recording = MockStream::new().run(fail);
    assert_eq!(recording.written(), b"your fault: ");
    assert_eq!(recording.result().as_ref().unwrap_err().to_string(), "no");

    let panic = handle(|request: &mut StreamRequest| {
        write!(request, "oh")?;
        panic!("a bug");
    });
    let recording = MockStream::new().run(panic);
    assert_eq!(recording.written(), b"oh");
    assert!(
        recording
            .result()
            .as_ref()
            .unwrap_err()
            .is::<HandlerPanic>()
    );
}

#[test]
fn many_small_writes_leave_in_one_system_call() {
    let recording = MockStream::new().run(handle(|request| {
        for digit in 0..10 {
            write!(request, "{digit}")?;
        }
        Ok(())
    }));
    assert_eq!(recording.writes(), [b"0123456789"]);
}

#[test]
fn a_header_and_a_body_larger_than_the_buffer_leave_in_one_system_call() {
    let body = vec![b'x'; 100_000];
    let expected = [b"header ".as_slice(), &body].concat();
    let recording = MockStream::new().run(handle(move |request| {
        write!(request, "header ")?;
        request.write_all(&body)?;
        Ok(())
    }));
    assert_eq!(recording.writes(), [expected]);
}

#[test]
fn answers_to_requests_that_arrived_together_leave_together() {
    let recording = MockStream::new().chunk("a\nb\nc\n").run(handle(|request| {
        let mut line = String::new();
        while request.wait()? {
            line.clear();
            request.read_line(&mut line)?;
            request.write_all(line.as_bytes())?;
        }
        Ok(())
    }));
    assert_eq!(recording.writes(), [b"a\nb\nc\n"]);
}

#[test]
fn without_a_write_buffer_each_write_leaves_by_itself() {
    let recording = MockStream::new().run(handle(|request| {
        request.set_wbufsize(0)?;
        request.write_all(b"a")?;
        request.write_all(b"b")?;
        Ok(())
    }));
    assert_eq!(recording.writes(), [b"a", b"b"]);
}

#[test]
fn a_read_gives_what_one_read_of_the_connection_gave() {
    // As the tutorial's servers rely on: one recv(1024) is one message.
    for size in [1, 10, 1023, 1024, 1025, 5000] {
        let message = vec![b'm'; size];
        let mock = MockStream::new().chunk(&message).chunk("next");
        let recording = mock.run(handle(move |request| {
            assert!(request.wait()?);
            let mut buffer = [0; 8192];
            assert_eq!(request.read(&mut buffer)?, size);
            Ok(())
        }));
        recording.result().as_ref().unwrap();
    }
}

#[test]
fn a_read_asks_for_no_more_than_rbufsize() {
    let recording = MockStream::new().chunk("abcdefgh").run(handle(|request| {
        request.set_rbufsize(3);
        assert_eq!(request.fill_buf()?, b"abc");
        Ok(())
    }));
    recording.result().as_ref().unwrap();
}

#[test]
fn the_tied_writes_disable_nagle_before_the_second_write_and_only_then() {
    let once = MockStream::new().chunk("a").run(handle(echo));
    assert!(!once.events().contains(&StreamEvent::NodelaySet(true)));
    let thrice = MockStream::new()
        .chunk("a")
        .chunk("b")
        .chunk("c")
        .run(handle(echo));
    let set = thrice
        .events()
        .iter()
        .filter(|event| **event == StreamEvent::NodelaySet(true))
        .count();
    assert_eq!(set, 1);
    assert_eq!(thrice.writes().len(), 3);
}

#[test]
fn a_handler_can_have_nagle_s_algorithm_or_do_without_it_from_the_first_write() {
    let with = MockStream::new()
        .chunk("a")
        .chunk("b")
        .run(handle(|request| {
            request.set_nodelay(false)?;
            echo(request)
        }));
    assert!(!with.events().contains(&StreamEvent::NodelaySet(true)));
    let without = MockStream::new().chunk("a").run(handle(|request| {
        request.set_nodelay(true)?;
        echo(request)
    }));
    assert!(without.events().contains(&StreamEvent::NodelaySet(true)));
}

#[test]
fn wait_is_false_at_the_end_of_file_and_stays_so() {
    let recording = MockStream::new().chunk("x").run(handle(|request| {
        assert!(request.wait()?);
        assert!(request.wait()?, "nothing was read yet");
        assert_eq!(request.read(&mut [0; 9])?, 1);
        assert!(!request.wait()?);
        assert!(!request.wait()?);
        Ok(())
    }));
    recording.result().as_ref().unwrap();
}

#[test]
fn an_idle_wait_is_false_when_the_server_drains() {
    let recording = MockStream::new()
        .chunk("a")
        .drain()
        .chunk("too late")
        .run(handle(echo));
    recording.result().as_ref().unwrap();
    assert_eq!(recording.written(), b"a");
}

#[test]
fn a_message_that_has_begun_to_arrive_is_served_during_the_drain() {
    let mock = MockStream::new()
        .chunk("he")
        .drain()
        .chunk("llo\n")
        .chunk("too late\n");
    let recording = mock.run(handle(|request| {
        let mut line = String::new();
        while request.wait()? {
            line.clear();
            request.read_line(&mut line)?;
            request.write_all(line.as_bytes())?;
        }
        Ok(())
    }));
    recording.result().as_ref().unwrap();
    assert_eq!(recording.written(), b"hello\n");
}

#[test]
fn requests_that_arrived_before_the_drain_are_all_answered() {
    let mock = MockStream::new()
        .chunk("a\nb\n")
        .drain()
        .chunk("too late\n");
    let recording = mock.run(handle(|request| {
        let mut line = String::new();
        while request.wait()? {
            line.clear();
            request.read_line(&mut line)?;
            request.write_all(line.as_bytes())?;
        }
        Ok(())
    }));
    assert_eq!(recording.written(), b"a\nb\n");
}

#[test]
fn a_timeout_is_an_error_with_the_time() {
    let recording = MockStream::new().timeout().run(handle(|request| {
        request.set_timeout(Some(Duration::from_secs(5)))?;
        request.read_to_end(&mut Vec::new())?;
        Ok(())
    }));
    let error = recording.result().as_ref().unwrap_err();
    assert_eq!(
        error.downcast_ref::<io::Error>().unwrap().kind(),
        ErrorKind::TimedOut
    );
    assert_eq!(error.to_string(), "nothing was received within 5s");
}

#[test]
fn a_timeout_of_zero_is_refused() {
    let (mut request, _) = MockStream::new().into_request();
    let error = request.set_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_interrupted_read_is_repeated() {
    let recording = MockStream::new()
        .read_error(ErrorKind::Interrupted)
        .chunk("a")
        .run(handle(echo));
    recording.result().as_ref().unwrap();
    assert_eq!(recording.written(), b"a");
}

#[test]
fn a_client_that_resets_is_an_error_of_the_handler() {
    let mock = MockStream::new()
        .chunk("a")
        .read_error(ErrorKind::ConnectionReset);
    let recording = mock.run(handle(echo));
    let error = recording
        .result()
        .as_ref()
        .unwrap_err()
        .downcast_ref::<io::Error>()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(recording.is_closed());
}

#[test]
fn a_write_that_fails_is_reported_also_when_only_the_last_flush_sees_it() {
    let mock = MockStream::new().write_error_after(2, ErrorKind::BrokenPipe);
    let recording = mock.run(handle(|request| Ok(write!(request, "lost")?)));
    let error = recording
        .result()
        .as_ref()
        .unwrap_err()
        .downcast_ref::<io::Error>()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(recording.written(), b"lo");
}

#[test]
fn after_a_failed_write_nothing_follows_the_gap() {
    let mock = MockStream::new().write_error_after(2, ErrorKind::TimedOut);
    let (mut request, recording) = mock.into_request();
    request.write_all(b"lost").unwrap();
    assert_eq!(request.flush().unwrap_err().kind(), ErrorKind::TimedOut);
    fails_from_now_on(&mut request);
    drop(request);
    assert_eq!(recording.written(), b"lo");
}

/// Every further call of the handler fails, since the client's bytes have a gap.
fn fails_from_now_on(request: &mut StreamRequest) {
    for _ in 0..2 {
        let errors = [
            request.flush().unwrap_err(),
            request.write(b"small").unwrap_err(),
            request.write(&[b'x'; 100_000]).unwrap_err(),
            request.flush().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
    }
}

/// A client whose second write takes too long, and which is quick again after it.
#[derive(Debug, Default)]
struct SlowOnce {
    writes: usize,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Read for SlowOnce {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer[0] = b'r';
        Ok(1)
    }
}

impl Write for SlowOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes == 2 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(3);
        self.taken
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SlowOnce {
    fn readable_now(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn shutdown(&mut self, _how: Shutdown) -> io::Result<()> {
        Ok(())
    }

    fn set_timeout(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_deadline(&mut self, _deadline: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn set_nodelay(&mut self, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[test]
fn after_a_failed_write_nothing_reaches_a_client_that_would_take_it() {
    let client = SlowOnce::default();
    let taken = client.taken.clone();
    let address = Address::from(([192, 0, 2, 1], 5));
    let guard = LayerHandle::new().register_request(address);
    let mut request = StreamRequest::new(Box::new(client), guard);
    request.set_timeout(Some(Duration::from_secs(1))).unwrap();
    request.write_all(b"0123456789").unwrap();
    assert_eq!(request.flush().unwrap_err().kind(), ErrorKind::TimedOut);
    fails_from_now_on(&mut request);
    // What the client still sends can be read, and nothing is sent before that.
    assert_eq!(request.read(&mut [0; 1000]).unwrap(), 1);
    request.shutdown(Shutdown::Write).unwrap_err();
    drop(request);
    assert_eq!(*taken.lock().unwrap(), b"012");
}

#[test]
fn the_writing_side_is_ended_also_where_not_all_could_be_sent() {
    let mock = MockStream::new().write_error_after(2, ErrorKind::BrokenPipe);
    let (mut request, recording) = mock.into_request();
    request.write_all(b"lost").unwrap();
    let error = request.shutdown(Shutdown::Write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let events = recording.events();
    let failed = StreamEvent::WriteFailed(ErrorKind::BrokenPipe);
    let shut_down = StreamEvent::ShutDown(Shutdown::Write);
    assert!(events.ends_with(&[failed, shut_down]), "{events:?}");
}

#[test]
fn an_interrupted_write_is_repeated() {
    // In a thread, since the defect would be a loop without end.
    let (sender, ended) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || {
        let mock = MockStream::new().write_error_after(2, ErrorKind::Interrupted);
        let recording = mock.run(handle(|request| Ok(request.write_all(b"whole")?)));
        sender.send(recording).unwrap();
    });
    let recording = ended.recv_timeout(Duration::from_secs(5)).unwrap();
    writing.join().unwrap();
    recording.result().as_ref().unwrap();
    assert_eq!(recording.writes(), [b"wh".as_slice(), b"ole"]);
    let interrupted = StreamEvent::WriteFailed(ErrorKind::Interrupted);
    let events = recording.events();
    assert_eq!(events.iter().filter(|it| **it == interrupted).count(), 1);
}

#[test]
fn a_connection_that_takes_nothing_is_an_error_and_no_endless_loop() {
    let recording = MockStream::new()
        .write_limit(0)
        .run(handle(|request| Ok(write!(request, "x")?)));
    let error = recording
        .result()
        .as_ref()
        .unwrap_err()
        .downcast_ref::<io::Error>()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn a_handler_sees_the_client_and_can_stop_the_server() {
    let client = ([192, 0, 2, 1], 5);
    let recording = MockStream::new()
        .client_address(client)
        .run(handle(|request| {
            let client = request.client_address().to_string();
            request.write_all(client.as_bytes())?;
            request.server().shutdown();
            assert!(!request.wait()?);
            Ok(())
        }));
    assert_eq!(recording.written(), b"192.0.2.1:5");
    assert!(recording.server().is_draining());
}

#[test]
fn after_the_handler_the_connection_is_shut_down_and_then_closed() {
    let events = MockStream::new().run(handle(echo)).events();
    let shut_down = StreamEvent::ShutDown(Shutdown::Write);
    assert!(
        events.ends_with(&[shut_down, StreamEvent::Closed]),
        "{events:?}"
    );
}

/// One thing a handler may do to read.
#[derive(Debug, Clone)]
enum ReadStep {
    Wait,
    Read(usize),
    Consume(usize),
    Limit(usize),
}

fn read_steps() -> impl Strategy<Value = Vec<ReadStep>> {
    let step = prop_oneof![
        Just(ReadStep::Wait),
        (1..3000_usize).prop_map(ReadStep::Read),
        (0..3000_usize).prop_map(ReadStep::Consume),
        (0..3000_usize).prop_map(ReadStep::Limit),
    ];
    prop::collection::vec(step, 0..40)
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..12)
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_and_read_they_arrive_once_and_in_order(
        chunks in chunks(),
        steps in read_steps(),
    ) {
        let mut mock = MockStream::new();
        for chunk in &chunks {
            mock = mock.chunk(chunk);
        }
        let (mut request, _) = mock.into_request();
        let mut read = Vec::new();
        for step in steps {
            match step {
                ReadStep::Wait => drop(request.wait().unwrap()),
                ReadStep::Limit(limit) => request.set_rbufsize(limit),
                ReadStep::Read(size) => {
                    let mut buffer = vec![0; size];
                    let count = request.read(&mut buffer).unwrap();
                    read.extend_from_slice(&buffer[..count]);
                }
                ReadStep::Consume(most) => {
                    let bytes = request.fill_buf().unwrap();
                    let count = bytes.len().min(most);
                    read.extend_from_slice(&bytes[..count]);
                    request.consume(count);
                }
            }
        }
        request.read_to_end(&mut read).unwrap();
        prop_assert_eq!(read, chunks.concat());
    }

    #[test]
    fn however_slowly_the_client_takes_the_bytes_it_gets_them_once_and_in_order(
        pieces in chunks(),
        wbufsize in 0..5000_usize,
        write_limit in 1..2000_usize,
    ) {
        let (mut request, recording) = MockStream::new().write_limit(write_limit).into_request();
        request.set_wbufsize(wbufsize).unwrap();
        for piece in &pieces {
            request.write_all(piece).unwrap();
        }
        request.flush().unwrap();
        drop(request);
        prop_assert_eq!(recording.written(), pieces.concat());
    }
}

#[test]
fn a_function_runs_over_a_mock_without_a_type_of_its_own() {
    let recording = MockStream::new().run(handler_fn(|request| Ok(write!(request, "hello")?)));
    assert_eq!(recording.written(), b"hello");
}

#[test]
fn a_borrowed_handler_can_be_examined_after_its_run() {
    /// Keeps the first line.
    #[derive(Default)]
    struct FirstLine(String);

    impl RequestHandler for FirstLine {
        fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
            request.read_line(&mut self.0)?;
            Ok(())
        }
    }

    let mut handler = FirstLine::default();
    let recording = MockStream::new().chunk("one\ntwo\n").run(&mut handler);
    assert!(recording.result().is_ok());
    assert_eq!(handler.0, "one\n");
}

#[test]
fn a_script_and_its_events_show_bytes_as_text() {
    let client = MockStream::new().chunk("ping\n").timeout().drain();
    let shown = format!("{client:?}");
    assert!(
        shown.contains(r#"[Chunk("ping\n"), Fail(TimedOut), Drain]"#),
        "{shown}"
    );
    let reply = handle(|request| {
        request.set_timeout(None)?;
        Ok(request.write_all(b"pong\n\xff")?)
    });
    let recording = client
        .write_error_after(6, ErrorKind::BrokenPipe)
        .run(reply);
    assert_eq!(
        format!("{:?}", recording.events()),
        r#"[TimeoutSet(None), Written("pong\n\xff"), Flushed, ShutDown(Write), Closed]"#
    );
}
