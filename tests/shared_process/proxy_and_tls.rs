//! A PROXY header before the TLS handshake, and inside of the encryption.

use std::io::Write;

use socketserver::{
    AnyMixIn, BaseServer, ProxyProtocolMixIn, ReactorMixIn, Serve, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadingMixIn, TlsConfig, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::proxies::{LINE, LOCAL, address_echo};
use support::running_server::RunningServer;
use support::tls_clients::{TlsClients, VERSIONS};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";
const ANSWER: &str = "192.0.2.7:1000 127.0.0.1 hello";

fn config(authority: &Authority) -> TlsConfig {
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    options.load().unwrap()
}

fn mix_ins<S: BaseServer>(next: impl Fn() -> S) -> [AnyMixIn<S>; 3] {
    [
        AnyMixIn::Threading(ThreadingMixIn::new(next())),
        AnyMixIn::ThreadPool(ThreadPoolMixIn::new(next())),
        AnyMixIn::Reactor(ReactorMixIn::new(next())),
    ]
}

fn trusting<S: BaseServer<Request = StreamRequest>>(next: S) -> ProxyProtocolMixIn<S> {
    ProxyProtocolMixIn::new(next).trust("127.0.0.1".parse().unwrap())
}

#[test]
fn a_header_before_the_handshake_names_the_client_of_an_encrypted_connection() {
    let authority = Authority::new();
    let config = config(&authority);
    let tcp = || TcpServer::new(LOOPBACK, address_echo());
    for layers in mix_ins(tcp) {
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let running = RunningServer::start(layers.mix_in(trusting).bind().unwrap());
        for (version, name) in VERSIONS {
            let clients = TlsClients::with(&authority, &[version], None);
            let connection = StreamClient::connect(&running.address());
            connection.send(LINE);
            let mut client = clients.over(connection);
            assert_eq!(client.exchange("hello"), ANSWER, "{name}");
        }
        // A health check makes no handshake, and is no failed one.
        let check = StreamClient::connect(&running.address());
        check.socket().write_all(LOCAL).unwrap();
        check.reset();
        let handle = running.handle();
        eventually("all have ended", || handle.statistics().finished == 3);
        running.close();
        assert_eq!(handle.statistics().failed, 0);
    }
}

#[test]
fn a_header_inside_of_the_encryption_names_the_client() {
    let authority = Authority::new();
    let config = config(&authority);
    let tcp = || TcpServer::new(LOOPBACK, address_echo());
    for layers in mix_ins(tcp) {
        let layers = layers.mix_in(trusting);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let running = RunningServer::start(layers.bind().unwrap());
        for (version, name) in VERSIONS {
            let clients = TlsClients::with(&authority, &[version], None);
            let mut client = clients.connect(&running.address());
            assert_eq!(client.exchange(&format!("{LINE}hello")), ANSWER, "{name}");
        }
        let handle = running.handle();
        eventually("all have ended", || handle.statistics().active == 0);
        running.close();
        assert_eq!(handle.statistics().failed, 0);
    }
}
