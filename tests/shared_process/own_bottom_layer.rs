//! A bottom layer of a user's own, over the standard library's listener.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketserver::layer::{GetRequestError, LayerHandle, run_handler};
use socketserver::{
    Address, BaseServer, Error, HandlerFactory, HandlerResult, MixIn, ReactorMixIn, Serve,
    StreamRequest, ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::reports::{Reporter, reports};
use support::running_server::{RunningServer, close};
use support::services::{read_line, stream_handler};

/// Serves what a listener accepts that somebody else has bound, as a supervisor does.
struct Inherited<F> {
    handle: LayerHandle,
    listener: Mutex<Option<Arc<OwnedFd>>>,
    handler_factory: F,
}

impl<F> Inherited<F> {
    fn new(handler_factory: F) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let handle = LayerHandle::new();
        handle.set_server_address(Address::from(listener.local_addr().unwrap()));
        Self {
            handle,
            listener: Mutex::new(Some(Arc::new(listener.into()))),
            handler_factory,
        }
    }

    fn listener(&self) -> io::Result<Arc<OwnedFd>> {
        let listener = self.listener.lock().unwrap().clone();
        listener.ok_or_else(|| io::Error::other("the listener is closed"))
    }

    fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let listener = TcpListener::from(self.listener()?.try_clone()?);
        let (connection, client) = listener.accept()?;
        Ok((connection.into(), client))
    }
}

impl<F: HandlerFactory<StreamRequest>> BaseServer for Inherited<F> {
    type Request = StreamRequest;

    fn layer_handle(&self) -> &LayerHandle {
        &self.handle
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Error> {
        let failed = |source| Error::create_socket(self.handle.server().server_address(), source);
        self.listener().map_err(failed)
    }

    fn server_bind(&self) -> Result<(), Error> {
        Ok(())
    }

    fn server_activate(&self) -> Result<(), Error> {
        Ok(())
    }

    fn get_request(&self) -> Result<StreamRequest, GetRequestError> {
        let (connection, client) = self.accept()?;
        let client = Address::from(client);
        Ok(StreamRequest::from_socket(connection, client, &self.handle))
    }

    fn finish_request(&self, request: &mut StreamRequest) -> HandlerResult {
        let mut handler = self.handler_factory.make_handler();
        run_handler(&mut handler, request)
    }

    fn server_close(&self) {
        *self.listener.lock().unwrap() = None;
    }
}

/// Answers each line, waits or reads without end as the line asks, and reports how that ended.
fn conversation(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{line}")?;
            if line == "read" {
                let error = read_line(request).unwrap_err();
                reporter.say(format_args!("{:?}", error.kind()));
                return Err(error.into());
            }
        }
        reporter.say("told");
        Ok(request.write_all(b"goodbye\n")?)
    })
}

fn serves_and_drains<S: BaseServer>(layers: impl Fn(Reporter) -> S) {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(layers(reporter.clone()).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.line(), "hello");
    assert_eq!(running.handle().active_request_count(), 1);
    // Told by the shutdown alone, and counted by the close.
    let server = running.stop();
    assert_eq!(reports.next_report(), "told");
    assert_eq!(client.rest(), b"goodbye\n");
    let report = close(server);
    assert_eq!(
        (report.idle + report.ended, report.aborted, report.running),
        (1, 0, 0)
    );

    let server = layers(reporter).bind().unwrap();
    server.set_drain_timeout(Some(Duration::from_millis(50)));
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("read\n");
    assert_eq!(client.line(), "read");
    let report = running.close();
    assert_eq!(
        (report.idle + report.ended, report.aborted, report.running),
        (0, 1, 0)
    );
    assert_eq!(reports.next_report(), "ConnectionAborted");
    client.wait_for_close();
}

#[test]
fn connections_that_a_user_s_bottom_layer_accepts_are_served_interrupted_and_aborted() {
    serves_and_drains(|reporter| {
        Inherited::new(conversation(reporter)).mix_in(ThreadingMixIn::new)
    });
    serves_and_drains(|reporter| {
        Inherited::new(conversation(reporter)).mix_in(ThreadPoolMixIn::new)
    });
    serves_and_drains(|reporter| Inherited::new(conversation(reporter)).mix_in(ReactorMixIn::new));
}

#[test]
fn a_bottom_layer_of_one_s_own_knows_its_clients() {
    let factory = stream_handler(|request| {
        let client = request.client_address().clone();
        Ok(write!(request, "{client}")?)
    });
    let running = RunningServer::start(Inherited::new(factory).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let name = client.socket().local_addr().unwrap().as_socket().unwrap();
    assert_eq!(client.rest(), name.to_string().as_bytes());
    running.close();
}

/// Answers without a handler, and neither flushes nor ends the answer.
struct Greeting<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Greeting<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn finish_request(&self, request: &mut StreamRequest) -> HandlerResult {
        Ok(request.write_all(b"hello\n")?)
    }
}

#[test]
fn what_was_written_without_run_handler_reaches_the_client_and_then_the_end_of_the_stream() {
    let (reporter, _) = reports();
    let layers = Inherited::new(conversation(reporter)).mix_in(Greeting);
    let running = RunningServer::start(layers.bind().unwrap());
    let handle = running.handle();
    assert_eq!(StreamClient::connect(&running.address()).rest(), b"hello\n");
    running.close();
    assert_eq!(handle.statistics().sent, 6);
}
