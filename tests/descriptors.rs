//! A server that runs out of descriptors serves on when some are free again.
//!
//! A single test: the limit is that of the whole process.

mod clients;
mod processes;
mod running_server;
mod services;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use clients::LIMIT;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use processes::eventually;
use running_server::RunningServer;
use services::{read_line, stream_handler};
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::ThreadingTcpServer;

/// About how many descriptors are left for connections.
const FREE: usize = 4;

#[test]
fn clients_wait_while_descriptors_have_run_out_and_are_served_when_others_leave() {
    let factory = stream_handler(|request| {
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{line}")?;
        }
        Ok(())
    });
    let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    let address = SockAddr::from(server.local_addr().unwrap());
    let running = RunningServer::start(server);
    // Made before the limit is set, and connected after.
    let clients: Vec<_> = (0..5 * FREE)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
        .collect();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let highest = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let limit = highest as u64 + FREE as u64;
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    for client in &clients {
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.connect(&address).unwrap();
        client.send(b"hello\n").unwrap();
    }
    eventually("the descriptors run out", || {
        std::fs::File::open("/dev/null")
            .is_err_and(|error| error.raw_os_error() == Some(Errno::EMFILE as i32))
    });
    assert!(running.handle().active_requests() < clients.len());
    // Connections are accepted in the order in which they were made, and each that ends makes room.
    for mut client in clients {
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello\n");
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(running.close().running, 0);
}
