//! Servers with TLS: what the two sides agree on, and what the handler knows of its client.

use std::fs;
use std::sync::Arc;

use socketserver::{
    BaseServer, ReactorMixIn, Serve, Server, TcpServer, ThreadPoolMixIn, ThreadingMixIn, TlsConfig,
    TlsMixIn, TlsOptions, TlsStatistics, UnixStreamServer,
};
use support::certificates::{Authority, Identity};
use support::running_server::RunningServer;
use support::services::TlsEcho;
use support::tls_clients::{TLS12, TLS13, TlsClients, VERSIONS};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

fn options(identity: &Identity) -> TlsOptions {
    TlsOptions::new(&identity.certificate, &identity.key)
}

fn localhost(authority: &Authority) -> TlsConfig {
    options(&authority.server(&["localhost"])).load().unwrap()
}

/// Serves with threads.
fn serve(config: &TlsConfig) -> RunningServer<impl BaseServer> {
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    RunningServer::start(layers.bind().unwrap())
}

fn echoes<S: BaseServer>(authority: &Authority, server: Server<S>) {
    let running = RunningServer::start(server);
    for (version, name) in VERSIONS {
        let clients = TlsClients::with(authority, &[version], None);
        let mut client = clients.connect(&running.address());
        assert_eq!(client.exchange("hello"), "hello");
        let long = "x".repeat(100_000);
        assert_eq!(client.exchange(&long), long);
        let expected = format!("nobody for localhost, over {name}, none");
        assert_eq!(client.exchange("who"), expected);
        client.finish_sending();
        assert_eq!(client.rest().unwrap(), b"");
    }
    let handle = running.handle();
    eventually("both requests have ended", || {
        handle.statistics().finished == 2
    });
    assert_eq!(running.close().running, 0);
}

#[test]
fn every_mix_in_serves_encrypted_connections_of_both_versions() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let tcp = || TcpServer::new(LOOPBACK, || TlsEcho);
    // The lambda is of another type in each stack.
    macro_rules! tls {
        () => {
            |next| TlsMixIn::new(next, config.clone())
        };
    }
    echoes(&authority, tcp().mix_in(tls!()).bind().unwrap());
    let threads = tcp().mix_in(ThreadingMixIn::new);
    echoes(&authority, threads.mix_in(tls!()).bind().unwrap());
    let inside = tcp().mix_in(tls!()).mix_in(ThreadingMixIn::new);
    echoes(&authority, inside.bind().unwrap());
    let pool = tcp().mix_in(ThreadPoolMixIn::new);
    echoes(&authority, pool.mix_in(tls!()).bind().unwrap());
    let reactor = tcp().mix_in(ReactorMixIn::new);
    echoes(&authority, reactor.mix_in(tls!()).bind().unwrap());
    let inside = tcp().mix_in(tls!()).mix_in(ReactorMixIn::new);
    echoes(&authority, inside.bind().unwrap());

    let directory = support::short_paths::directory();
    let unix = UnixStreamServer::new(directory.path().join("socket"), || TlsEcho);
    echoes(&authority, unix.mix_in(tls!()).bind().unwrap());
    let full = TlsStatistics::default();
    assert_eq!(config.statistics().full, 14);
    assert_eq!(config.statistics().failed, full.failed);
    assert_eq!(config.statistics().abandoned, full.abandoned);
}

#[test]
fn a_client_chooses_the_certificate_by_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let default = authority.server(&["default.example.org"]);
    let exact = authority.server(&["www.example.org", "localhost"]);
    let wildcard = authority.server(&["*.example.org"]);
    let config = options(&default)
        .identity(&exact.certificate, &exact.key)
        .identity(&wildcard.certificate, &wildcard.key)
        .load()
        .unwrap();
    let running = serve(&config);
    let clients = TlsClients::new(&authority);
    let certificate_for = |name: &str| {
        let mut client = clients.named(name).connect(&running.address());
        let answer = client.exchange("who");
        assert!(answer.contains(&format!("for {name},")), "{answer}");
        client.server_certificate()
    };
    let default_one = certificate_for("default.example.org");
    let exact_one = certificate_for("www.example.org");
    assert_eq!(certificate_for("localhost"), exact_one);
    let wildcard_one = certificate_for("other.example.org");
    assert_eq!(certificate_for("third.example.org"), wildcard_one);
    assert!(default_one != exact_one && exact_one != wildcard_one && default_one != wildcard_one);
    // A wildcard is for one label: the client gets the default, which is not valid for the name.
    let refused = clients
        .named("a.b.example.org")
        .try_connect(&running.address());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not valid for name")
    );
    eventually("the client's alert is counted", || {
        config.statistics().failed == 1
    });
    running.close();
}

