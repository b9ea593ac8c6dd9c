//! The requests that handlers serve: connections and datagrams.

pub(crate) mod datagram_request;
pub(crate) mod exchange_clock;
pub(crate) mod kept_handler;
pub(crate) mod outbox;
pub(crate) mod parking;
pub(crate) mod read_buffer;
pub(crate) mod request;
pub(crate) mod stream_request;
pub(crate) mod write_buffer;
