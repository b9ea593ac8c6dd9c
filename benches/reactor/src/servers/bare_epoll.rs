//! One thread, level-triggered epoll, a read and a write for what has come: the least that a server
//! on one thread has to do.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use measuring::{announce, end_at_once};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::ANY_PORT;

pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let readable = |fd: usize| EpollEvent::new(EpollFlags::EPOLLIN, fd as u64);
    let listening = index(&listener);
    epoll.add(&listener, readable(listening))?;
    announce(listener.local_addr()?, end_at_once)?;
    // By descriptor, the smallest number that is free: no table is faster.
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffer = vec![0; 65536];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            let fd = usize::try_from(event.data()).expect("a descriptor was registered");
            if fd == listening {
                let (connection, _) = listener.accept()?;
                connection.set_nodelay(true)?;
                let fd = index(&connection);
                epoll.add(&connection, readable(fd))?;
                if connections.len() <= fd {
                    connections.resize_with(fd + 1, || None);
                }
                connections[fd] = Some(connection);
                continue;
            }
            let connection = connections[fd].as_mut().expect("an open one is registered");
            if answer(connection, &mut buffer).is_err() {
                connections[fd] = None;
            }
        }
    }
}

fn answer(connection: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let count = connection.read(buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer[..count].make_ascii_uppercase();
    connection.write_all(&buffer[..count])
}

fn index(socket: &impl AsRawFd) -> usize {
    usize::try_from(socket.as_raw_fd()).expect("a descriptor is not negative")
}
