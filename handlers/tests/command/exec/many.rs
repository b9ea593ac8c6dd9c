//! Many short connections.

use std::fs;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::thread;

use support::waiting::eventually;

use super::LOOPBACK;
use crate::served::{SAFETY_NET, Served, rest, socketserver};

/// The descriptors of the server.
fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// The children of the server, zombies included.
fn children(process: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task = |task: io::Result<fs::DirEntry>| {
        let path = task.unwrap().path().join("children");
        fs::read_to_string(path).map_or(0, |text| text.split_whitespace().count())
    };
    tasks.map(of_task).sum()
}

#[test]
fn many_short_connections_leave_no_descriptor_and_no_process() {
    const CLIENTS: usize = 4;
    const CONNECTIONS: usize = 150;
    for (options, program) in [
        ([].as_slice(), ["true"].as_slice()),
        (&["--count"], &["cat"]),
        (
            &["--mixin", "reactor"],
            &["sh", "-c", "echo oops >&2; exec cat"],
        ),
    ] {
        let arguments = [&["exec", "--listen", LOOPBACK], options, &["--"], program].concat();
        let mut command = socketserver(&arguments);
        // Nobody reads the log meanwhile.
        command.env("RUST_LOG", "warn");
        let served = Served::run(command);
        let (address, process) = (served.address(), served.process_id());
        // What a mix-in opens with its first client stays open.
        let first = served.connect();
        first.shutdown(Shutdown::Write).unwrap();
        rest(first);
        let before = descriptors(process);
        let client = move || {
            for _ in 0..CONNECTIONS {
                let mut client = TcpStream::connect(address).unwrap();
                client.set_read_timeout(Some(SAFETY_NET)).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                client.read_to_end(&mut Vec::new()).unwrap();
            }
        };
        let clients = [(); CLIENTS].map(|()| thread::spawn(client));
        for client in clients {
            client.join().unwrap();
        }
        eventually("no descriptor and no child is left", || {
            descriptors(process) <= before && children(process) == 0
        });
        served.stop();
    }
}
