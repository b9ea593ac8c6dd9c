//! Who may connect to a Unix socket: the mode and the group of its file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use socketserver::{BaseServer, Error, Serve, Server, UnixDatagramServer, UnixStreamServer};
use support::services::EchoLine;

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    (directory, path)
}

fn stream_server(path: &Path, mode: u32) -> Result<Server<impl BaseServer + use<>>, Error> {
    let layer = UnixStreamServer::new(path, EchoLine::default);
    layer.mode(mode).bind()
}

fn datagram_server(path: &Path, mode: u32) -> Result<Server<impl BaseServer + use<>>, Error> {
    let layer = UnixDatagramServer::new(path, EchoLine::default);
    layer.mode(mode).bind()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_file_has_exactly_the_mode_of_the_option_whatever_the_umask() {
    for mode in [0o600, 0o660, 0o666, 0o777, 0o000, 0o420] {
        let (_directory, path) = place();
        let server = stream_server(&path, mode).unwrap();
        assert_eq!(mode_of(&path), mode);
        server.server_close();
        let server = datagram_server(&path, mode).unwrap();
        assert_eq!(mode_of(&path), mode);
        server.server_close();
        assert!(!path.exists());
    }
}

#[test]
fn the_file_never_has_a_right_that_its_mode_does_not_have() {
    let (_directory, path) = place();
    let done = AtomicBool::new(false);
    let modes = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut modes = 0;
            while !done.load(SeqCst) {
                if let Ok(metadata) = fs::metadata(&path) {
                    modes |= metadata.mode() & 0o7777;
                }
            }
            modes
        });
        for _ in 0..500 {
            stream_server(&path, 0o600).unwrap().server_close();
            datagram_server(&path, 0o600).unwrap().server_close();
        }
        done.store(true, SeqCst);
        watcher.join().unwrap()
    });
    assert_eq!(modes & !0o600, 0, "{modes:o}");
}

#[test]
fn the_file_belongs_to_the_group_of_the_option() {
    let (directory, path) = place();
    let own = fs::metadata(directory.path()).unwrap().gid();
    let layer = UnixStreamServer::new(&path, EchoLine::default);
    let server = layer.mode(0o660).group(own).bind().unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.gid(), metadata.mode() & 0o777), (own, 0o660));
    server.server_close();

    let stranger = own + 4321;
    let layer = UnixDatagramServer::new(&path, EchoLine::default);
    match layer.mode(0o660).group(stranger).bind() {
        // The superuser may give a file to any group.
        Ok(server) => {
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.gid(), metadata.mode() & 0o777), (stranger, 0o660));
            server.server_close();
        }
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, Error::SocketFile { .. }), "{text}");
            assert!(text.contains(&format!("the group {stranger}")), "{text}");
        }
    }
    assert!(!path.exists());
}

#[test]
fn a_mode_that_is_none_and_a_file_that_is_none_are_refused_and_leave_nothing() {
    fn assert_refused<S: BaseServer>(bound: Result<Server<S>, Error>, expected: &str) {
        let error = bound.map(drop).unwrap_err();
        assert!(matches!(error, Error::SetOption { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (_directory, path) = place();
    for mode in [0o1660, 660, 0o10_0660] {
        assert_refused(stream_server(&path, mode), "three octal digits");
        assert_refused(datagram_server(&path, mode), "three octal digits");
        assert!(!path.exists());
    }
    #[cfg(target_os = "linux")]
    {
        let name = format!("\0socketserver-access-{}", std::process::id());
        assert_refused(stream_server(Path::new(&name), 0o660), "abstract");
        let layer = UnixStreamServer::new(&name, EchoLine::default);
        assert_refused(layer.group(0).bind(), "abstract");
    }
    let listener = UnixListener::bind(&path).unwrap();
    let layer = UnixStreamServer::from_listener(listener, EchoLine::default);
    assert_refused(layer.mode(0o660).bind(), "given to the server");
}
