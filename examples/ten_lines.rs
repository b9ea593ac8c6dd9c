//! A service in ten lines: every connection has a thread of its own.
//!
//! `cargo run --example ten_lines`, then in another terminal
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; echo hello >&3; head -n 1 <&3'`

use std::io::{Read, Write};

use socketserver::{Error, HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut buffer = [0; 1024];
        while request.wait()? {
            let count = request.read(&mut buffer)?;
            buffer[..count].make_ascii_uppercase();
            request.write_all(&buffer[..count])?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    ThreadingTcpServer::bind("127.0.0.1:9999", || Upper)?.serve_forever()
}
