//! Signals that interrupt every thread and child again and again change nothing.
//!
//! The signals go to all threads of the process.

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use socketserver::{
    BaseServer, Deadlines, ForkingMixIn, HandlerFactory, HandlerResult, ReactorMixIn, Serve,
    StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UdpServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::processes::children;
use support::reports::{Reporter, reports};
use support::running_server::RunningServer;
use support::services::{EchoLine, read_line, stream_handler};
use support::waiting::{LIMIT, eventually};

const LOOPBACK: &str = "127.0.0.1:0";
/// How many signals there are at least.
const SIGNALS: usize = 5_000;
/// Between two rounds, in each of which every thread and child gets a signal.
const PACE: Duration = Duration::from_micros(200);
const SHORT: Duration = Duration::from_millis(60);
/// So long that a signal comes before it is over, even where the machine has other things to do.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(1));

/// A thread that sends signals, whose action does nothing of interest, while this lives.
struct Storm {
    sent: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// The calling thread, and those that it starts from now on, are left alone: clients are not
    /// what is tested.
    fn begin() -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, seen).unwrap();
        SigSet::from(Signal::SIGUSR1).thread_block().unwrap();
        let (sent, is_over) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (counter, over) = (sent.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            while !over.load(SeqCst) && begin.elapsed() < LIMIT {
                counter.fetch_add(Self::signal_all(), SeqCst);
                std::thread::sleep(PACE);
            }
        });
        Self {
            sent,
            is_over,
            thread: Some(thread),
        }
    }

    /// A signal to a thread's number is one to the process, and that thread takes it if it may.
    fn signal_all() -> usize {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let threads = threads.map(|it| it.unwrap().file_name().to_str().unwrap().parse().unwrap());
        let both = threads.chain(children()).map(Pid::from_raw);
        // It fails if the thread or child has ended.
        both.filter(|&it| kill(it, Signal::SIGUSR1).is_ok()).count()
    }

    fn has_lasted(&self) -> bool {
        self.sent.load(SeqCst) >= SIGNALS
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// More than the system sends at once, with a byte for each position.
static MUCH: LazyLock<Vec<u8>> = LazyLock::new(|| Vec::from_iter((0..251).cycle().take(1 << 20)));

/// Answers lines, some with much, and reports what fails.
fn lines(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        let answered = answer_lines(request);
        if let Err(error) = &answered {
            reporter.say(error);
        }
        answered
    })
}

fn answer_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait()? {
        match read_line(request)?.as_str() {
            "much" => request.write_all(&MUCH)?,
            "more than any buffer holds" => request.write_all(&vec![0; 64 << 20])?,
            line => writeln!(request, "{line}")?,
        }
    }
    Ok(())
}

fn converse(address: &socketserver::Address) {
    let mut client = StreamClient::connect(address);
    for number in 0..20 {
        let line = format!("{number}");
        client.send(&line);
        client.send("\n");
        assert_eq!(client.line(), line);
    }
    client.send("much\n");
    assert!(client.receive_exactly(MUCH.len()) == *MUCH);
    client.finish_sending();
    assert_eq!(client.rest(), b"");
}

fn every_byte_arrives<S: BaseServer>(layers: impl FnOnce(Reporter) -> S) {
    let (reporter, mut failures) = reports();
    let server = layers(reporter).bind().unwrap();
    let handle = server.handle();
    let running = RunningServer::start(server);
    let address = running.address();
    let storm = Storm::begin();
    let mut conversations = 0;
    while conversations < 8 || !storm.has_lasted() {
        // With and without, since they are kept in another way than a socket's own timeout. None is
        // missed.
        handle.set_deadlines(match conversations % 8 {
            0 => Deadlines::uniform(LIMIT),
            _ => Deadlines::none(),
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| converse(&address));
            }
        });
        conversations += 4;
    }
    let report = running.close();
    drop(storm);
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
    assert_eq!(failures.so_far(), [""; 0]);
    let statistics = handle.statistics();
    assert_eq!(statistics.finished, conversations);
    assert_eq!(statistics.accepted, conversations);
}

fn tcp(reporter: Reporter) -> TcpServer<impl HandlerFactory<StreamRequest>> {
    TcpServer::new(LOOPBACK, lines(reporter))
}

