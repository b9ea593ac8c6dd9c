//! A mix-in that the program chooses by a name of its configuration.

use std::io::Write;

use socketserver::{
    AnyMixIn, ForkingMixIn, ReactorMixIn, Serve, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::observer::place;
use support::own_process::alone;
use support::processes::children;
use support::running_server::close;
use support::services::stream_handler;

/// Where a request is served, as its handler reports: the thread and the process.
fn place_of_a_request(mix_in: &str) -> String {
    let factory = stream_handler(|request| Ok(request.write_all(place().as_bytes())?));
    let layers = TcpServer::new("127.0.0.1:0", factory).mix_in(|next| match mix_in {
        "forking" => AnyMixIn::Forking(ForkingMixIn::new(next)),
        "pool" => AnyMixIn::ThreadPool(ThreadPoolMixIn::new(next)),
        "reactor" => AnyMixIn::Reactor(ReactorMixIn::new(next)),
        "threading" => AnyMixIn::Threading(ThreadingMixIn::new(next)),
        _ => AnyMixIn::None(next),
    });
    let server = layers.bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    let place = String::from_utf8(client.rest()).unwrap();
    assert_eq!(close(server).running, 0);
    place
}

fn process(place: &str) -> &str {
    place.split_once(" of ").unwrap().1
}

#[test]
fn a_mix_in_that_is_chosen_by_its_name_serves_where_that_mix_in_does() {
    alone(|| {
        let here = place();
        assert_eq!(place_of_a_request("none"), here);
        for mix_in in ["threading", "pool", "reactor"] {
            let place = place_of_a_request(mix_in);
            assert_ne!(place, here, "{mix_in}");
            assert_eq!(process(&place), process(&here), "{mix_in}");
        }
        let forked = place_of_a_request("forking");
        assert_ne!(process(&forked), process(&here));
        assert_eq!(children(), [0; 0]);
    });
}