#[test]
fn a_client_that_knows_the_highest_authority_alone_is_sent_the_one_between() {
    let authority = Authority::new();
    let identity = authority.server_by_an_authority_below(&["localhost"]);
    let running = serve(&options(&identity).load().unwrap());
    let clients = TlsClients::new(&authority);
    let mut client = clients.connect(&running.address());
    assert_eq!(client.exchange("hello"), "hello");
    assert_eq!(client.tls().peer_certificates().unwrap().len(), 2);
    running.close();

    // Without it, the client does not trust the server.
    let chain = fs::read_to_string(&identity.certificate).unwrap();
    let (_, second) = chain.match_indices("-----BEGIN").nth(1).unwrap();
    let first = chain.rsplit_once(second).unwrap().0;
    fs::write(&identity.certificate, first).unwrap();
    let running = serve(&options(&identity).load().unwrap());
    let refused = clients.try_connect(&running.address()).unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    running.close();
}

#[test]
fn required_client_certificates_are_verified_and_the_handler_knows_the_client() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let config = options(&server).client_ca(authority.file()).load().unwrap();
    let running = serve(&config);
    let grace = authority.client("Grace");
    let elsewhere = Authority::new();
    let stranger = elsewhere.client("Grace");
    for (version, name) in VERSIONS {
        let client = |identity| TlsClients::with(&authority, &[version], identity);
        let mut known = client(Some(&grace)).connect(&running.address());
        let expected = format!("CN=Grace,O=Navy for localhost, over {name}, none");
        assert_eq!(known.exchange("who"), expected);
        for identity in [None, Some(&stranger)] {
            // With TLS 1.3 the client learns of the refusal after its own handshake.
            let connected = client(identity).try_connect(&running.address());
            let refused = connected.and_then(|mut client| client.rest());
            assert!(refused.unwrap_err().to_string().contains("alert"));
        }
    }
    eventually("four handshakes have failed", || {
        config.statistics().failed == 4
    });
    running.close();
}

#[test]
fn optional_client_certificates_are_verified_if_they_are_shown() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let options = options(&server).client_ca(authority.file());
    let config = options.client_certificates_are_optional().load().unwrap();
    let running = serve(&config);
    let client = |identity| TlsClients::with(&authority, &[&TLS12, &TLS13], identity);
    let grace = authority.client("Grace");
    let elsewhere = Authority::new();
    let stranger = elsewhere.client("Grace");
    let who = |identity| client(identity).connect(&running.address()).exchange("who");
    assert!(who(None).starts_with("nobody"));
    assert!(who(Some(&grace)).starts_with("CN=Grace"));
    let connected = client(Some(&stranger)).try_connect(&running.address());
    assert!(connected.and_then(|mut client| client.rest()).is_err());
    running.close();
}

#[test]
fn a_revoked_client_certificate_is_refused() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let (grace, mallory) = (authority.client("Grace"), authority.client("Mallory"));
    let options = options(&server).client_ca(authority.file());
    let list = authority.revoke(&[&mallory]);
    let config = options.client_crl(&list).load().unwrap();
    let running = serve(&config);
    let connect = |identity| {
        let client = TlsClients::with(&authority, &[&TLS13], Some(identity));
        let mut client = client.connect(&running.address());
        client.try_send(b"hello\n").and_then(|()| {
            let mut byte = client.rest();
            if let Ok(bytes) = &mut byte {
                bytes.clear();
            }
            byte
        })
    };
    let refused = connect(&mallory).unwrap_err().to_string();
    assert!(refused.contains("CertificateRevoked"), "{refused}");
    let mut client =
        TlsClients::with(&authority, &[&TLS13], Some(&grace)).connect(&running.address());
    assert_eq!(client.exchange("hello"), "hello");
    // A list that is loaded again holds for the clients that connect later.
    authority.revoke(&[&mallory, &grace]);
    config.reload().unwrap();
    assert_eq!(client.exchange("hello again"), "hello again");
    assert!(connect(&grace).is_err());
    running.close();
}

#[test]
fn the_protocol_above_is_the_server_s_preferred_one_that_the_client_offers() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let config = options(&server).alpn(["two", "one"]).load().unwrap();
    let running = serve(&config);
    let clients = TlsClients::new(&authority);
    let protocol = |offered: &[&str]| {
        let clients = clients.offering(offered);
        let mut client = clients.connect(&running.address());
        client
            .exchange("who")
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(protocol(&["one", "two"]), "two");
    assert_eq!(protocol(&["one", "three"]), "one");
    assert_eq!(protocol(&[]), "none");
    let refused = clients.offering(&["three"]).try_connect(&running.address());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    running.close();
}