#[test]
fn every_byte_arrives_without_a_mix_in() {
    alone(|| every_byte_arrives(tcp));
}

#[test]
fn every_byte_arrives_from_threads() {
    alone(|| {
        every_byte_arrives(|reporter| tcp(reporter).mix_in(ThreadingMixIn::new));
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        every_byte_arrives(|reporter| {
            UnixStreamServer::new(path, lines(reporter)).mix_in(ThreadingMixIn::new)
        });
    });
}

#[test]
fn every_byte_arrives_from_a_pool() {
    alone(|| every_byte_arrives(|reporter| tcp(reporter).mix_in(ThreadPoolMixIn::new)));
}

#[test]
fn every_byte_arrives_from_a_reactor() {
    alone(|| every_byte_arrives(|reporter| tcp(reporter).mix_in(ReactorMixIn::new)));
}

#[test]
fn every_byte_arrives_from_children() {
    alone(|| {
        every_byte_arrives(|reporter| tcp(reporter).mix_in(ForkingMixIn::new));
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn every_datagram_is_answered() {
    alone(|| {
        let layers = UdpServer::new(LOOPBACK, EchoLine::default).mix_in(ThreadingMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        let storm = Storm::begin();
        let client = DatagramClient::connect(&running.address());
        let mut datagrams = 0;
        while !storm.has_lasted() {
            let packet = format!("{datagrams}");
            client.send(packet.as_bytes());
            assert_eq!(client.receive(), packet.as_bytes());
            datagrams += 1;
        }
        let handle = running.handle();
        running.close();
        drop(storm);
        let statistics = handle.statistics();
        assert_eq!(statistics.finished, datagrams);
        assert_eq!(statistics.accepted, datagrams);
    });
}

/// Expects that a client is given up for taking or sending nothing, while the signals go on.
fn gives_up(deadlines: Deadlines, timeout: Option<Duration>, message: &str, expected: &str) {
    let (reporter, mut errors) = reports();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        request.set_timeout(timeout)?;
        let answered = answer_lines(request);
        if let Err(error) = &answered {
            reporter.say(error);
        }
        answered
    });
    let server = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let server = server.bind().unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let storm = Storm::begin();
    let client = StreamClient::connect(&running.address());
    client.send(message);
    let error = errors.next_report();
    assert!(error.contains(expected), "{error}");
    let handle = running.handle();
    running.close();
    drop(storm);
    assert_eq!(handle.statistics().timed_out, 1);
}

#[test]
fn a_silent_client_is_given_up_at_its_deadline() {
    alone(|| {
        let deadlines = Deadlines::none().with_first_byte(SHORT);
        gives_up(deadlines, None, "", "first-byte deadline");
        let deadlines = Deadlines::none().with_read(SHORT);
        gives_up(deadlines, None, "unfinished", "read deadline");
    });
}

#[test]
fn a_client_that_takes_nothing_is_given_up_at_its_deadline() {
    alone(|| {
        let deadlines = Deadlines::none().with_write(SHORT);
        gives_up(
            deadlines,
            None,
            "more than any buffer holds\n",
            "write deadline",
        );
    });
}

#[test]
fn a_silent_client_is_given_up_at_its_timeout() {
    alone(|| {
        let deadlines = Deadlines::none();
        gives_up(deadlines, TIMEOUT, "", "nothing was received within");
        let deadlines = Deadlines::uniform(LIMIT);
        gives_up(deadlines, TIMEOUT, "", "nothing was received within");
    });
}

#[test]
fn a_client_that_takes_nothing_is_given_up_at_its_timeout() {
    alone(|| {
        let deadlines = Deadlines::none();
        gives_up(
            deadlines,
            TIMEOUT,
            "more than any buffer holds\n",
            "nothing was taken within",
        );
    });
}

#[test]
fn a_single_request_is_waited_for_no_longer_than_the_timeout() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, EchoLine::default);
        let server = layers.bind().unwrap();
        server.set_timeout(TIMEOUT);
        let waiting = std::thread::spawn(move || server.handle_request());
        let storm = Storm::begin();
        eventually("handle_request has returned", || waiting.is_finished());
        drop(storm);
        waiting.join().unwrap().unwrap();
    });
}
