//! Certificates for the servers and clients of a test, made anew each time.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// An authority, in a directory of its own, which is removed together with the value.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and of its private key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The PEM file of the certificate.
    pub certificate: PathBuf,
    /// The PEM file of the key.
    pub key: PathBuf,
    serial: u64,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "An authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("authority.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { directory, issuer }
    }

    /// The PEM file of the authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// A path in the authority's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for a server with these names, of which the first is the subject.
    pub fn server(&self, names: &[&str]) -> Identity {
        let names = Vec::from_iter(names.iter().map(|&name| name.to_owned()));
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, &*names[0]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// Makes a certificate as [`server`](Self::server) does, signed by an authority below this one.
    /// The certificate of that authority is the second in the file.
    pub fn server_by_an_authority_below(&self, names: &[&str]) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "An authority below");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let below = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
        };
        let signed = below.server(names);
        let serial = signed.serial;
        let identity = Identity {
            certificate: self.path(&format!("{serial}.pem")),
            key: self.path(&format!("{serial}.key")),
            serial,
        };
        signed.copy_to(&identity.certificate, &identity.key);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&identity.certificate)
            .unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        identity
    }

    /// A certificate for a client of this name, in the organization `Navy`.
    pub fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::OrganizationName, "Navy");
        subject.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Identity {
        let serial = next_serial();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: self.path(&format!("{serial}.pem")),
            key: self.path(&format!("{serial}.key")),
            serial,
        };
        fs::write(&identity.certificate, certificate.pem()).unwrap();
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// The PEM file of a list that revokes these certificates.
    pub fn revoke(&self, revoked: &[&Identity]) -> PathBuf {
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        let file = self.path("revoked.pem");
        fs::write(&file, list.pem().unwrap()).unwrap();
        file
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Copies both files over those of another identity.
    pub fn copy_to(&self, certificate: &Path, key: &Path) {
        fs::copy(&self.certificate, certificate).unwrap();
        fs::copy(&self.key, key).unwrap();
    }
}

/// A serial number that no other certificate of this process has.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Relaxed)
}
