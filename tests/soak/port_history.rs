//! What was asked from each UDP port.
//!
//! A port has one owner after another, and a reply that comes late reaches the next one: nothing in
//! UDP tells that it was meant for somebody else. It is no failure of the server's. A reply that
//! was asked from another port is.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use socket2::Socket;

/// So many questions are remembered of each port.
const REMEMBERED: usize = 32;

static ASKED: Mutex<Option<HashMap<u16, VecDeque<Option<u64>>>>> = Mutex::new(None);

/// The port of a socket; `None` over Unix sockets, whose names have one owner ever.
fn port(socket: &Socket) -> Option<u16> {
    Some(socket.local_addr().ok()?.as_socket()?.port())
}

/// Remembers that the question with this salt, or the empty one, was asked from the socket.
pub fn remember(socket: &Socket, salt: Option<u64>) {
    let Some(port) = port(socket) else {
        return;
    };
    let mut asked = ASKED.lock().expect("nobody panics there");
    let of_port = asked.get_or_insert_default().entry(port).or_default();
    if of_port.len() == REMEMBERED {
        of_port.pop_front();
    }
    of_port.push_back(salt);
}

/// Whether that question was asked lately from the port of the socket, by whoever had it.
pub fn was_asked(socket: &Socket, salt: Option<u64>) -> bool {
    let asked = ASKED.lock().expect("nobody panics there");
    let of_port = port(socket).and_then(|port| asked.as_ref()?.get(&port));
    of_port.is_some_and(|salts| salts.contains(&salt))
}
