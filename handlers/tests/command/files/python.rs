//! A client in Python, written from the protocol's page.

use std::process::Command;

use super::site::Site;

#[test]
fn a_client_that_was_written_from_the_page_alone_is_served() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/files_client.py");
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: python3 is not installed");
        return;
    }
    for mixin in ["threading", "forking", "reactor"] {
        let site = Site::new();
        let served = site.serve(&["--mixin", mixin]);
        let port = served.address().port().to_string();
        let mut client = Command::new("python3");
        client.args([program, "127.0.0.1", &port, "ada", "sesame"]);
        let output = client.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mixin}: {error}");
        assert!(output.stdout.ends_with(b"done\n"), "{mixin}");
        served.stop();
    }
}
