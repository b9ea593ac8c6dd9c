//! Socket buffers: their sizes, and how to set them.
//!
//! `cargo run -p socketserver-handlers --example socket_buffers`
//!
//! Every socket has two buffers in the kernel: sent bytes wait in one buffer until they are
//! confirmed, and received bytes wait in the other until they are read. The buffers of a TCP
//! connection grow by themselves, up to the last of the three numbers in
//! `/proc/sys/net/ipv4/tcp_rmem` and `tcp_wmem`; a size that is set is fixed. Linux reserves twice
//! the requested size, for its own book-keeping, and reports the double.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use socket2::SockRef;
use socketserver::{
    BaseServer, DatagramRequest, HandlerResult, RequestHandler, Serve, Server, StreamRequest,
    TcpServer, UdpServer,
};

/// The requested size, in bytes.
const SIZE: usize = 32 * 1024;

/// The sizes of a socket's two buffers, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buffers {
    send: usize,
    receive: usize,
}

fn buffers(socket: impl AsFd) -> io::Result<Buffers> {
    let socket = SockRef::from(&socket);
    Ok(Buffers {
        send: socket.send_buffer_size()?,
        receive: socket.recv_buffer_size()?,
    })
}

/// Sets both buffers of a server's socket: before bind, so that accepted connections have these
/// buffers from their first segment on.
fn set_buffers<S: BaseServer>(server: &Server<S>) -> io::Result<()> {
    let socket = SockRef::from(server);
    socket.set_send_buffer_size(SIZE)?;
    socket.set_recv_buffer_size(SIZE)
}

/// Answers with the buffers of the connection, or of the server's socket.
struct ReportBuffers;

impl RequestHandler for ReportBuffers {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let socket = request.socket().ok_or("there is no socket")?;
        let Buffers { send, receive } = buffers(socket)?;
        write!(request, "{send} {receive}")?;
        Ok(())
    }
}

impl RequestHandler<DatagramRequest> for ReportBuffers {
    fn handle(&mut self, _: &mut DatagramRequest) -> HandlerResult {
        Ok(())
    }
}

/// The buffers of a connection to a server whose buffers are set.
fn of_connection() -> Result<Buffers, Box<dyn std::error::Error>> {
    let server = TcpServer::new("127.0.0.1:0", || ReportBuffers).into_server()?;
    set_buffers(&server)?;
    server.server_bind()?;
    server.server_activate()?;
    let mut client = TcpStream::connect(server.local_addr().ok_or("there is an address")?)?;
    server.handle_request()?;
    let mut told = String::new();
    client.read_to_string(&mut told)?;
    let (send, receive) = told.split_once(' ').ok_or("two numbers")?;
    Ok(Buffers {
        send: send.parse()?,
        receive: receive.parse()?,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tcp = TcpServer::new("127.0.0.1:0", || ReportBuffers).into_server()?;
    let udp = UdpServer::new("127.0.0.1:0", || ReportBuffers).into_server()?;
    println!("TCP, as the system makes it: {:?}", buffers(&tcp)?);
    println!("UDP, as the system makes it: {:?}", buffers(&udp)?);
    set_buffers(&tcp)?;
    set_buffers(&udp)?;
    println!("TCP, {SIZE} bytes asked for: {:?}", buffers(&tcp)?);
    println!("UDP, {SIZE} bytes asked for: {:?}", buffers(&udp)?);
    println!("a connection to such a server: {:?}", of_connection()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_at_least_the_size_that_was_set() {
        let tcp = TcpServer::new("127.0.0.1:0", || ReportBuffers)
            .into_server()
            .unwrap();
        let udp = UdpServer::new("127.0.0.1:0", || ReportBuffers)
            .into_server()
            .unwrap();
        set_buffers(&tcp).unwrap();
        set_buffers(&udp).unwrap();
        for buffers in [buffers(&tcp).unwrap(), buffers(&udp).unwrap()] {
            assert!(
                buffers.send >= SIZE && buffers.receive >= SIZE,
                "{buffers:?}"
            );
        }
    }

    #[test]
    fn a_connection_has_the_buffers_that_the_listening_socket_had_before_bind() {
        let server = TcpServer::new("127.0.0.1:0", || ReportBuffers)
            .into_server()
            .unwrap();
        set_buffers(&server).unwrap();
        assert_eq!(of_connection().unwrap(), buffers(&server).unwrap());
    }
}
