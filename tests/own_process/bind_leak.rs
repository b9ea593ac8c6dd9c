//! Servers that cannot be bound leave nothing open.
//!
//! The test counts the descriptors of the whole process.

use socketserver::{
    Error, ForkingTcpServer, Serve, TcpServer, ThreadPoolTcpServer, UdpServer, UnixStreamServer,
};
use support::own_process::alone;
use support::processes::descriptors;
use support::services::EchoLine;

#[test]
fn no_descriptor_leaks_when_bind_fails_1024_times() {
    alone(|| {
        let taken = TcpServer::new("127.0.0.1:0", EchoLine::default)
            .bind()
            .unwrap();
        let address = taken.local_addr().unwrap();
        let udp_taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp_address = udp_taken.local_addr().unwrap();
        let directory = support::short_paths::directory();
        let file = directory.path().join("file");
        std::fs::write(&file, "not a socket").unwrap();

        let before = descriptors();
        for _ in 0..1024 {
            let error = TcpServer::new(address, EchoLine::default)
                .bind()
                .unwrap_err();
            assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
            let error = UdpServer::new(udp_address, EchoLine::default)
                .bind()
                .unwrap_err();
            assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
            let error = ThreadPoolTcpServer::bind(address, EchoLine::default).unwrap_err();
            assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
            let error = ForkingTcpServer::bind(address, EchoLine::default).unwrap_err();
            assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
            let error = UnixStreamServer::new(&file, EchoLine::default)
                .bind()
                .unwrap_err();
            assert!(matches!(error, Error::SocketFile { .. }), "{error}");
            let error = TcpServer::new("127.0.0.1:99999", EchoLine::default)
                .bind()
                .unwrap_err();
            assert!(matches!(error, Error::InvalidAddress { .. }), "{error}");
        }
        assert_eq!(descriptors(), before);
    });
}
