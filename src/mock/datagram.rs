//! A datagram without a network.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::base_server::BaseServer;
use crate::mock::{mock_server, run_layers, set_server_address};
use crate::request_handler::{RequestHandler, run_handler};
use crate::requests::datagram_request::DatagramRequest;
use crate::running::layer_handle::LayerHandle;
use crate::running::server_handle::ServerHandle;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::datagram_socket::DatagramSocket;
use crate::values::address::Address;
use crate::values::error::HandlerResult;

/// A datagram from a client, and a socket that records the datagrams sent in return.
#[derive(Debug, Clone)]
#[must_use]
pub struct MockDatagram {
    packet: Vec<u8>,
    truncated: bool,
    send_error: Option<ErrorKind>,
    client_address: Address,
    local_address: Option<Address>,
}

impl MockDatagram {
    /// Makes a datagram with this content, which may be empty.
    pub fn new(packet: impl AsRef<[u8]>) -> Self {
        Self {
            packet: packet.as_ref().to_owned(),
            truncated: false,
            send_error: None,
            client_address: Address::from(([127, 0, 0, 1], 49152)),
            local_address: None,
        }
    }

    /// Marks the packet as the beginning of a datagram longer than the server's `max_packet_size`.
    pub fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// Makes every datagram that is sent fail with an error of this kind.
    pub fn send_error(mut self, kind: ErrorKind) -> Self {
        self.send_error = Some(kind);
        self
    }

    /// Sets the client's address; `127.0.0.1:49152` unless set.
    pub fn client_address(mut self, address: impl Into<Address>) -> Self {
        self.client_address = address.into();
        self
    }

    /// Sets the [address to which the client has sent](DatagramRequest::local_address); unknown
    /// unless set.
    pub fn local_address(mut self, address: impl Into<Address>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Runs a handler as a server does, from its `setup` to the reply. A panic of the handler is
    /// caught, and becomes the [result](DatagramRecording::result).
    pub fn run(self, mut handler: impl RequestHandler<DatagramRequest>) -> DatagramRecording {
        let (mut request, mut recording) = self.into_request();
        recording.result = run_handler(&mut handler, &mut request);
        recording
    }

    /// Runs layers as a server does, in this thread: see
    /// [`MockStream::run_layers`](crate::mock::MockStream::run_layers).
    pub fn run_layers(
        self,
        layers: impl BaseServer<Request = DatagramRequest>,
    ) -> DatagramRecording {
        set_server_address(layers.layer_handle());
        let (request, mut recording) = self.request_of(layers.layer_handle());
        recording.result = run_layers(layers, request);
        recording
    }

    /// Returns the request and its recording, for a test of a function that takes a request. The
    /// recording has the datagrams of [`send`](DatagramRequest::send) and
    /// [`send_to`](DatagramRequest::send_to). The written reply is sent only by a server, or by
    /// [`run`](Self::run).
    #[must_use]
    pub fn into_request(self) -> (DatagramRequest, DatagramRecording) {
        self.request_of(&mock_server())
    }

    fn request_of(self, server: &LayerHandle) -> (DatagramRequest, DatagramRecording) {
        let socket = Arc::new(RecordingSocket {
            send_error: self.send_error,
            sent: Mutex::default(),
        });
        let guard = server.register_request(self.client_address);
        let mut request = DatagramRequest::new(self.packet, self.truncated, socket.clone(), guard);
        if let Some(address) = self.local_address {
            request = request.with_local_address(address);
        }
        (
            request,
            DatagramRecording {
                socket,
                server: server.server().clone(),
                result: Ok(()),
            },
        )
    }
}

/// The datagrams that were sent for a [`MockDatagram`], and the result of the handler.
#[derive(Debug)]
pub struct DatagramRecording {
    socket: Arc<RecordingSocket>,
    server: ServerHandle,
    result: HandlerResult,
}

impl DatagramRecording {
    /// Returns the result of the handler. In a server, `handle_error` would receive the error.
    pub fn result(&self) -> &HandlerResult {
        &self.result
    }

    /// Returns the datagrams that the handler has sent, to the client or to others, in their order.
    #[must_use]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        let sent = lock(&self.socket.sent);
        sent.iter().map(|(_, packet)| packet.clone()).collect()
    }

    /// Returns the datagrams as in [`sent`](Self::sent), each after the address that it was sent
    /// to.
    #[must_use]
    pub fn sent_with_addresses(&self) -> Vec<(Address, Vec<u8>)> {
        lock(&self.socket.sent).clone()
    }

    /// Returns the handler's server, for example to check that it
    /// [is draining](ServerHandle::is_draining) after the handler has called
    /// [`shutdown`](ServerHandle::shutdown).
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }
}

#[derive(Debug)]
struct RecordingSocket {
    send_error: Option<ErrorKind>,
    sent: Mutex<Vec<(Address, Vec<u8>)>>,
}

impl DatagramSocket for RecordingSocket {
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        match self.send_error {
            Some(kind) => Err(kind.into()),
            None => {
                lock(&self.sent).push((receiver.clone(), packet.to_owned()));
                Ok(())
            }
        }
    }
}
