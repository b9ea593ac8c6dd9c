//! The challenge of an authenticated link, both sides.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use socketserver::layer::Stream;
use socketserver::mock::MockStream;
use socketserver::{HandlerResult, RequestHandler, StreamRequest};
use socketserver_handlers::UpperLoop;
use socketserver_handlers::auth::{
    Authenticated, AuthenticationError, CHALLENGE_LENGTH, Digest, Key, answer_challenge,
};

use crate::cuts::Cuts;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    digests: [bool; 2],
    /// The bit of the answer that is changed on its way; beyond the answer, none is.
    changed: u16,
    keys_differ: bool,
    key: &'a [u8],
    /// What a stranger sends, or what the conversation begins with.
    bytes: &'a [u8],
}

/// Checks that only a client with the same key and the same digest reaches the handler, whatever
/// else comes and however it is cut; and that both sides read exactly their part of the stream.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let Ok(key) = Key::new(input.key) else {
        assert!(input.key.is_empty() || input.key.len() > 4096);
        return;
    };
    input.a_stranger_does_not_reach_the_handler(&key);
    input.a_client_reads_exactly_the_challenge(&key);
    input.both_sides_agree(&key);
}

impl Input<'_> {
    fn digest(&self, side: usize) -> Digest {
        match self.digests[side] {
            true => Digest::Md5,
            false => Digest::Sha256,
        }
    }

    fn a_stranger_does_not_reach_the_handler(&self, key: &Key) {
        let digest = self.digest(0);
        let reached = Reached::default();
        let link = Authenticated::new(key.clone(), digest, reached.clone());
        let recording = self.cuts.client(self.bytes).run(link);
        assert!(!reached.is_reached(), "a stranger reaches the handler");
        assert_eq!(recording.written().len(), CHALLENGE_LENGTH);
        let error = recording
            .result()
            .as_ref()
            .expect_err("a stranger is refused");
        match error.downcast_ref().expect("the error is the link's") {
            AuthenticationError::WrongAnswer => assert!(self.bytes.len() >= digest.length()),
            AuthenticationError::Closed { received, expected } => {
                assert_eq!((*received, *expected), (self.bytes.len(), digest.length()));
                assert!(received < expected);
            }
            other => panic!("{other}"),
        }
    }

    fn a_client_reads_exactly_the_challenge(&self, key: &Key) {
        let answer = |cuts: Option<Cuts>| {
            let client = match cuts {
                Some(cuts) => cuts.client(self.bytes),
                None => MockStream::new().chunk(self.bytes),
            };
            let (mut request, recording) = client.into_request();
            let result = answer_challenge(&mut request, key, self.digest(1));
            let mut rest = Vec::new();
            request
                .read_to_end(&mut rest)
                .expect("the script has no errors");
            (
                result.map_err(|error| error.kind()),
                recording.written(),
                rest,
            )
        };
        let (result, written, rest) = answer(None);
        assert_eq!(
            answer(Some(self.cuts)),
            (result, written.clone(), rest.clone())
        );
        if self.bytes.len() < CHALLENGE_LENGTH {
            assert_eq!(
                (result, &*written),
                (Err(ErrorKind::UnexpectedEof), &[][..])
            );
        } else {
            assert_eq!(result, Ok(()));
            assert_eq!(written.len(), self.digest(1).length());
            assert_eq!(rest, self.bytes[CHALLENGE_LENGTH..]);
        }
    }

    fn both_sides_agree(&self, key: &Key) {
        // The longest key has no longer one. A zero byte more would make no other HMAC.
        let other = Key::new([self.key, b"!"].concat()).or_else(|_| Key::new(&self.key[1..]));
        let client_key = match self.keys_differ {
            true => other.expect("the key has more than one byte"),
            false => key.clone(),
        };
        let (server, client) = (self.digest(0), self.digest(1));
        let is_changed = usize::from(self.changed) < 8 * client.length();
        let is_right = !self.keys_differ && server == client && !is_changed;

        let (mut request, _) = MockStream::new().into_request();
        let sent = Arc::default();
        request.map_stream(|_| {
            Box::new(Client {
                received: Arc::clone(&sent),
                sends: None,
                key: client_key,
                digest: client,
                changed: is_changed.then_some(self.changed),
                chatter: self.bytes.to_owned(),
                cuts: self.cuts,
            })
        });
        let reached = Reached::default();
        let mut link = Authenticated::new(key.clone(), server, reached.clone());
        let result = link.setup(&mut request);
        assert_eq!(result.is_ok(), is_right, "{result:?}");
        assert_eq!(reached.is_reached(), is_right);
        if is_right {
            link.handle(&mut request)
                .expect("the client sends all and ends");
            request.flush().expect("the client takes everything");
            let received = sent.lock().expect("nothing has panicked");
            let answer = self.bytes.to_ascii_uppercase();
            assert_eq!(received[CHALLENGE_LENGTH..], answer);
        }
    }
}

/// Upper case, and a note that the handler was reached.
#[derive(Debug, Clone, Default)]
struct Reached(Arc<AtomicBool>);

impl Reached {
    fn is_reached(&self) -> bool {
        // Relaxed: the handler runs in this thread.
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestHandler for Reached {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        UpperLoop.handle(request)
    }
}

/// A client on the other end: answers the challenge, and sends the rest behind the answer.
#[derive(Debug)]
struct Client {
    received: Arc<Mutex<Vec<u8>>>,
    /// The pieces that are still to come, once the challenge is complete.
    sends: Option<std::vec::IntoIter<Vec<u8>>>,
    key: Key,
    digest: Digest,
    changed: Option<u16>,
    chatter: Vec<u8>,
    cuts: Cuts,
}

impl Client {
    fn pieces(&self) -> Vec<Vec<u8>> {
        let received = self.received.lock().expect("nothing has panicked");
        let mut link = Link(Cursor::new(received.clone()), Vec::new());
        answer_challenge(&mut link, &self.key, self.digest).expect("the challenge is complete");
        let Link(_, mut answer) = link;
        if let Some(bit) = self.changed {
            answer[usize::from(bit / 8)] ^= 1 << (bit % 8);
        }
        answer.extend(&self.chatter);
        let pieces = self.cuts.pieces(&answer);
        pieces.into_iter().map(<[u8]>::to_owned).collect()
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pieces = match &mut self.sends {
            Some(pieces) => pieces,
            None => {
                let pieces = self.pieces();
                self.sends.insert(pieces.into_iter())
            }
        };
        let Some(mut piece) = pieces.next() else {
            return Ok(0);
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            let rest = piece.split_off(count);
            let pieces = Vec::from_iter(std::iter::once(rest).chain(pieces));
            self.sends = Some(pieces.into_iter());
        }
        Ok(count)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut received = self.received.lock().expect("nothing has panicked");
        received.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Client {
    fn readable_now(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn shutdown(&mut self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }

    fn set_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_deadline(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn set_nodelay(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What a client reads, and what it has written.
struct Link(Cursor<Vec<u8>>, Vec<u8>);

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
