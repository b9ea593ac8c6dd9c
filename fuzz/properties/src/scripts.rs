//! Scripts of a client: pieces, errors and the end, under the reads of a handler and under whole
//! handlers, beside a model in which nothing is cut.

use std::io::{BufRead, ErrorKind, Read};

use arbitrary::{Arbitrary, Unstructured};
use socketserver::mock::{MockStream, StreamRecording};
use socketserver::{MessageError, RequestHandler, StreamRequest};
use socketserver_handlers::{Echo, Upper, UpperLoop};

use crate::cuts::Cuts;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    /// The size of the read buffer; 0 is the default.
    rbufsize: u16,
    /// The most bytes of a write; 0 is no bound.
    write_limit: u8,
    /// The bytes after which a write fails, and how.
    write_error: Option<(u16, Failure)>,
    calls: Vec<[u8; 3]>,
    /// The places of errors in the stream.
    failures: Vec<(u8, Failure)>,
    stream: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Chunk(&'a [u8]),
    Fail(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Failure {
    TimedOut,
    WouldBlock,
    ConnectionReset,
    BrokenPipe,
    Interrupted,
}

impl Failure {
    fn kind(self) -> ErrorKind {
        match self {
            Self::TimedOut => ErrorKind::TimedOut,
            Self::WouldBlock => ErrorKind::WouldBlock,
            Self::ConnectionReset => ErrorKind::ConnectionReset,
            Self::BrokenPipe => ErrorKind::BrokenPipe,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }
}

/// A call of a handler. Limits are small, so that messages of their length are not rare.
#[derive(Debug, Clone, Copy)]
enum Call {
    Wait,
    NextLine(usize),
    NextUntil(u8, usize),
    NextExact(usize),
    ReadExact(usize),
    ReadUntil(u8),
}

impl From<[u8; 3]> for Call {
    fn from([kind, one, other]: [u8; 3]) -> Self {
        match kind % 6 {
            0 => Self::Wait,
            1 => Self::NextLine(usize::from(one % 32)),
            2 => Self::NextUntil(one, usize::from(other % 32)),
            3 => Self::NextExact(usize::from(one) + 256 * usize::from(other % 4)),
            4 => Self::ReadExact(one.into()),
            _ => Self::ReadUntil(one),
        }
    }
}

/// What a call returns.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// True for [`Call::Wait`].
    Arrived,
    /// The client has ended its side.
    Ended,
    Bytes(Vec<u8>),
    NotUtf8,
    TooLong,
    Incomplete(usize),
    Failed(ErrorKind, Vec<u8>),
}

/// Checks that a handler's reads, and the answers of handlers, depend on the bytes of a client and
/// on the places of its errors alone, and not on how the bytes are cut or how much a write takes.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    input.reads_are_those_of_the_model();
    input.answers_are_those_of_the_model();
    input.a_stop_takes_nothing_back();
}

impl Input<'_> {
    fn reads_are_those_of_the_model(&self) {
        let (mut request, _) = self.client(Some(self.cuts)).into_request();
        if self.rbufsize > 0 {
            request.set_rbufsize(self.rbufsize.into());
        }
        let mut model = Model::new(&self.script());
        for call in self.calls.iter().copied().map(Call::from) {
            let expected = model.call(call);
            assert_eq!(made(call, &mut request), expected, "{call:?}");
            if matches!(expected, Outcome::TooLong | Outcome::Incomplete(_)) {
                // The rest of the message is no message.
                assert_eq!(made(call, &mut request), expected, "{call:?} again");
                assert_eq!(made(Call::NextExact(1), &mut request), expected);
                break;
            }
        }
    }

    fn answers_are_those_of_the_model(&self) {
        let (sent, fails) = self.before_the_first_error();
        self.answers(Echo, &sent, fails);
        self.answers(UpperLoop, &sent.to_ascii_uppercase(), fails);

        // One read is one message.
        let mut steps = self.script().into_iter();
        let first = steps.find(|step| match step {
            Step::Chunk(bytes) => !bytes.is_empty(),
            Step::Fail(failure) => *failure != Failure::Interrupted,
        });
        let first = match first {
            Some(Step::Chunk(bytes)) => self.cuts.pieces(bytes)[0],
            _ => &[],
        };
        let first = &first[..first.len().min(1024)];
        let is_space = |byte: &u8| b"\t\n\x0b\x0c\r ".contains(byte);
        let begin = first
            .iter()
            .position(|byte| !is_space(byte))
            .unwrap_or(first.len());
        let end = first
            .iter()
            .rposition(|byte| !is_space(byte))
            .map_or(begin, |last| last + 1);
        let fails = first.is_empty() && fails;
        self.answers(Upper, &first[begin..end].to_ascii_uppercase(), fails);
    }

    /// Runs a handler whose complete answer is `expected`, and which fails at a read if `fails`.
    fn answers(&self, handler: impl RequestHandler + Copy, expected: &[u8], fails: bool) {
        let client = || match self.write_limit {
            0 => self.client(Some(self.cuts)),
            limit => self.client(Some(self.cuts)).write_limit(limit.into()),
        };
        let is_complete = |recording: &StreamRecording| {
            assert_eq!(recording.written(), expected);
            assert_eq!(
                recording.result().is_err(),
                fails,
                "{:?}",
                recording.result()
            );
            assert!(recording.is_closed());
        };
        is_complete(&client().run(handler));
        if let Some((after, failure)) = self.write_error {
            let after = usize::from(after);
            let recording = client()
                .write_error_after(after, failure.kind())
                .run(handler);
            if failure == Failure::Interrupted || after >= expected.len() {
                is_complete(&recording);
            } else {
                assert_eq!(recording.written(), expected[..after]);
                assert!(recording.result().is_err(), "the failure is not reported");
                assert!(recording.is_closed());
            }
        }
    }

    /// The bytes up to the first error that a handler sees, and whether there is one.
    fn before_the_first_error(&self) -> (Vec<u8>, bool) {
        let mut model = Model::new(&self.script());
        let sent = model.take_segment();
        (sent, model.failure().is_some())
    }

    fn a_stop_takes_nothing_back(&self) {
        let whole = self.client(None).run(Echo).written();
        let client = self.client(Some(self.cuts)).drain().chunk("too late");
        let stopped: StreamRecording = client.run(Echo);
        assert_eq!(stopped.written(), whole);
    }

    /// The stream with its errors.
    fn script(&self) -> Vec<Step<'_>> {
        let mut failures = self.failures.clone();
        failures.sort_by_key(|(place, _)| *place);
        let mut steps = Vec::new();
        let (mut rest, mut position) = (self.stream, 0);
        for (place, failure) in failures {
            let length = (usize::from(place) - position).min(rest.len());
            let (chunk, more) = rest.split_at(length);
            steps.extend([Step::Chunk(chunk), Step::Fail(failure)]);
            (rest, position) = (more, position + length);
        }
        steps.push(Step::Chunk(rest));
        steps
    }

    /// The client of the script, whose chunks are cut further.
    fn client(&self, cuts: Option<Cuts>) -> MockStream {
        let mut client = MockStream::new();
        for step in self.script() {
            client = match (step, cuts) {
                (Step::Fail(failure), _) => client.read_error(failure.kind()),
                (Step::Chunk(bytes), None) => client.chunk(bytes),
                (Step::Chunk(bytes), Some(cuts)) => cuts
                    .pieces(bytes)
                    .into_iter()
                    .fold(client, MockStream::chunk),
            };
        }
        client
    }
}

