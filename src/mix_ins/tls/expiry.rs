//! When the certificates of a server end.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Returns the name and the end of a certificate; `None` if it cannot be read.
pub(super) fn expiry_of(certificate: &CertificateDer<'_>) -> Option<(String, SystemTime)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let seconds = certificate.tbs_certificate().validity().not_after;
    let end = UNIX_EPOCH.checked_add(seconds.to_unix_duration())?;
    Some((name_of(&certificate), end))
}

/// Returns the first host name in the certificate, or its subject if it has none.
fn name_of(certificate: &Certificate) -> String {
    let certificate = certificate.tbs_certificate();
    let names = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let host = names.into_iter().find_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    host.unwrap_or_else(|| certificate.subject().to_string())
}
