//! Passwords: stored and checked in the tutorial's way, and in today's.
//!
//! `cargo run --release -p socketserver-handlers --example passwords`
//!
//! Neither way stores the password itself. They differ in the cost of each try of a thief.

use std::time::{Duration, Instant};

use socketserver_handlers::password::{PasswordError, StoredPassword, TutorialPassword};

const PASSWORD: &str = "open sesame";

/// The mean time of a check.
fn cost(times: u32, check: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    for _ in 0..times {
        assert!(std::hint::black_box(check()));
    }
    begin.elapsed() / times
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> Result<(), PasswordError> {
    let tutorial = TutorialPassword::new(PASSWORD)?;
    let (key, digest) = tutorial.parts();
    println!("HMAC-MD5: key {}, digest {}", hex(&key), hex(&digest));
    println!(
        "  {PASSWORD:?}: {}, {:?}: {}",
        tutorial.is(PASSWORD),
        "open barley",
        tutorial.is("open barley")
    );
    println!("  a try costs {:?}", cost(10_000, || tutorial.is(PASSWORD)));

    let stored = StoredPassword::new(PASSWORD)?;
    println!("Argon2id: {stored}");
    println!(
        "  {PASSWORD:?}: {}, {:?}: {}",
        stored.is(PASSWORD),
        "open barley",
        stored.is("open barley")
    );
    println!("  a try costs {:?}", cost(5, || stored.is(PASSWORD)));
    Ok(())
}
