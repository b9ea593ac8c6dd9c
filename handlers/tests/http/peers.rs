//! The clients that people have. A test whose client is not installed prints that it skips.

use std::process::Command;

use socketserver::{ReactorMixIn, Serve, Server, TcpServer};
use socketserver_handlers::http::Http;
use support::running_server::RunningServer;

use crate::programs::run;
use crate::services::{Reflect, all_numbers};

type Stack = ReactorMixIn<TcpServer<fn() -> Http<Reflect>>>;

/// A server, and the URL of it.
fn serve() -> (RunningServer<Stack>, String) {
    let factory: fn() -> Http<Reflect> = || Http::new(Reflect::default());
    let server: Server<Stack> = ReactorMixIn::new(TcpServer::new("127.0.0.1:0", factory))
        .bind()
        .unwrap();
    let server = RunningServer::start(server);
    let url = format!("http://{}", server.address());
    (server, url)
}

fn curl(arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut command = Command::new("curl");
    let command = command.args(["--silent", "--show-error", "--max-time", "30"]);
    let output = run(command.args(arguments), input)?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn curl_gets_and_puts_on_one_connection() {
    let (server, url) = serve();
    let (first, second) = (format!("{url}/1"), format!("{url}/2"));
    let format = "%{num_connects};";
    if let Some(text) = curl(&["--write-out", format, &first, &second], b"") {
        assert_eq!(text, "GET /1 1;GET /2 0;");
        let body = "x".repeat(2_000_000);
        // curl asks for permission to send a body of this size.
        let put = curl(
            &["-T", "-", "-H", "Expect: 100-continue", &first],
            body.as_bytes(),
        );
        assert_eq!(put.unwrap(), format!("PUT /1 {body}"));
        let sized = curl(&["--data-binary", "@-", &first], body.as_bytes());
        assert_eq!(sized.unwrap(), format!("POST /1 {body}"));
    }
    server.close();
}

#[test]
fn curl_reads_chunks_and_speaks_http_1_0() {
    let (server, url) = serve();
    let url = format!("{url}/writer");
    let numbers = String::from_utf8(all_numbers()).unwrap();
    for version in ["--http1.0", "--http1.1"] {
        if let Some(text) = curl(&[version, &url], b"") {
            assert_eq!(text, numbers);
        }
    }
    if let Some(text) = curl(&["--head", &url], b"") {
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    server.close();
}

#[test]
fn wget_reads_chunks() {
    let (server, url) = serve();
    let mut command = Command::new("wget");
    let command = command.args(["-q", "-O", "-", "--tries=1", &format!("{url}/writer")]);
    if let Some(output) = run(command, b"") {
        assert_eq!(output.stdout, all_numbers());
    }
    server.close();
}

#[test]
fn http_client_of_python_keeps_its_connection() {
    let (server, url) = serve();
    let program = r#"
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=30)
connection.request("GET", "/1")
print(connection.getresponse().read().decode())
socket = connection.sock
connection.request("PUT", "/2", body=iter([b"ab", b"c"]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
print(connection.getresponse().read().decode())
connection.request("HEAD", "/writer")
response = connection.getresponse()
print(response.status, response.read())
connection.request("GET", "/writer")
print(len(connection.getresponse().read()))
assert connection.sock is socket
"#;
    let address = url.strip_prefix("http://").unwrap();
    let command = &mut Command::new("python3");
    if let Some(output) = run(command.args(["-c", program, address]), b"") {
        let text = String::from_utf8(output.stdout).unwrap();
        let length = all_numbers().len();
        assert_eq!(text, format!("GET /1 \nPUT /2 abc\n200 b''\n{length}\n"));
    }
    server.close();
}
