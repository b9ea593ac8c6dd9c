//! A server whose loop runs in a thread of its own.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use socketserver::{Address, BaseServer, DrainReport, Error, Server, ServerHandle};

use super::clients::LIMIT;

/// A server in `serve_forever`, and its thread.
pub struct RunningServer<S: BaseServer> {
    server: Arc<Server<S>>,
    thread: JoinHandle<()>,
    ended: Receiver<Result<(), Error>>,
}

impl<S: BaseServer> RunningServer<S> {
    pub fn start(server: Server<S>) -> Self {
        let server = Arc::new(server);
        let serving = server.clone();
        let (sender, ended) = channel();
        let thread = std::thread::spawn(move || {
            let result = serving.serve_forever();
            drop(serving);
            sender.send(result).unwrap();
        });
        Self {
            server,
            thread,
            ended,
        }
    }

    pub fn address(&self) -> Address {
        self.server.server_address()
    }

    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    pub fn server(&self) -> &Server<S> {
        &self.server
    }

    /// Waits until the loop has ended without being told to by this, and gives the server back.
    pub fn wait_for_end(self) -> Server<S> {
        self.ended
            .recv_timeout(LIMIT)
            .expect("the loop did not end")
            .expect("the loop failed");
        self.thread.join().unwrap();
        Arc::into_inner(self.server).expect("the thread has let go of the server")
    }

    /// Waits until the loop has ended with an error.
    pub fn wait_for_failure(self) -> Error {
        self.ended
            .recv_timeout(LIMIT)
            .expect("the loop did not end")
            .expect_err("the loop ended well")
    }

    /// Calls `shutdown`, and gives the server back when the loop has ended.
    pub fn stop(self) -> Server<S> {
        let handle = self.handle();
        within_limit("shutdown", move || handle.shutdown());
        self.wait_for_end()
    }

    /// Stops the loop and closes the server.
    pub fn close(self) -> DrainReport {
        close(self.stop())
    }
}

/// Closes the server, in the time that everything has.
pub fn close<S: BaseServer>(server: Server<S>) -> DrainReport {
    within_limit("server_close", move || server.server_close())
}

/// Runs `step` in a thread, and fails if it has not ended when the time that everything has is over.
pub fn within_limit<T: Send + 'static>(what: &str, step: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, ended) = channel();
    let thread = std::thread::spawn(move || sender.send(step()).unwrap());
    let Ok(result) = ended.recv_timeout(LIMIT) else {
        if thread.is_finished() {
            std::panic::resume_unwind(thread.join().unwrap_err());
        }
        panic!("{what} did not return");
    };
    thread.join().unwrap();
    result
}
