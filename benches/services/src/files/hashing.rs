//! What plain FTP would reach if the hash were added to its time.

use std::fs;
use std::hint::black_box;
use std::io;
use std::time::Instant;

use measuring::{Measurement, Rounds};
use sha2::{Digest, Sha256};

use crate::figures::{Figure, Sample};
use crate::servers::Server;
use crate::transfers::Material;

/// The column.
pub const TITLE: &str = "vsftpd, and SHA-256";

/// Adds the column: in each round, FTP's time and that of one hash of the same bytes.
pub fn add_to(measurement: &mut Measurement<Figure>, material: &Material) -> io::Result<()> {
    let Some(ftp) = measurement.of(Server::Ftp.title()) else {
        return Ok(());
    };
    let bytes = fs::read(material.large())?;
    let mebibytes = bytes.len() as f64 / f64::from(1 << 20);
    let mut samples = Vec::new();
    for round in 0..ftp.samples.len() {
        let start = Instant::now();
        black_box(Sha256::digest(&bytes));
        let hash = start.elapsed().as_secs_f64();
        eprintln!("SHA-256 of {mebibytes} MiB: {hash:.2} s");
        let rate = ftp.figure(round, Figure::Rate);
        let both = rate.map(|rate| mebibytes / (mebibytes / rate + hash));
        samples.push(both.map(|rate| Sample::from([(Figure::Rate, rate)])));
    }
    measurement.servers.push(Rounds {
        server: TITLE,
        samples,
    });
    Ok(())
}
