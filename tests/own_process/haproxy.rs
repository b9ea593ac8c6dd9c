//! Servers behind a real HAProxy, if it is installed.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use socketserver::{
    Address, BaseServer, HandlerFactory, ProxyProtocolMixIn, ReactorMixIn, Serve, StreamRequest,
    TcpServer, ThreadingMixIn, UnixStreamServer,
};
use support::clients::{StreamClient, has_ipv6};
use support::own_process::alone;
use support::proxies::address_echo;
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::stream_handler;
use support::task_limit::ErrorReports;
use support::waiting::eventually;
use tempfile::TempDir;

const LOOPBACK: &str = "127.0.0.1:0";

/// A HAProxy with one listening socket and one server.
struct Haproxy {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Haproxy {
    /// Starts a HAProxy whose server has these options; the listening socket is at this address,
    /// and has the options `bind`. `{directory}` in the options is a directory, in which `prepare`
    /// may make files. Returns `None`, and prints that, if no HAProxy is installed.
    fn start(
        server: &Address,
        options: &str,
        (at, bind): (&str, &str),
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        match Command::new("haproxy").arg("-v").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: haproxy is not installed");
                return None;
            }
            version => version.unwrap(),
        };
        let directory = support::short_paths::directory();
        prepare(directory.path());
        let server = match server {
            Address::Unix(path) => format!("unix@{}", path.display()),
            server => server.to_string(),
        };
        // The listening socket is its standard input.
        let configuration = format!(
            "defaults\n    mode tcp\n    timeout connect 20s\n    timeout client 20s\n    \
             timeout server 20s\nfrontend front\n    bind fd@0 {bind}\n    \
             bind {{directory}}/front\n    unique-id-format id-%pid\n    \
             default_backend back\nbackend back\n    server one {server} {options}\n"
        );
        let here = directory.path().to_str().unwrap();
        let configuration = configuration.replace("{directory}", here);
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(file)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            process,
            address,
            directory,
        })
    }

    fn connect(&self) -> StreamClient {
        StreamClient::connect(&self.address.into())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn no_files(_: &Path) {}

fn tcp(
    factory: impl HandlerFactory<StreamRequest>,
) -> ProxyProtocolMixIn<ThreadingMixIn<TcpServer<impl HandlerFactory<StreamRequest>>>> {
    TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadingMixIn::new)
        .mix_in(ProxyProtocolMixIn::new)
        .trust("127.0.0.0/8".parse().unwrap())
}

/// Clients of HAProxy are served with their own addresses.
fn clients_are_known<S: BaseServer>(running: &RunningServer<S>, options: &str, proxy: &str) {
    let server = running.address();
    let mut started = None;
    for at in [LOOPBACK, "[::1]:0"] {
        if at != LOOPBACK && !has_ipv6() {
            continue;
        }
        let Some(haproxy) = Haproxy::start(&server, options, (at, ""), no_files) else {
            return;
        };
        for _ in 0..3 {
            let mut client = haproxy.connect();
            let own = client.socket().local_addr().unwrap().as_socket().unwrap();
            client.send("hello\n");
            assert_eq!(client.line(), format!("{own} {proxy} hello"), "{options}");
        }
        started = Some(haproxy);
    }
    let haproxy = started.expect("IPv4 is always there");
    // A client of HAProxy's Unix socket has no address that could be stated.
    let front = Address::Unix(haproxy.directory.path().join("front"));
    eventually("the Unix socket listens", || {
        StreamClient::try_connect(&front).is_ok()
    });
    let mut client = StreamClient::connect(&front);
    client.send("hello\n");
    let line = client.line();
    assert!(line.ends_with(&format!(" {proxy} hello")), "{line}");
}

#[test]
fn behind_haproxy_the_handler_sees_the_clients_over_tcp_and_over_unix_sockets() {
    alone(|| {
        for options in [
            "send-proxy",
            "send-proxy-v2",
            "send-proxy-v2 proxy-v2-options crc32c",
        ] {
            let running = RunningServer::start(tcp(address_echo()).bind().unwrap());
            clients_are_known(&running, options, "127.0.0.1");
            running.close();

            let layers = TcpServer::new(LOOPBACK, address_echo())
                .mix_in(ReactorMixIn::new)
                .mix_in(ProxyProtocolMixIn::new)
                .trust("127.0.0.1".parse().unwrap());
            let running = RunningServer::start(layers.bind().unwrap());
            clients_are_known(&running, options, "127.0.0.1");
            running.close();

            let directory = support::short_paths::directory();
            let path = directory.path().join("socket");
            let layers = UnixStreamServer::new(path, address_echo())
                .mix_in(ThreadingMixIn::new)
                .mix_in(ProxyProtocolMixIn::new)
                .trust_unix();
            let running = RunningServer::start(layers.bind().unwrap());
            clients_are_known(&running, options, "unix:unnamed");
            running.close();
        }
    });
}

