//! A private certificate authority and one server certificate, for trial use. The authority's key
//! is thrown away, so nothing else is ever signed by it.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{ToSpan as _, Zoned, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::clock::Clock;

/// How long the certificates last.
const DAYS: i64 = 820;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error("`{path}` exists; it is not overwritten")]
    Exists { path: Utf8PathBuf },
    #[error("could not make a certificate for {hosts}")]
    Make { hosts: String, source: rcgen::Error },
    #[error("could not write `{path}`")]
    Write { path: Utf8PathBuf, source: io::Error },
}

/// The files that [`make`] writes.
#[derive(Debug)]
pub struct Files {
    /// What agents and `fleetctl` are told to trust.
    pub authority: Utf8PathBuf,
    pub certificate: Utf8PathBuf,
    /// 0600.
    pub key: Utf8PathBuf,
}

/// Makes `ca.pem`, `server.pem` and `server.key` in `dir`, for a server that is reached as any of
/// `hosts` (names or addresses).
pub fn make(dir: &Utf8Path, hosts: &[String], clock: &Clock) -> Result<Files, CertificateError> {
    let files = Files {
        authority: dir.join("ca.pem"),
        certificate: dir.join("server.pem"),
        key: dir.join("server.key"),
    };
    for path in [&files.authority, &files.certificate, &files.key] {
        if path.exists() {
            return Err(CertificateError::Exists { path: path.clone() });
        }
    }
    let today = Zoned::new(clock.now(), TimeZone::UTC).date();
    let [authority, certificate, key] = sign(hosts, today)
        .map_err(|source| CertificateError::Make { hosts: hosts.join(", "), source })?;
    fs::create_dir_all(dir)
        .map_err(|source| CertificateError::Write { path: dir.to_owned(), source })?;
    write(&files.authority, &authority, 0o644)?;
    write(&files.certificate, &certificate, 0o644)?;
    write(&files.key, &key, 0o600)?;
    Ok(files)
}

/// PEM of authority, certificate and key.
fn sign(hosts: &[String], today: Date) -> Result<[String; 3], rcgen::Error> {
    let mut authority = params(Vec::new(), "fleetd trial authority", today)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let name = hosts.first().map_or("fleet-server", String::as_str);
    let mut server = params(hosts.to_vec(), name, today)?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok([authority.pem(), certificate.pem(), key.serialize_pem()])
}

fn params(hosts: Vec<String>, name: &str, today: Date) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let midnight = |date: Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = midnight(today.saturating_sub(1.day()));
    params.not_after = midnight(today.saturating_add(DAYS.days()));
    Ok(params)
}

fn write(path: &Utf8Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            CertificateError::Exists { path: path.to_owned() }
        } else {
            CertificateError::Write { path: path.to_owned(), source }
        }
    })
}