/// The call, on a request.
fn made(call: Call, request: &mut StreamRequest) -> Outcome {
    let message = match call {
        Call::Wait => match request.wait() {
            Ok(true) => return Outcome::Arrived,
            Ok(false) => return Outcome::Ended,
            Err(error) => return Outcome::Failed(error.kind(), Vec::new()),
        },
        Call::ReadExact(length) => {
            let mut bytes = vec![0; length];
            return match request.read_exact(&mut bytes) {
                Ok(()) => Outcome::Bytes(bytes),
                Err(error) => Outcome::Failed(error.kind(), Vec::new()),
            };
        }
        Call::ReadUntil(delimiter) => {
            let mut bytes = Vec::new();
            return match request.read_until(delimiter, &mut bytes) {
                Ok(_) => Outcome::Bytes(bytes),
                Err(error) => Outcome::Failed(error.kind(), bytes),
            };
        }
        Call::NextLine(max) => {
            let line = request.next_line(max);
            line.map(|line| line.map(String::into_bytes))
        }
        Call::NextUntil(delimiter, max) => request.next_until(delimiter, max),
        Call::NextExact(length) => request.next_exact(length),
    };
    match message {
        Ok(Some(message)) => {
            let (length, capacity) = (message.len(), message.capacity());
            assert!(capacity <= 4 * length + 64, "{capacity} for {length} bytes");
            Outcome::Bytes(message)
        }
        Ok(None) => Outcome::Ended,
        Err(error) => match MessageError::find_in(&error) {
            Some(MessageError::TooLong { .. }) => Outcome::TooLong,
            Some(MessageError::Incomplete { received, .. }) => Outcome::Incomplete(received),
            _ if error.kind() == ErrorKind::InvalidData => Outcome::NotUtf8,
            _ => Outcome::Failed(error.kind(), Vec::new()),
        },
    }
}

