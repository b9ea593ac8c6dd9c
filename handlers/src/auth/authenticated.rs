//! The server's half of an authenticated link, around any stream handler.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use socketserver::{DeadlineExceeded, HandlerResult, RequestHandler, StreamRequest};

use crate::auth::CHALLENGE_LENGTH;
use crate::auth::digest::Digest;
use crate::auth::error::AuthenticationError;
use crate::auth::key::Key;

/// How long a client has for its answer by default.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a handler only for clients that know the key: the tutorial's authenticated link, before
/// [`UpperLoop`](crate::UpperLoop) or any other handler.
///
/// The server sends 32 random bytes, reads exactly the bytes of an answer, and compares them with
/// the right answer in constant time. After a wrong, late or incomplete answer the request ends
/// with an [`AuthenticationError`], which the server logs with the client's address. No method of
/// the handler runs then, and the connection is closed. The handler reads the bytes that follow the
/// answer.
///
/// ```
/// use socketserver::ThreadingTcpServer;
/// use socketserver_handlers::UpperLoop;
/// use socketserver_handlers::auth::{Authenticated, Digest, Key};
///
/// let key = Key::new("Jedan has a big key!")?;
/// let factory = move || Authenticated::new(key.clone(), Digest::Md5, UpperLoop);
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", factory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Authenticated<H> {
    key: Key,
    digest: Digest,
    timeout: Duration,
    handler: H,
}

impl<H> Authenticated<H> {
    /// Puts the link before `handler`.
    pub fn new(key: Key, digest: Digest, handler: H) -> Self {
        Self {
            key,
            digest,
            timeout: AUTHENTICATION_TIMEOUT,
            handler,
        }
    }

    /// Sets how long a client has to begin its answer, to end it, and to read the challenge. The
    /// default is [`AUTHENTICATION_TIMEOUT`]; the server's own
    /// [`Deadlines`](socketserver::Deadlines) apply if they are shorter. A client that sends its
    /// answer byte by byte has no more time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn authenticate(&self, request: &mut StreamRequest) -> Result<(), AuthenticationError> {
        let mut challenge = [0; CHALLENGE_LENGTH];
        getrandom::fill(&mut challenge).map_err(AuthenticationError::NoRandomness)?;
        let mut answer = vec![0; self.digest.length()];
        let mut received = 0;
        let exchanged = exchange(request, &challenge, &mut answer, &mut received);
        let expected = answer.len();
        match exchanged {
            Ok(()) if self.digest.verify(&self.key, &challenge, &answer) => Ok(()),
            Ok(()) => Err(AuthenticationError::WrongAnswer),
            Err(error) => Err(match error.kind() {
                ErrorKind::UnexpectedEof if request.server().is_draining() => {
                    AuthenticationError::Stopping
                }
                ErrorKind::UnexpectedEof => AuthenticationError::Closed { received, expected },
                ErrorKind::TimedOut => AuthenticationError::TooLate {
                    received,
                    expected,
                    timeout: DeadlineExceeded::find_in(&error)
                        .map_or(self.timeout, DeadlineExceeded::limit),
                },
                _ => AuthenticationError::Io(error),
            }),
        }
    }
}

