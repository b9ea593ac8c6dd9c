//! A layer that reads a line before the handler: the client's name.

use std::io::{BufRead, Write};

use socketserver::layer::{Preparation, Received, RequestOf};
use socketserver::{Address, BaseServer, HandlerError, HandlerFactory, MixIn, StreamRequest};

use crate::services::{read_line, stream_handler};

/// Reads `NAME` and a line's end from each client, in `prepare_request`.
///
/// The name `stranger` is refused, with an explanation, and `panic` makes the layer panic. A name
/// that is an address becomes the client's address.
#[derive(Debug)]
pub struct Preamble<S>(S);

/// The name that the client has sent, in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

impl<S: BaseServer<Request = StreamRequest>> Preamble<S> {
    /// Puts the layer around `next`.
    pub fn new(next: S) -> Self {
        Self(next)
    }

    /// Returns the name, once the whole line has arrived.
    fn name(request: &mut StreamRequest) -> Result<Option<String>, HandlerError> {
        loop {
            if let Some(end) = request.buffer().iter().position(|&byte| byte == b'\n') {
                let name = String::from_utf8(request.buffer()[..end].to_owned())?;
                request.consume(end + 1);
                return Ok(Some(name));
            }
            match request.receive_now()? {
                Received::Bytes(_) => {}
                Received::Nothing => return Ok(None),
                _ => return Err("no name came".into()),
            }
        }
    }
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for Preamble<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        if request.extensions().get::<Name>().is_none() {
            let Some(name) = Self::name(request)? else {
                return Ok(Preparation::NeedsMore);
            };
            match &*name {
                "stranger" => {
                    request.write_all(b"who are you?\n")?;
                    request.flush()?;
                    return Ok(Preparation::Refused);
                }
                "panic" => crate::services::silent_panic("the name is panic"),
                name => {
                    if let Ok(address) = name.parse::<std::net::SocketAddr>() {
                        request.set_client_address(Address::from(address));
                    }
                }
            }
            request.extensions_mut().insert(Name(name));
        }
        self.0.prepare_request(request)
    }
}

/// Makes handlers that answer each line with the client's name before it.
pub fn named_echo() -> impl HandlerFactory<StreamRequest> {
    stream_handler(|request| {
        let Name(name) = request
            .extensions()
            .get::<Name>()
            .cloned()
            .expect("a `Preamble` is around the server");
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{name}: {line}")?;
        }
        Ok(())
    })
}
