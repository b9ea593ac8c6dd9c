//! Connects a metrics library with a server: a layer receives each event of a request, and the
//! totals can be read at any time.
//!
//! `cargo run --example metrics`, then connect with `nc 127.0.0.1 9999` and type; the numbers are
//! printed as each client leaves.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Error, HandlerResult, MixIn, RequestEvent, RequestHandler, Serve,
    StreamRequest, TcpServer, ThreadingMixIn,
};

/// Reads everything that the client sends, and discards it.
struct Discard;

impl RequestHandler for Discard {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while request.wait()? {
            let _ = request.read(&mut [0; 1024])?;
        }
        Ok(())
    }
}

/// How long connections last; a real program has a histogram of a library here.
#[derive(Default)]
struct Histogram(Mutex<[u64; 4]>);

const BOUNDS: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_secs(1),
    Duration::from_secs(60),
];

impl Histogram {
    fn record(&self, lasted: Duration) {
        let bucket = BOUNDS.iter().filter(|&&bound| lasted > bound).count();
        self.0.lock().expect("nothing panics with it locked")[bucket] += 1;
    }
}

/// Records how long each request lasts, in the layer around `next`.
struct Metrics<S> {
    next: S,
    lasted: Histogram,
}

impl<S> Metrics<S> {
    fn new(next: S) -> Self {
        let lasted = Histogram::default();
        Self { next, lasted }
    }
}

impl<S: BaseServer> MixIn for Metrics<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        if let RequestEvent::Ended { accepted, .. } = event {
            self.lasted.record(accepted.elapsed());
            println!("{client}: {event:?}");
            println!("{:?}", self.layer_handle().server().statistics());
        }
        self.next.observe(client, event);
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let server = TcpServer::new("127.0.0.1:9999", || Discard)
        .mix_in(Metrics::new)
        .mix_in(ThreadingMixIn::new)
        .bind()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}
