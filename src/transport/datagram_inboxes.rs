//! The inboxes of a datagram server, one for each of its sockets.

use std::io;

use nix::errno::Errno;

use crate::transport::datagram_inbox::{Datagram, DatagramInbox};
use crate::transport::get_request_error::GetRequestError;
use crate::transport::socket_set::{Sockets, any_is_shut_down};

/// The inboxes of a server. A server with one address has one inbox.
#[derive(Debug)]
pub(crate) struct DatagramInboxes {
    /// The most bytes that are kept of a datagram.
    longest: usize,
    inboxes: Vec<DatagramInbox>,
    /// The index of the inbox that receives first.
    turn: usize,
}

impl DatagramInboxes {
    /// Makes inboxes for datagrams of at most `longest` bytes; longer datagrams are truncated.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            longest,
            inboxes: Vec::new(),
            turn: 0,
        }
    }

    /// Returns whether there are sockets to receive from.
    pub(crate) fn is_open(&self) -> bool {
        !self.inboxes.is_empty()
    }

    /// Receives from `sockets` from now on.
    pub(crate) fn open(&mut self, sockets: &Sockets) {
        let inbox = |socket: &_| {
            let mut inbox = DatagramInbox::new(self.longest);
            inbox.open(std::sync::Arc::clone(socket));
            inbox
        };
        self.inboxes = sockets.iter().map(inbox).collect();
        if self.inboxes.len() > 1 {
            let bound = self.inboxes.iter().filter_map(DatagramInbox::bound_address);
            let own: Vec<_> = bound.cloned().collect();
            for inbox in &mut self.inboxes {
                inbox.set_own_addresses(&own);
            }
        }
    }

    /// Drops the sockets and the datagrams.
    pub(crate) fn close(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Returns the next datagram of any socket, without waiting for one. See
    /// [`DatagramInbox::next`].
    pub(crate) fn next(&mut self, ahead: bool) -> Result<Datagram, GetRequestError> {
        match &mut *self.inboxes {
            [] => Err(io::Error::from(Errno::EBADF).into()),
            [inbox] => Ok(inbox.next(ahead)?),
            _ => self.next_of_several(ahead),
        }
    }

    /// Returns whether datagrams of a batch are left, which no socket reports any more.
    pub(crate) fn has_batch(&self) -> bool {
        self.inboxes.iter().any(DatagramInbox::has_batch)
    }

    /// Returns the next datagram that has been received already. Receives no further datagram.
    pub(crate) fn next_received(&mut self) -> Result<Datagram, GetRequestError> {
        let mut inboxes = self.inboxes.iter_mut();
        match inboxes.find(|inbox| inbox.has_batch()) {
            Some(inbox) => Ok(inbox.next(false)?),
            None => Err(GetRequestError::Empty),
        }
    }

    /// Returns the next datagram of several inboxes. The batch of one inbox is emptied before the
    /// next inbox receives, so that a busy address causes few receives on the others.
    fn next_of_several(&mut self, ahead: bool) -> Result<Datagram, GetRequestError> {
        let count = self.inboxes.len();
        for index in (self.turn..self.turn + count).map(|index| index % count) {
            let inbox = &mut self.inboxes[index];
            match inbox.next(ahead) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                next => {
                    let goes_on = next.is_ok() && inbox.has_batch();
                    self.turn = if goes_on { index } else { (index + 1) % count };
                    return Ok(next?);
                }
            }
        }
        let sockets = self.inboxes.iter().filter_map(DatagramInbox::descriptor);
        if any_is_shut_down(sockets)? {
            let error = io::Error::new(
                io::ErrorKind::BrokenPipe,
                "one of the sockets has been shut down",
            );
            return Err(GetRequestError::Broken(error));
        }
        Err(GetRequestError::Empty)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::*;
    use crate::transport::socket_set::SocketSet;

    /// A server's socket, and a client of it.
    fn socket() -> (Arc<OwnedFd>, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        (Arc::new(server.into()), client)
    }

    fn two_inboxes() -> (DatagramInboxes, [UdpSocket; 2], Vec<Arc<OwnedFd>>) {
        let ((one, first), (two, second)) = (socket(), socket());
        let sockets = vec![one, two];
        let mut inboxes = DatagramInboxes::new(10);
        let set = SocketSet::new(sockets.clone()).unwrap();
        inboxes.open(&Sockets::Several(Arc::new(set)));
        (inboxes, [first, second], sockets)
    }

    #[test]
    fn closed_inboxes_return_no_datagram_even_if_one_was_received() {
        let (server, client) = socket();
        let mut inboxes = DatagramInboxes::new(10);
        inboxes.open(&Sockets::One(server));
        client.send(b"one").unwrap();
        client.send(b"two").unwrap();
        assert_eq!(inboxes.next(true).unwrap().buffers.packet, b"one");
        inboxes.close();
        let error = inboxes.next(true).unwrap_err();
        assert!(matches!(error, GetRequestError::Broken(_)), "{error:?}");
    }

    #[test]
    fn a_busy_socket_does_not_starve_the_other() {
        for ahead in [false, true] {
            let (mut inboxes, [busy, other], _) = two_inboxes();
            for _ in 0..100 {
                busy.send(b"busy").unwrap();
            }
            other.send(b"other").unwrap();
            let packets = std::iter::from_fn(|| Some(inboxes.next(ahead).ok()?.buffers.packet));
            let place = packets.take_while(|packet| packet != b"other").count();
            assert!(place <= 2, "the other socket was served after {place}");
        }
    }

    #[test]
    fn a_socket_that_was_shut_down_is_an_error_and_does_not_keep_the_loop_spinning() {
        let (mut inboxes, [client, _], sockets) = two_inboxes();
        client.send(b"last").unwrap();
        let _ = socket2::SockRef::from(&*sockets[0]).shutdown(std::net::Shutdown::Both);
        let mut results = std::iter::from_fn(|| Some(inboxes.next(true)));
        let error = results.find_map(Result::err).unwrap();
        assert!(matches!(error, GetRequestError::Broken(_)), "{error:?}");
    }

    #[test]
    fn a_datagram_from_one_socket_to_another_is_the_server_s_own() {
        let (mut inboxes, [client, _other], sockets) = two_inboxes();
        let sender = UdpSocket::from(sockets[0].try_clone().unwrap());
        let receiver = UdpSocket::from(sockets[1].try_clone().unwrap());
        sender
            .send_to(b"own", receiver.local_addr().unwrap())
            .unwrap();
        client.send(b"other").unwrap();
        let mut received: Vec<_> = std::iter::from_fn(|| inboxes.next(false).ok())
            .map(|datagram| (datagram.buffers.packet.clone(), datagram.is_own))
            .collect();
        received.sort();
        assert_eq!(
            received,
            [(b"other".to_vec(), false), (b"own".to_vec(), true)]
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_errors_of_a_socket_are_taken_when_nothing_has_come() {
        use nix::sys::socket::{setsockopt, sockopt};
        use std::os::fd::AsFd;

        let (mut inboxes, [client, _other], sockets) = two_inboxes();
        setsockopt(&sockets[0], sockopt::Ipv4RecvErr, &true).unwrap();
        client.send(b"bye").unwrap();
        let mut results = std::iter::from_fn(|| Some(inboxes.next(true)));
        let datagram = results.find_map(Result::ok).unwrap();
        drop(client);
        let reply = || datagram.socket.reply(b"", &datagram.client, None);
        // The error comes with ICMP: the first is pending, and both are in the error queue.
        let _ = (reply(), reply());
        let has_event = || crate::transport::poll::readable_now(sockets[0].as_fd()).unwrap();
        assert!(has_event());
        let mut results = std::iter::from_fn(|| inboxes.next(true).err());
        assert!(results.any(|error| matches!(error, GetRequestError::Empty)));
        assert!(!has_event());
    }
}
