//! A stop: another thread requests it, the loop ends at once, and the close waits for the requests
//! that still run.
//!
//! `cargo run --example shutdown` runs by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

struct Echo;

impl RequestHandler for Echo {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut buffer = [0; 1024];
        // False when the client has closed, and also when the server is stopping.
        while request.wait()? {
            let count = request.read(&mut buffer)?;
            request.write_all(&buffer[..count])?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let server = ThreadingTcpServer::bind("127.0.0.1:0", || Echo)?;
    server.set_drain_timeout(Some(Duration::from_secs(5)));
    let address = server.local_addr().ok_or("a TCP server has a port")?;
    let handle = server.handle();
    let serving = thread::spawn(move || {
        server.serve_forever()?;
        Ok::<_, socketserver::Error>(server.server_close())
    });

    let mut client = TcpStream::connect(address)?;
    client.write_all(b"hello\n")?;
    let mut answer = String::new();
    BufReader::new(&client).read_line(&mut answer)?;
    print!("the server answered {answer}");

    // The client stays connected. Its handler has answered, and will call `wait` in a moment.
    while handle.statistics().idle < 1 {
        thread::yield_now();
    }
    let begin = Instant::now();
    handle.shutdown();
    let report = serving.join().map_err(|_| "the server panicked")??;
    println!("stopped after {:?}: {report}", begin.elapsed());
    Ok(())
}
