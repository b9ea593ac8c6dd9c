//! TLS clients that others have written: OpenSSL's, curl, Python's.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use socketserver::{
    Address, BaseServer, HandlerFactory, ReactorMixIn, Serve, StreamRequest, TcpServer,
    ThreadingMixIn, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::own_process::alone;
use support::running_server::RunningServer;
use support::services::{TlsEcho, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// A server with client certificates, which are optional, and with a protocol above.
fn serve(
    authority: &Authority,
    factory: impl HandlerFactory<StreamRequest>,
) -> RunningServer<impl BaseServer> {
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    let options = options
        .client_ca(authority.file())
        .alpn(["http/1.1", "echo"]);
    let config = options.client_certificates_are_optional().load().unwrap();
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    RunningServer::start(layers.bind().unwrap())
}

fn port(address: &Address) -> String {
    let Address::Inet(address) = address else {
        panic!("no port: {address}");
    };
    address.port().to_string()
}

/// Runs a program with this input; `None` if the program is not installed.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: {program}, which is not installed");
        return None;
    };
    // It fails if the program has ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Some(child.wait_with_output().unwrap())
}

fn assert_shows(output: &Output, expected: &[&str]) {
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    for expected in expected {
        assert!(shown.contains(expected), "{expected}: {shown}{errors}");
    }
    assert!(output.status.success(), "{shown}{errors}");
}

#[test]
fn openssl_talks_with_the_server_in_both_versions() {
    alone(|| {
        let authority = Authority::new();
        let grace = authority.client("Grace");
        let running = serve(&authority, || TlsEcho);
        let address = format!("localhost:{}", port(&running.address()));
        let file = authority.file();
        for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let arguments = [
                "s_client",
                "-connect",
                &address,
                "-4",
                option,
                "-CAfile",
                file.to_str().unwrap(),
                "-verify_return_error",
                "-servername",
                "localhost",
                "-verify_hostname",
                "localhost",
                "-alpn",
                "echo",
                "-cert",
                grace.certificate.to_str().unwrap(),
                "-key",
                grace.key.to_str().unwrap(),
                "-quiet",
                "-no_ign_eof",
            ];
            let mut command = Command::new("openssl");
            let command = command.args(arguments).stdin(Stdio::piped());
            let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut child) = command.spawn() else {
                println!("skipped: openssl, which is not installed");
                return;
            };
            // The end of its input would end it before the answer.
            let mut keyboard = child.stdin.take().unwrap();
            keyboard.write_all(b"who\n").unwrap();
            let mut screen = std::io::BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut screen, &mut line).unwrap();
            let expected = format!("CN=Grace,O=Navy for localhost, over {version}, echo\n");
            assert_eq!(line, expected);
            drop(keyboard);
            assert!(child.wait().unwrap().success());
        }
        running.close();
    });
}

#[test]
fn curl_fetches_a_page_in_both_versions() {
    alone(|| {
        let authority = Authority::new();
        let factory = stream_handler(|request| {
            while request
                .next_line(1000)?
                .is_some_and(|line| line != "\r" && !line.is_empty())
            {}
            let version = request.tls_session().unwrap().version().to_owned();
            write!(
                request,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{version}"
            )?;
            Ok(request.flush()?)
        });
        let running = serve(&authority, factory);
        let url = format!("https://localhost:{}/", port(&running.address()));
        let file = authority.file();
        for (version, name) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
            let flag = format!("--tlsv{version}");
            let arguments = [
                "-4",
                "--silent",
                "--show-error",
                "--max-time",
                "30",
                "--noproxy",
                "*",
                "--cacert",
                file.to_str().unwrap(),
                &flag,
                "--tls-max",
                version,
                &url,
            ];
            let Some(output) = run("curl", &arguments, "") else {
                return;
            };
            assert_shows(&output, &[name]);
        }
        // Without TLS the server's alert ends the connection.
        let plain = url.replace("https", "http");
        let arguments = [
            "-4",
            "--silent",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            &plain,
        ];
        if let Some(output) = run("curl", &arguments, "") {
            assert!(!output.status.success() || output.stdout.starts_with(&[21, 3]));
        }
        running.close();
    });
}

/// A conversation of two lines, a large answer, a resumed session and the end with notice.
const PYTHON: &str = r#"
import socket, ssl, sys
port, authority, certificate, key = int(sys.argv[1]), *sys.argv[2:]
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["echo"])
    session = None
    for number in range(3):
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        client = context.wrap_socket(plain, server_hostname="localhost", session=session)
        file = client.makefile("rwb")
        for line in b"who\n", b"x" * 200_000 + b"\n":
            file.write(line)
            file.flush()
            answer = file.readline()
            assert line == b"who\n" or answer == line, len(answer)
            if line == b"who\n":
                print(answer.decode().strip(), "resumed" if client.session_reused else "full")
        session = client.session
        assert client.selected_alpn_protocol() == "echo"
        file.close()
        # Sends close_notify, and waits for the server's.
        client.unwrap().close()
"#;

#[test]
fn python_talks_with_the_server_in_both_versions_and_resumes_its_sessions() {
    alone(|| {
        let authority = Authority::new();
        let grace = authority.client("Grace");
        let running = serve(&authority, || TlsEcho);
        let port = port(&running.address());
        let paths = [&authority.file(), &grace.certificate, &grace.key];
        let paths = paths.map(|path| path.to_str().unwrap());
        let arguments = [&["-c", PYTHON, &port], &paths[..]].concat();
        if let Some(output) = run("python3", &arguments, "") {
            let line = |version, kind| {
                format!("CN=Grace,O=Navy for localhost, over {version}, echo {kind}\n")
            };
            let expected = ["TLSv1.2", "TLSv1.3"].map(|version| {
                let [full, resumed] = ["full", "resumed"].map(|kind| line(version, kind));
                format!("{full}{resumed}{resumed}")
            });
            assert_shows(&output, &[&expected.concat()]);
        }
        running.close();
    });
}

#[test]
fn python_is_served_by_a_reactor_beside_silent_clients() {
    alone(|| {
        let authority = Authority::new();
        let grace = authority.client("Grace");
        let identity = authority.server(&["localhost"]);
        let options = TlsOptions::new(&identity.certificate, &identity.key).alpn(["echo"]);
        let config = options.client_ca(authority.file()).load().unwrap();
        let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ReactorMixIn::new);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let running = RunningServer::start(layers.bind().unwrap());
        let silent = [(); 20].map(|()| support::clients::StreamClient::connect(&running.address()));
        let port = port(&running.address());
        let paths = [&authority.file(), &grace.certificate, &grace.key];
        let paths = paths.map(|path| path.to_str().unwrap());
        let arguments = [&["-c", PYTHON, &port], &paths[..]].concat();
        if let Some(output) = run("python3", &arguments, "") {
            assert_shows(&output, &["over TLSv1.3, echo resumed"]);
        }
        drop(silent);
        running.close();
    });
}
