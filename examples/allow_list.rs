//! A layer of your own: the server serves only clients on a list.
//!
//! `cargo run --example allow_list 127.0.0.1`, then in another terminal
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; head -n 1 <&3'`. With another
//! list the client receives nothing.

use std::collections::HashSet;
use std::io::Write;
use std::net::IpAddr;

use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, HandlerResult, MixIn, Request, RequestHandler, Serve, StreamRequest, TcpServer,
    ThreadingMixIn,
};

struct AllowList<S> {
    next: S,
    allowed: HashSet<IpAddr>,
}

impl<S: BaseServer> MixIn for AllowList<S> {
    type Next = S;
    fn next(&self) -> &S {
        &self.next
    }
    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        let client = request.client_address();
        let allowed = client.ip().is_some_and(|ip| self.allowed.contains(&ip));
        if !allowed {
            log::warn!("{client}: not on the list");
        }
        allowed && self.next.verify_request(request)
    }
}

struct Secret;

impl RequestHandler for Secret {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        writeln!(request, "the cake is in the fridge")?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let allowed = std::env::args()
        .skip(1)
        .map(|ip| ip.parse())
        .collect::<Result<_, _>>()?;
    let server = TcpServer::new("127.0.0.1:9999", || Secret)
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| AllowList { next, allowed })
        .bind()?;
    Ok(server.serve_forever()?)
}
