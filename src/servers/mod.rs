//! The bottom layers, each for one kind of socket.

pub(crate) mod server_socket;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod unix_datagram;
pub(crate) mod unix_stream;
