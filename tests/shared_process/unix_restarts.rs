//! Servers that stop while others start on the same path: the file belongs to the last.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

use socketserver::{BaseServer, Error, Serve, Server, UnixDatagramServer, UnixStreamServer};
use support::services::EchoLine;

/// How many restarts a test makes in each file system. `SOCKETSERVER_RESTARTS=20000` sets another
/// number.
fn restarts() -> usize {
    let number = std::env::var("SOCKETSERVER_RESTARTS").ok();
    number.map_or(1_000, |number| number.parse().unwrap())
}

/// A new directory in each file system that there is to try: the temporary one, which often is on
/// ext4, and a tmpfs.
fn directories() -> Vec<tempfile::TempDir> {
    let memory = tempfile::tempdir_in("/dev/shm");
    if memory.is_err() {
        println!("skipped for a tmpfs: there is no /dev/shm");
    }
    let mut directories = vec![support::short_paths::directory()];
    directories.extend(memory);
    directories
}

fn stream_server(path: &Path) -> Result<Server<impl BaseServer + use<>>, Error> {
    UnixStreamServer::new(path, EchoLine::default).bind()
}

fn datagram_server(path: &Path) -> Result<Server<impl BaseServer + use<>>, Error> {
    UnixDatagramServer::new(path, EchoLine::default).bind()
}

/// Tries until the path is free.
fn bound<S: BaseServer>(bind: impl Fn() -> Result<Server<S>, Error>) -> Server<S> {
    loop {
        match bind() {
            Ok(server) => return server,
            Err(Error::AddressInUse { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Restarts a server again and again: the old one is closed while the new one, in another thread,
/// tries to bind. Each new server must be reachable.
fn restart<S: BaseServer>(
    path: &Path,
    bind: impl Fn(&Path) -> Result<Server<S>, Error> + Copy + Send + 'static,
    is_reachable: impl Fn(&Path) -> bool,
) {
    let (orders, to_do) = channel::<()>();
    let (servers, done) = channel();
    let its_path = path.to_owned();
    let starter = thread::spawn(move || {
        while let Ok(()) = to_do.recv() {
            servers.send(bound(|| bind(&its_path))).unwrap();
        }
    });
    let mut lost = 0;
    let mut old = bind(path).unwrap();
    for round in 0..restarts() {
        orders.send(()).unwrap();
        // The close meets the other's attempts at a different point each time.
        for _ in 0..round % 50 * 20 {
            std::hint::spin_loop();
        }
        old.server_close();
        old = done.recv().unwrap();
        lost += usize::from(!is_reachable(path));
    }
    assert_eq!(lost, 0, "servers whose file their predecessor removed");
    old.server_close();
    drop(orders);
    starter.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_stream_server_that_stops_leaves_the_file_of_its_successor() {
    for directory in directories() {
        let is_reachable = |path: &Path| UnixStream::connect(path).is_ok();
        restart(&directory.path().join("s"), stream_server, is_reachable);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_datagram_server_that_stops_leaves_the_file_of_its_successor() {
    for directory in directories() {
        let client = UnixDatagram::unbound().unwrap();
        let is_reachable = |path: &Path| client.connect(path).is_ok();
        restart(&directory.path().join("d"), datagram_server, is_reachable);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn two_supervisors_that_restart_one_service_without_end_never_lose_the_file() {
    fn supervise<S: BaseServer>(path: PathBuf, bind: impl Fn(&Path) -> Result<Server<S>, Error>) {
        for _ in 0..restarts() / 4 {
            let server = bound(|| bind(&path));
            assert!(path.exists(), "the other has removed the file");
            server.server_close();
        }
    }
    for directory in directories() {
        let path = directory.path().join("s");
        thread::scope(|scope| {
            scope.spawn(|| supervise(path.clone(), stream_server));
            scope.spawn(|| supervise(path.clone(), stream_server));
        });
        assert!(!path.exists());
    }
}

#[test]
fn a_program_that_replaces_the_file_by_force_keeps_its_own() {
    // As programs do that remove whatever is at the path before they bind.
    for directory in directories() {
        let path = directory.path().join("s");
        for round in 0..restarts() / 4 {
            let server = stream_server(&path).unwrap();
            let both = Barrier::new(2);
            let taken = thread::scope(|scope| {
                let by_force = scope.spawn(|| {
                    both.wait();
                    let _ = fs::remove_file(&path);
                    UnixListener::bind(&path)
                });
                both.wait();
                for _ in 0..round % 50 * 20 {
                    std::hint::spin_loop();
                }
                server.server_close();
                by_force.join().unwrap()
            });
            let _listener = taken.unwrap();
            assert!(UnixStream::connect(&path).is_ok(), "round {round}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_has_taken_the_place_of_the_file_stays() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("s");
    let server = stream_server(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    server.server_close();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    fs::remove_file(&path).unwrap();
    let server = datagram_server(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    server.server_close();
    assert!(path.is_dir());
}