/// Sends the challenge and reads exactly the answer. `received` counts its bytes, also before an
/// error.
fn exchange(
    request: &mut StreamRequest,
    challenge: &[u8],
    answer: &mut [u8],
    received: &mut usize,
) -> io::Result<()> {
    request.write_all(challenge)?;
    if !request.wait()? {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    while *received < answer.len() {
        match request.read(&mut answer[*received..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => *received += count,
        }
    }
    Ok(())
}

impl<H: RequestHandler> RequestHandler for Authenticated<H> {
    /// Fails, and so ends the request, if the client does not know the key.
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let deadlines = request.deadlines();
        request.set_deadlines(deadlines.capped(self.timeout));
        self.authenticate(request)?;
        request.set_deadlines(deadlines);
        self.handler.setup(request)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.handler.handle(request)
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.handler.finish(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Instant;

    use proptest::prelude::*;
    use socketserver::mock::{MockStream, StreamRecording};
    use socketserver::{Deadlines, ThreadingTcpServer};

    use super::*;
    use crate::UpperLoop;
    use crate::auth::answer_challenge;

    const KEY: &str = "Jedan has a big key!";

    /// Records that one of its steps has run.
    #[derive(Debug)]
    struct Seen(Arc<AtomicBool>);

    impl RequestHandler for Seen {
        fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
            self.0.store(true, Ordering::SeqCst);
            Ok(())
        }

        fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
            self.0.store(true, Ordering::SeqCst);
            Ok(())
        }

        fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
            self.0.store(true, Ordering::SeqCst);
            Ok(())
        }
    }

    /// Runs a client that cannot know the answer, and asserts that the handler does not run.
    fn refused(client: MockStream, digest: Digest) -> StreamRecording {
        let seen = Arc::new(AtomicBool::new(false));
        let key = Key::new(KEY).unwrap();
        let handler = Authenticated::new(key, digest, Seen(seen.clone()));
        let recording = client.run(handler);
        assert!(!seen.load(Ordering::SeqCst), "the handler has seen it");
        recording
    }

    fn error(recording: &StreamRecording) -> &AuthenticationError {
        let error = recording.result().as_ref().unwrap_err();
        error.downcast_ref().unwrap()
    }

    #[test]
    fn each_client_is_sent_32_bytes_of_its_own() {
        let challenges = [(); 2].map(|()| refused(MockStream::new(), Digest::Sha256).written());
        assert_eq!(challenges.each_ref().map(Vec::len), [32; 2]);
        assert_ne!(challenges[0], challenges[1]);
    }

    #[test]
    fn a_client_that_leaves_within_its_answer_has_an_error_of_its_own() {
        for digest in Digest::ALL {
            for length in 0..digest.length() {
                let client = MockStream::new().chunk(vec![7; length]);
                let recording = refused(client, digest);
                let error = error(&recording);
                let expected = digest.length();
                assert!(
                    matches!(error, AuthenticationError::Closed { received, expected: e }
                        if *received == length && *e == expected),
                    "{error}"
                );
                assert!(recording.is_closed());
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_refused_in_whatever_pieces_it_comes() {
        for chunks in [&[16][..], &[1, 15], &[8, 4, 4]] {
            let client = MockStream::new();
            let add = |client: MockStream, &length: &usize| client.chunk(vec![7; length]);
            let client = chunks.iter().fold(client, add);
            let recording = refused(client.chunk("hello"), Digest::Md5);
            let error = error(&recording);
            assert!(matches!(error, AuthenticationError::WrongAnswer), "{error}");
            assert_eq!(recording.written().len(), 32);
        }
    }

    #[test]
    fn a_client_that_does_not_answer_in_time_has_an_error_of_its_own() {
        let client = MockStream::new().chunk("four").timeout();
        let recording = refused(client, Digest::Sha256);
        let error = error(&recording);
        let message = "4 of 32 bytes of the answer to the challenge came within 10s";
        assert!(error.to_string().starts_with(message), "{error}");
    }

    #[test]
    fn a_reset_is_reported_as_it_is() {
        let client = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let recording = refused(client, Digest::Sha256);
        assert!(matches!(error(&recording), AuthenticationError::Io(error)
            if error.kind() == ErrorKind::ConnectionReset));
        let client = MockStream::new().write_error_after(0, ErrorKind::BrokenPipe);
        let recording = refused(client, Digest::Sha256);
        assert!(matches!(error(&recording), AuthenticationError::Io(_)));
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_an_answer() {
        let client = MockStream::new().drain().chunk("too late");
        let recording = refused(client, Digest::Sha256);
        assert!(matches!(error(&recording), AuthenticationError::Stopping));
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_sends_the_handler_does_not_see_it(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let client = MockStream::new();
            let client = chunks.iter().fold(client, |client, chunk| client.chunk(chunk));
            refused(client, Digest::Sha256);
        }
    }

    /// The answer of the handler to a client with this key, over a real connection.
    fn link(key: &str, digest: Digest, timeout: Duration) -> io::Result<Vec<u8>> {
        let server_key = Key::new(KEY).unwrap();
        let factory = move || {
            let link = Authenticated::new(server_key.clone(), Digest::Md5, UpperLoop);
            link.timeout(timeout)
        };
        let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        let own = Duration::from_secs(30);
        server.handle().set_deadlines(Deadlines::uniform(own));
        let mut client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(own)).unwrap();
        let handle = server.handle();
        let serving = thread::spawn(move || server.serve_forever());
        let mut talk = || {
            let mut both = Vec::new();
            let key = Key::new(key).unwrap();
            answer_challenge(&mut client, &key, digest)?;
            client.write_all(b"hello, it is me")?;
            client.shutdown(std::net::Shutdown::Write)?;
            client.read_to_end(&mut both)?;
            Ok(both)
        };
        let answer = talk();
        handle.shutdown();
        serving.join().unwrap().unwrap();
        answer
    }

    #[test]
    fn only_a_client_that_knows_the_key_reaches_the_handler() {
        let time = AUTHENTICATION_TIMEOUT;
        assert_eq!(link(KEY, Digest::Md5, time).unwrap(), b"HELLO, IT IS ME");
        for (key, digest) in [("another key", Digest::Md5), (KEY, Digest::Sha256)] {
            // The connection may be reset, since bytes behind the answer stay unread.
            let answer = link(key, digest, time);
            assert_eq!(answer.unwrap_or_default(), b"");
        }
    }

    #[test]
    fn a_client_that_answers_byte_by_byte_does_not_outlive_the_time_for_it() {
        let factory = || {
            let link = Authenticated::new(Key::new(KEY).unwrap(), Digest::Sha256, UpperLoop);
            link.timeout(Duration::from_millis(50))
        };
        let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        let mut client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let handle = server.handle();
        let serving = thread::spawn(move || server.serve_forever());
        // Far fewer bytes than an answer has, so the time is over first.
        let mut sent = 0;
        let begin = Instant::now();
        while handle.statistics().timed_out == 0 {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "the client holds the server"
            );
            if sent < 16 && client.write_all(b"x").is_ok() {
                sent += 1;
            }
            thread::sleep(Duration::from_millis(5));
        }
        handle.shutdown();
        serving.join().unwrap().unwrap();
    }
}