/// The bytes and the errors of a script, without its cuts.
#[derive(Debug)]
struct Model {
    /// In reverse: the next one is the last.
    rest: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Byte(u8),
    Fail(ErrorKind),
}

impl Model {
    fn new(script: &[Step<'_>]) -> Self {
        let mut rest = Vec::new();
        for step in script {
            match step {
                Step::Chunk(bytes) => rest.extend(bytes.iter().map(|byte| Item::Byte(*byte))),
                // A signal is not seen by the handler.
                Step::Fail(Failure::Interrupted) => {}
                Step::Fail(failure) => rest.push(Item::Fail(failure.kind())),
            }
        }
        rest.reverse();
        Self { rest }
    }

    fn call(&mut self, call: Call) -> Outcome {
        match call {
            Call::Wait => self.wait().unwrap_or(Outcome::Arrived),
            Call::NextExact(0) => Outcome::Bytes(Vec::new()),
            Call::NextLine(max) => match self.message(b'\n', max, true) {
                Outcome::Bytes(line) if str::from_utf8(&line).is_err() => Outcome::NotUtf8,
                outcome => outcome,
            },
            Call::NextUntil(delimiter, max) => self.message(delimiter, max, false),
            Call::NextExact(length) => {
                if let Some(outcome) = self.wait() {
                    return outcome;
                }
                let bytes = self.take_while(|taken, _| taken.len() < length);
                match self.failure() {
                    _ if bytes.len() == length => Outcome::Bytes(bytes),
                    Some(kind) => self.failed(kind, Vec::new()),
                    None => Outcome::Incomplete(bytes.len()),
                }
            }
            Call::ReadExact(length) => {
                let bytes = self.take_while(|taken, _| taken.len() < length);
                match self.failure() {
                    _ if bytes.len() == length => Outcome::Bytes(bytes),
                    Some(kind) => self.failed(kind, Vec::new()),
                    None => Outcome::Failed(ErrorKind::UnexpectedEof, Vec::new()),
                }
            }
            Call::ReadUntil(delimiter) => {
                let bytes = self.take_while(|taken, _| taken.last() != Some(&delimiter));
                match self.failure() {
                    _ if bytes.last() == Some(&delimiter) => Outcome::Bytes(bytes),
                    Some(kind) => self.failed(kind, bytes),
                    None => Outcome::Bytes(bytes),
                }
            }
        }
    }

    /// `None` if a byte is there.
    fn wait(&mut self) -> Option<Outcome> {
        match self.rest.last() {
            Some(Item::Byte(_)) => None,
            Some(Item::Fail(kind)) => Some(self.failed(*kind, Vec::new())),
            None => Some(Outcome::Ended),
        }
    }

    fn message(&mut self, delimiter: u8, max: usize, is_line: bool) -> Outcome {
        if let Some(outcome) = self.wait() {
            return outcome;
        }
        let mut message = self.take_while(|_, byte| byte != delimiter);
        let may_end = is_line && message.last() == Some(&b'\r');
        let exceeds = |message: &[u8]| {
            let may_end = is_line && message.last() == Some(&b'\r');
            message.len() > max + usize::from(may_end)
        };
        // A message that was too long before its end is too long.
        if exceeds(&message) {
            return Outcome::TooLong;
        }
        match self.rest.last() {
            Some(Item::Byte(_)) => {
                self.rest.pop();
                message.truncate(message.len() - usize::from(may_end));
                Outcome::Bytes(message)
            }
            Some(Item::Fail(kind)) => self.failed(*kind, Vec::new()),
            None => Outcome::Incomplete(message.len()),
        }
    }

    /// The bytes up to the next error or the end.
    fn take_segment(&mut self) -> Vec<u8> {
        self.take_while(|_, _| true)
    }

    fn take_while(&mut self, mut takes: impl FnMut(&[u8], u8) -> bool) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(Item::Byte(byte)) = self.rest.last() {
            if !takes(&taken, *byte) {
                break;
            }
            taken.push(*byte);
            self.rest.pop();
        }
        taken
    }

    /// The error that comes next.
    fn failure(&self) -> Option<ErrorKind> {
        match self.rest.last() {
            Some(Item::Fail(kind)) => Some(*kind),
            _ => None,
        }
    }

    fn failed(&mut self, kind: ErrorKind, bytes: Vec<u8>) -> Outcome {
        self.rest.pop();
        Outcome::Failed(kind, bytes)
    }
}
