//! A server whose loop runs in a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use socketserver::{Address, BaseServer, DrainReport, Error, Server, ServerHandle};

use crate::waiting::{LIMIT, within_limit};

/// A server in `serve_forever`, and its thread.
#[derive(Debug)]
pub struct RunningServer<S: BaseServer> {
    server: Arc<Server<S>>,
    thread: JoinHandle<()>,
    ended: Receiver<Result<(), Error>>,
}

impl<S: BaseServer> RunningServer<S> {
    /// Starts a thread that calls `serve_forever`.
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

    /// Returns the address at which the server listens.
    pub fn address(&self) -> Address {
        self.server.server_address()
    }

    /// Returns a handle of the server.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Returns the server.
    pub fn server(&self) -> &Server<S> {
        &self.server
    }

    /// Waits until the loop has ended, and returns the server. Another part of the test stops the
    /// loop.
    pub fn wait_for_end(self) -> Server<S> {
        self.ended
            .recv_timeout(LIMIT)
            .expect("the loop did not end")
            .expect("the loop failed");
        self.thread.join().unwrap();
        Arc::into_inner(self.server).expect("the thread has dropped its reference to the server")
    }

    /// Waits until the loop has ended with an error.
    pub fn wait_for_failure(self) -> Error {
        self.ended
            .recv_timeout(LIMIT)
            .expect("the loop did not end")
            .expect_err("the loop ended well")
    }

    /// Calls `shutdown`, waits until the loop has ended, and returns the server.
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

/// Closes the server; panics if that takes longer than [`LIMIT`].
pub fn close<S: BaseServer>(server: Server<S>) -> DrainReport {
    within_limit("server_close", move || server.server_close())
}
