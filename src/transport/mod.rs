//! The interface to the operating system: sockets, the bytes that they carry, and waiting for them.

pub(crate) mod absent_stream;
pub(crate) mod bind;
pub(crate) mod connection;
pub(crate) mod datagram_inbox;
pub(crate) mod datagram_inboxes;
pub(crate) mod datagram_socket;
pub(crate) mod destination;
pub(crate) mod get_request_error;
pub(crate) mod lingering_connection;
pub(crate) mod listening_socket;
pub(crate) mod own_address;
pub(crate) mod poll;
pub(crate) mod prefixed_stream;
pub(crate) mod reading;
pub(crate) mod receive_batch;
pub(crate) mod socket_address;
pub(crate) mod socket_error;
pub(crate) mod socket_file;
pub(crate) mod socket_options;
pub(crate) mod socket_set;
pub(crate) mod socket_stream;
pub(crate) mod stream;
pub(crate) mod sys;
pub(crate) mod traffic;
pub(crate) mod waits;
pub(crate) mod waker;