#[test]
fn a_client_resumes_its_session_unless_tickets_are_off_or_the_files_were_loaded_again() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    for (version, _) in VERSIONS {
        let config = options(&server).load().unwrap();
        let running = serve(&config);
        let clients = TlsClients::with(&authority, &[version], None);
        let resumes = || {
            let mut client = clients.connect(&running.address());
            // Behind the answer, the client has its tickets.
            assert_eq!(client.exchange("hello"), "hello");
            client.is_resumed()
        };
        assert!(!resumes());
        assert!(resumes());
        assert!(resumes());
        config.reload().unwrap();
        assert!(!resumes());
        assert!(resumes());
        let statistics = config.statistics();
        assert_eq!((statistics.full, statistics.resumed), (2, 3));
        running.close();

        let config = options(&server).session_tickets(false).load().unwrap();
        let running = serve(&config);
        for _ in 0..2 {
            let mut client = clients.connect(&running.address());
            assert_eq!(client.exchange("hello"), "hello");
            assert!(!client.is_resumed());
        }
        running.close();
    }
}

#[test]
fn files_that_are_loaded_again_are_for_later_clients_and_a_broken_file_changes_nothing() {
    let authority = Authority::new();
    let [first, second] = [(); 2].map(|()| authority.server(&["localhost"]));
    let [certificate, key] = ["live.pem", "live.key"].map(|name| authority.path(name));
    first.copy_to(&certificate, &key);
    let config = TlsOptions::new(&certificate, &key).load().unwrap();
    let running = serve(&config);
    let clients = TlsClients::new(&authority);
    let mut early = clients.connect(&running.address());
    let before = early.server_certificate();

    second.copy_to(&certificate, &key);
    let mut unchanged = clients.connect(&running.address());
    assert_eq!(unchanged.exchange("hello"), "hello");
    assert_eq!(unchanged.server_certificate(), before);
    config.reload().unwrap();
    let after = clients.connect(&running.address()).server_certificate();
    assert_ne!(after, before);
    assert_eq!(early.exchange("hello"), "hello");

    let mismatched = fs::read(&first.key).unwrap();
    let breakages: [(&str, &[u8]); 4] = [
        ("live.pem", b"no certificate"),
        ("live.pem", b"-----BEGIN CERTIFICATE-----\nAAAA"),
        ("live.key", b""),
        ("live.key", &mismatched),
    ];
    for (file, content) in breakages {
        second.copy_to(&certificate, &key);
        fs::write(authority.path(file), content).unwrap();
        let error = config.reload().unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
        let present = clients.connect(&running.address()).server_certificate();
        assert_eq!(present, after);
    }
    fs::remove_file(&certificate).unwrap();
    let error = config.reload().unwrap_err().to_string();
    assert!(error.contains("live.pem"), "{error}");
    assert_eq!(
        clients.connect(&running.address()).server_certificate(),
        after
    );
    running.close();
}

#[test]
fn files_are_loaded_again_while_clients_connect() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let running = serve(&config);
    let clients = TlsClients::new(&authority);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                config.reload().unwrap();
            }
        });
        for _ in 0..50 {
            let mut client = clients.connect(&running.address());
            assert_eq!(client.exchange("hello"), "hello");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    running.close();
}

#[test]
fn options_that_cannot_be_meant_are_errors_that_name_the_file_or_the_remedy() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let missing = authority.path("missing.pem");
    let error = TlsOptions::new(&missing, &server.key).load().unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = TlsOptions::new(&server.certificate, &missing).load();
    assert!(error.unwrap_err().to_string().contains("missing.pem"));
    let error = options(&server).client_ca(&missing).load().unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = options(&server).client_ca(&server.key).load().unwrap_err();
    assert!(error.to_string().contains(".key"), "{error}");
    let with_authorities = || options(&server).client_ca(authority.file());
    let error = with_authorities().client_crl(&missing).load().unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = with_authorities().client_crl(authority.file()).load();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("revocation list"), "{error}");
    let error = options(&server).client_crl(authority.file()).load();
    assert!(error.unwrap_err().to_string().contains("client_ca"));
    let error = options(&server).client_certificates_are_optional().load();
    assert!(error.unwrap_err().to_string().contains("client_ca"));
}
