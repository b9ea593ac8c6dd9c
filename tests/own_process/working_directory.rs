//! A Unix server knows its file also when the program has gone to another directory.
//!
//! The directory is that of the whole process.

use std::path::Path;

use socketserver::{BaseServer, Serve, Server, UnixDatagramServer, UnixStreamServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::{RunningServer, close};
use support::services::EchoLine;

const NAME: &str = "socket";

fn close_it(server: Server<impl BaseServer>) {
    close(server);
}

/// Binds in the one directory and ends in the other.
fn removes_its_file<S: BaseServer>(bind: impl FnOnce() -> Server<S>, end: fn(Server<S>)) {
    let [home, elsewhere] = [
        support::short_paths::directory(),
        support::short_paths::directory(),
    ];
    std::env::set_current_dir(home.path()).unwrap();
    let server = bind();
    assert!(home.path().join(NAME).exists());
    std::env::set_current_dir(elsewhere.path()).unwrap();
    // Another program's, as it seems from here.
    std::fs::write(NAME, "precious").unwrap();
    end(server);
    assert!(!home.path().join(NAME).exists());
    assert_eq!(std::fs::read_to_string(NAME).unwrap(), "precious");
    // It is about to be deleted.
    std::env::set_current_dir(Path::new("/")).unwrap();
}

#[test]
fn a_file_by_a_relative_path_is_removed_from_the_directory_in_which_it_was_made() {
    alone(|| {
        let stream = || {
            UnixStreamServer::new(NAME, EchoLine::default)
                .bind()
                .unwrap()
        };
        let datagram = || {
            let layer = UnixDatagramServer::new(NAME, EchoLine::default);
            layer.bind().unwrap()
        };
        removes_its_file(stream, close_it);
        removes_its_file(stream, drop);
        removes_its_file(datagram, close_it);
        removes_its_file(datagram, drop);

        let home = support::short_paths::directory();
        std::env::set_current_dir(home.path()).unwrap();
        let running = RunningServer::start(stream());
        let mut client = StreamClient::connect(&running.address());
        std::env::set_current_dir(Path::new("/")).unwrap();
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        running.close();
        assert!(!home.path().join(NAME).exists());
    });
}
