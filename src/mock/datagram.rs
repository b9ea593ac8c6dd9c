//! A datagram that nobody sent.

use crate::support::sync::Mutex;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::mock::mock_server;
use crate::request_handler::{RequestHandler, run_handler};
use crate::requests::datagram_request::DatagramRequest;
use crate::running::server_handle::ServerHandle;
use crate::support::lock::lock;
use crate::transport::datagram_socket::{Buffers, DatagramSocket};
use crate::values::address::Address;
use crate::values::error::HandlerResult;

/// A datagram from a client that keeps what it gets.
#[derive(Debug, Clone)]
#[must_use]
pub struct MockDatagram {
    packet: Vec<u8>,
    truncated: bool,
    send_error: Option<ErrorKind>,
    client_address: Address,
}

impl MockDatagram {
    /// A datagram with this content, which may be empty.
    pub fn new(packet: impl AsRef<[u8]>) -> Self {
        Self {
            packet: packet.as_ref().to_owned(),
            truncated: false,
            send_error: None,
            client_address: Address::from(([127, 0, 0, 1], 49152)),
        }
    }

    /// The datagram was longer than the server's `max_packet_size`, and this is its beginning.
    pub fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// Every reply fails like this.
    pub fn send_error(mut self, kind: ErrorKind) -> Self {
        self.send_error = Some(kind);
        self
    }

    /// Who the client is; `127.0.0.1:49152` unless set.
    pub fn client_address(mut self, address: impl Into<Address>) -> Self {
        self.client_address = address.into();
        self
    }

    /// Runs a handler as a server does, from its `setup` to the reply. A panic is caught and is the
    /// [result](DatagramRecording::result).
    pub fn run(self, mut handler: impl RequestHandler<DatagramRequest>) -> DatagramRecording {
        let (mut request, mut recording) = self.into_request();
        recording.result = run_handler(&mut handler, &mut request);
        recording
    }

    /// The request by itself, for a test that calls its methods, or a function that takes one. What
    /// is written to it is sent by a server only; [`send`](DatagramRequest::send) is seen.
    #[must_use]
    pub fn into_request(self) -> (DatagramRequest, DatagramRecording) {
        let server = mock_server();
        let client = Arc::new(Client {
            send_error: self.send_error,
            sent: Mutex::default(),
        });
        let guard = server.register_request(self.client_address);
        let buffers = Buffers {
            packet: self.packet,
            reply: Vec::new(),
        };
        let request = DatagramRequest::new(buffers, self.truncated, client.clone(), guard);
        (
            request,
            DatagramRecording {
                client,
                server: server.server().clone(),
                result: Ok(()),
            },
        )
    }
}

/// What a [`MockDatagram`] was answered, and how the handler ended.
#[derive(Debug)]
pub struct DatagramRecording {
    client: Arc<Client>,
    server: ServerHandle,
    result: HandlerResult,
}

impl DatagramRecording {
    /// How the handler ended: the error is what `handle_error` of a server would receive.
    pub fn result(&self) -> &HandlerResult {
        &self.result
    }

    /// The datagrams that the client received.
    #[must_use]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        lock(&self.client.sent).clone()
    }

    /// The server that the handler saw: whether it [is draining](ServerHandle::is_draining), as
    /// after a handler has called [`shutdown`](ServerHandle::shutdown).
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }
}

#[derive(Debug)]
struct Client {
    send_error: Option<ErrorKind>,
    sent: Mutex<Vec<Vec<u8>>>,
}

impl DatagramSocket for Client {
    fn send_to(&self, packet: &[u8], _: &Address) -> io::Result<()> {
        match self.send_error {
            Some(kind) => Err(kind.into()),
            None => {
                lock(&self.sent).push(packet.to_owned());
                Ok(())
            }
        }
    }
}
