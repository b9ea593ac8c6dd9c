//! A bound on the requests that run: four run at a time, eight more may wait, and the rest stays in
//! the backlog of the kernel.
//!
//! `cargo run --example thread_pool`, then in another terminal
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; echo 27 >&3; head -n 1 <&3'`

use std::io::Write;

use socketserver::{
    Error, HandlerResult, RequestHandler, Serve, StreamRequest, TcpServer, ThreadPoolMixIn,
};

/// Answers how many steps the Collatz sequence takes from a number to 1.
struct Collatz;

impl RequestHandler for Collatz {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let Some(line) = request.next_line(100)? else {
            return Ok(());
        };
        let mut number = u128::from(line.trim().parse::<u32>()?);
        let mut steps = 0;
        while number > 1 {
            number = if number.is_multiple_of(2) {
                number / 2
            } else {
                3 * number + 1
            };
            steps += 1;
        }
        writeln!(request, "{steps}")?;
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let server = TcpServer::new("127.0.0.1:9999", || Collatz)
        .mix_in(ThreadPoolMixIn::new)
        .workers(4)
        .queue_size(8)
        .bind()?;
    server.serve_forever()
}