/// The checks of HAProxy end well, and no handler runs.
fn checks_end_well<S: BaseServer<Request = StreamRequest>>(layers: S, options: &str) {
    let (reporter, mut errors) = reports();
    let layers = layers.mix_in(|next| ErrorReports::new(next, reporter));
    let running = RunningServer::start(layers.bind().unwrap());
    let options = format!("{options} check inter 20");
    let Some(haproxy) = Haproxy::start(&running.address(), &options, (LOOPBACK, ""), no_files)
    else {
        running.close();
        return;
    };
    let handle = running.handle();
    eventually("some checks have ended", || {
        handle.statistics().finished >= 5
    });
    drop(haproxy);
    running.close();
    let it = handle.statistics();
    assert_eq!(
        (it.failed, it.refused, it.timed_out),
        (0, 0, 0),
        "{options}"
    );
    assert_eq!(errors.so_far(), [""; 0], "{options}");
}

#[test]
fn the_checks_of_haproxy_start_no_handler_and_are_no_errors() {
    alone(|| {
        let ran = || stream_handler(|_| Err("a handler ran".into()));
        let directory = support::short_paths::directory();
        for options in ["send-proxy", "send-proxy-v2"] {
            checks_end_well(tcp(ran()), options);
            let path = directory.path().join(options);
            let layers = UnixStreamServer::new(path, ran())
                .mix_in(ThreadingMixIn::new)
                .mix_in(ProxyProtocolMixIn::new)
                .trust_unix();
            checks_end_well(layers, options);
        }
    });
}

/// Runs `openssl`; `None`, which is printed, if it is not installed.
fn openssl(arguments: &[&str], directory: &Path) -> Option<Output> {
    let mut command = Command::new("openssl");
    let command = command.args(arguments).current_dir(directory);
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: openssl is not installed");
            None
        }
        output => Some(output.unwrap()),
    }
}

/// Makes `NAME.pem`, a certificate that its own key has signed, and `NAME.key`.
fn certify(name: &str, directory: &Path) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN={name}");
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        &subject,
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    let output = openssl(&arguments, directory).expect("it was found before");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Answers each line with what the proxy states of the client's encryption.
fn encryption() -> impl HandlerFactory<StreamRequest> {
    stream_handler(|request| {
        request.next_line(100)?;
        let client = request.client_address().clone();
        let header = request.proxy_header().ok_or("no header")?;
        let ssl = header.ssl().ok_or("no value about encryption")?;
        let line = format!(
            "{client} {:?} {:?} {:?} {} {} {:?} {:?} {}\n",
            ssl.version(),
            ssl.common_name(),
            ssl.cipher().is_some(),
            ssl.is_encrypted(),
            ssl.is_verified(),
            header.authority(),
            header.alpn().map(|it| it.escape_ascii().to_string()),
            header.unique_id().is_some(),
        );
        Ok(request.write_all(line.as_bytes())?)
    })
}

/// What the handler answers to a client with encryption, without its address.
fn answer_over_tls(options: &str, client: &[&str]) -> Option<String> {
    let here = support::short_paths::directory();
    openssl(&["version"], here.path())?;
    let running = RunningServer::start(tcp(encryption()).bind().unwrap());
    let bind = "ssl crt {directory}/both.pem ca-file {directory}/grace.pem verify optional alpn h2";
    let haproxy = Haproxy::start(&running.address(), options, (LOOPBACK, bind), |directory| {
        certify("server", directory);
        certify("grace", directory);
        let both = ["server.pem", "server.key"]
            .map(|file| fs::read_to_string(directory.join(file)).unwrap());
        fs::write(directory.join("both.pem"), both.concat()).unwrap();
    })?;
    let address = haproxy.address.to_string();
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-tls1_3",
            "-servername",
            "example.com",
            "-alpn",
            "h2",
        ])
        .args(["-connect", &address])
        .args(client)
        .current_dir(haproxy.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Kept open: the program leaves when its standard input ends.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    running.close();
    let line = String::from_utf8(output.stdout).unwrap();
    let (client, rest) = line.split_once(' ').expect("an answer");
    assert!(client.starts_with("127.0.0.1:"), "{line}");
    Some(rest.trim_end().to_owned())
}

#[test]
fn haproxy_states_the_certificate_of_the_client_and_what_else_it_knows() {
    alone(|| {
        let with_certificate = ["-cert", "grace.pem", "-key", "grace.key"];
        let Some(answer) = answer_over_tls("send-proxy-v2-ssl-cn", &with_certificate) else {
            return;
        };
        let expected = r#"Some("TLSv1.3") Some("grace") false true true None Some("h2") false"#;
        assert_eq!(answer, expected);

        let options = "send-proxy-v2 proxy-v2-options \
                       ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id";
        let answer = answer_over_tls(options, &with_certificate);
        let expected =
            r#"Some("TLSv1.3") Some("grace") true true true Some("example.com") Some("h2") true"#;
        assert_eq!(answer.as_deref(), Some(expected));

        let answer = answer_over_tls("send-proxy-v2-ssl-cn", &[]);
        let expected = r#"Some("TLSv1.3") None false true false None Some("h2") false"#;
        assert_eq!(answer.as_deref(), Some(expected));
    });
}
