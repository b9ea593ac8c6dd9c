//! Four processes serve one port: the parent binds the socket and forks, and the children serve.
//!
//! `cargo run --example prefork`, then in another terminal:
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; head -n 1 <&3'`. Ctrl-C or SIGTERM stops all.

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{ForkResult, Pid, fork};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socketserver::{Error, HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

struct Who;

impl RequestHandler for Who {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        Ok(writeln!(request, "process {}", std::process::id())?)
    }
}

#[allow(unsafe_code)]
fn main() -> Result<(), Error> {
    let server = ThreadingTcpServer::bind("127.0.0.1:9999", || Who)?;
    let mut workers = Vec::new();
    for _ in 0..4 {
        // SAFETY: this program has no other thread yet, so no lock is held at the fork.
        match unsafe { fork() }.expect("the system has room for a process") {
            ForkResult::Child => {
                let handle = server.handle();
                on_signal(move || handle.shutdown());
                return server.serve_forever();
            }
            ForkResult::Parent { child } => workers.push(child),
        }
    }
    let processes = workers.clone();
    on_signal(move || stop(&processes));
    // The parent only waits. It may serve clients too.
    for _ in workers {
        let _ = wait();
    }
    Ok(())
}

/// Calls `stop` in another thread at each SIGINT or SIGTERM. Each process has its own thread.
fn on_signal(stop: impl Fn() + Send + 'static) {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("the signals can be caught");
    std::thread::spawn(move || signals.forever().for_each(|_| stop()));
}

fn stop(workers: &[Pid]) {
    for &worker in workers {
        // The worker may have ended: a terminal sends SIGINT to it as well.
        let _ = kill(worker, Signal::SIGTERM);
    }
}
