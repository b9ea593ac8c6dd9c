//! The life of a handler whose communication loop is the framework's, over mocks and sockets.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use socketserver::mock::MockStream;
use socketserver::{
    DatagramRequest, ExchangeHandler, HandlerResult, RequestHandler, StreamRequest, handler_fn,
};

/// Records its calls, and answers each line with its number.
#[derive(Debug, Default)]
struct Recorder {
    calls: Vec<String>,
    /// The line after which the handler closes the connection.
    last: Option<&'static str>,
    /// The line at which an exchange fails.
    fails_at: Option<&'static str>,
    lines: u32,
}

impl ExchangeHandler for Recorder {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.calls.push("setup".to_owned());
        Ok(writeln!(request, "hello")?)
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = String::new();
        request.read_line(&mut line)?;
        self.calls.push(format!("exchange {}", line.trim_end()));
        self.lines += 1;
        writeln!(request, "{}", self.lines)?;
        if self.last == Some(line.trim_end()) {
            request.close_connection();
        }
        if self.fails_at == Some(line.trim_end()) {
            return Err("a failed exchange".into());
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.calls.push("finish".to_owned());
        Ok(())
    }
}

#[test]
fn an_exchange_runs_for_every_message_between_setup_and_finish() {
    let mut handler = Recorder::default();
    let client = MockStream::new().chunk("one\ntwo\n").chunk("three\n");
    let recording = client.run(&mut handler);
    let calls = [
        "setup",
        "exchange one",
        "exchange two",
        "exchange three",
        "finish",
    ];
    assert_eq!(handler.calls, calls);
    assert_eq!(recording.written(), b"hello\n1\n2\n3\n");
}

#[test]
fn a_client_that_leaves_without_a_byte_causes_no_exchange() {
    let mut handler = Recorder::default();
    MockStream::new().run(&mut handler);
    assert_eq!(handler.calls, ["setup", "finish"]);
}

#[test]
fn no_exchange_follows_one_that_closes_the_connection() {
    let mut handler = Recorder {
        last: Some("two"),
        ..Recorder::default()
    };
    let recording = MockStream::new()
        .chunk("one\ntwo\nthree\n")
        .run(&mut handler);
    let calls = ["setup", "exchange one", "exchange two", "finish"];
    assert_eq!(handler.calls, calls);
    assert_eq!(recording.written(), b"hello\n1\n2\n");
    assert!(recording.result().is_ok());
}

#[test]
fn a_failed_exchange_is_followed_by_finish_and_is_the_result() {
    let mut handler = Recorder {
        fails_at: Some("two"),
        ..Recorder::default()
    };
    let recording = MockStream::new()
        .chunk("one\ntwo\nthree\n")
        .run(&mut handler);
    let calls = ["setup", "exchange one", "exchange two", "finish"];
    assert_eq!(handler.calls, calls);
    let error = recording.result().as_ref().unwrap_err();
    assert_eq!(error.to_string(), "a failed exchange");
}

#[test]
fn a_drain_ends_the_conversation_between_two_exchanges() {
    let mut handler = Recorder::default();
    let client = MockStream::new().chunk("one\n").drain().chunk("two\n");
    client.run(&mut handler);
    assert_eq!(handler.calls, ["setup", "exchange one", "finish"]);
}

#[test]
fn an_exchange_handler_of_datagrams_has_one_exchange() {
    struct Count(Arc<AtomicU32>);
    impl ExchangeHandler<DatagramRequest> for Count {
        fn exchange(&mut self, request: &mut DatagramRequest) -> HandlerResult {
            self.0.fetch_add(1, Ordering::Relaxed);
            let packet = request.packet().to_ascii_uppercase();
            Ok(request.write_all(&packet)?)
        }
    }
    let exchanges = Arc::new(AtomicU32::new(0));
    let recording = socketserver::mock::MockDatagram::new("abc").run(Count(exchanges.clone()));
    assert_eq!(recording.sent(), [b"ABC"]);
    assert_eq!(exchanges.load(Ordering::Relaxed), 1);
}

#[test]
fn a_box_and_a_borrow_of_a_handler_are_handlers() {
    let mut handler = Recorder::default();
    let boxed: Box<dyn RequestHandler> = Box::new(Recorder::default());
    for recording in [
        MockStream::new().chunk("one\n").run(&mut handler),
        MockStream::new()
            .chunk("one\n")
            .run(Box::new(Recorder::default())),
        MockStream::new().chunk("one\n").run(boxed),
    ] {
        assert_eq!(recording.written(), b"hello\n1\n");
    }
    assert_eq!(handler.calls, ["setup", "exchange one", "finish"]);
}

#[test]
fn a_function_serves_the_whole_conversation_in_one_call() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let function = handler_fn(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        while let Some(line) = request.next_line(100)? {
            writeln!(request, "{line}")?;
        }
        Ok(())
    });
    let recording = MockStream::new().chunk("one\ntwo\n").run(function);
    assert_eq!(recording.written(), b"one\ntwo\n");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
