//! A program whose logger panics, as one that prints to a closed pipe does, goes on serving.
//!
//! The logger is that of the whole process.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use log::{LevelFilter, Log, Metadata, Record};
use socketserver::{
    BaseServer, HandlerFactory, Serve, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::RunningServer;
use support::services::{read_line, silent_panic, stream_handler};

static LINES: AtomicUsize = AtomicUsize::new(0);

struct Panicking;

impl Log for Panicking {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _record: &Record<'_>) {
        LINES.fetch_add(1, SeqCst);
        silent_panic("the logger fails");
    }

    fn flush(&self) {}
}

/// Handlers that fail or panic when the client's line asks for that.
fn handlers() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    let factory = stream_handler(|request| match &*read_line(request)? {
        "fail" => Err("told to fail".into()),
        "panic" => silent_panic("told to panic"),
        line => Ok(request.write_all(line.as_bytes())?),
    });
    TcpServer::new("127.0.0.1:0", factory)
}

fn goes_on<S: BaseServer>(layers: S) {
    let lines_before = LINES.load(SeqCst);
    let running = RunningServer::start(layers.bind().unwrap());
    for line in ["fail\n", "panic\n", "fail\n"] {
        let mut client = StreamClient::connect(&running.address());
        client.send(line);
        client.wait_for_close();
    }
    let mut client = StreamClient::connect(&running.address());
    client.send("unharmed\n");
    assert_eq!(client.rest(), b"unharmed");
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
    assert!(LINES.load(SeqCst) >= lines_before + 3);
}

#[test]
fn a_logger_that_panics_costs_neither_the_loop_nor_a_worker() {
    alone(|| {
        log::set_logger(&Panicking).unwrap();
        log::set_max_level(LevelFilter::Trace);
        goes_on(handlers());
        goes_on(handlers().mix_in(ThreadingMixIn::new));
        goes_on(
            handlers()
                .mix_in(ThreadPoolMixIn::new)
                .workers(1)
                .queue_size(0),
        );
    });
}
