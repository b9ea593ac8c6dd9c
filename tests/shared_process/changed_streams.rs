//! A mix-in that changes the bytes on their way, as encryption does, over a real socket.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use socketserver::layer::{GetRequestError, Stream};
use socketserver::{
    BaseServer, DeadlineExceeded, Deadlines, HandlerFactory, Limits, MixIn, Serve, StreamRequest,
    TcpServer, ThreadingMixIn, UnixStreamServer,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::reports::{Reporter, reports};
use support::running_server::{RunningServer, close};
use support::services::{silent_panic, stream_handler};
use support::waiting::eventually;

const KEY: u8 = 0b0101_0101;

fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ KEY).collect()
}

/// Inverts some bits of every byte, both ways.
#[derive(Debug)]
struct Masked(Box<dyn Stream>);

impl Read for Masked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= KEY);
        Ok(count)
    }
}

impl Write for Masked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&masked(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Masked);

/// Masks every connection of the layer below.
struct Masking<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Masking<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn get_request(&self) -> Result<StreamRequest, GetRequestError> {
        let mut request = self.0.get_request()?;
        request.map_stream(|stream| Box::new(Masked(stream)));
        Ok(request)
    }
}

/// Counts the bytes of each line, and says goodbye when the server stops.
fn counting(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        let mut line = Vec::new();
        while request.wait()? {
            line.clear();
            request.read_until(b'\n', &mut line)?;
            reporter.say(line.trim_ascii_end().escape_ascii());
            writeln!(request, "{}", line.len())?;
        }
        reporter.say("told");
        Ok(request.write_all(b"goodbye\n")?)
    })
}

fn masks<S: BaseServer<Request = StreamRequest>>(layers: impl FnOnce(Reporter) -> S) {
    let (reporter, mut reports) = reports();
    let layers = layers(reporter).mix_in(Masking).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let long = "x".repeat(10_000);
    for line in ["hello", &long, "", "hello again"] {
        let sent = masked(format!("{line}\n").as_bytes());
        client.socket().write_all(&sent).unwrap();
        let answer = format!("{}\n", line.len() + 1);
        assert_eq!(
            masked(&client.receive_exactly(answer.len())),
            answer.as_bytes()
        );
        assert_eq!(reports.next_report(), line);
    }
    // The connection is the server's own under the mask.
    let server = running.stop();
    assert_eq!(reports.next_report(), "told");
    assert_eq!(masked(&client.rest()), b"goodbye\n");
    let report = close(server);
    assert_eq!(
        (report.idle + report.ended, report.aborted, report.running),
        (1, 0, 0)
    );
}

#[test]
fn a_mix_in_can_change_the_bytes_both_ways() {
    masks(|reporter| TcpServer::new("127.0.0.1:0", counting(reporter)));
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    masks(|reporter| UnixStreamServer::new(path, counting(reporter)));
}

#[test]
fn a_mask_over_a_mask_is_none() {
    let (reporter, mut reports) = reports();
    let layers = TcpServer::new("127.0.0.1:0", counting(reporter))
        .mix_in(Masking)
        .mix_in(Masking);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.line(), "6");
    assert_eq!(reports.next_report(), "hello");
    running.close();
}

#[test]
fn deadlines_hold_through_a_mix_in_that_changes_the_bytes() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        let error = request.read_until(b'\n', &mut Vec::new()).unwrap_err();
        reporter.say(error);
        Ok(())
    });
    let layers = TcpServer::new("127.0.0.1:0", factory).mix_in(Masking);
    let running = RunningServer::start(layers.bind().unwrap());
    let limit = Duration::from_millis(60);
    running
        .handle()
        .set_deadlines(Deadlines::none().with_read(limit));
    let mut client = StreamClient::connect(&running.address());
    client.send("x");
    let expected = DeadlineExceeded::Read(limit);
    assert_eq!(reports.next_report(), expected.to_string());
    client.wait_for_close();
    running.close();
}

#[test]
fn a_stream_that_panics_while_its_client_is_refused_does_not_cost_the_loop() {
    /// Fits no stream of bytes at all.
    #[derive(Debug)]
    struct Panics(Box<dyn Stream>);

    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            silent_panic("read")
        }
    }

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            silent_panic("written")
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl_stream_of_inner!(Panics);

    struct Panicking<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for Panicking<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn get_request(&self) -> Result<StreamRequest, GetRequestError> {
            let mut request = self.0.get_request()?;
            request.map_stream(|stream| Box::new(Panics(stream)));
            Ok(request)
        }
    }

    let (reporter, _reports) = reports();
    let layers = TcpServer::new("127.0.0.1:0", counting(reporter)).mix_in(Panicking);
    let running = RunningServer::start(layers.bind().unwrap());
    let nobody = Limits::none()
        .with_max_connections(0)
        .refuse_with("too busy");
    running.handle().set_limits(nobody);
    for refused in 1..=2 {
        StreamClient::connect(&running.address()).wait_for_close();
        eventually("it is counted as refused", || {
            running.handle().statistics().refused == refused
        });
    }
    running.close();
}
