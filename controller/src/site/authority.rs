//! The site's own certificate authority and the API's certificate. Hosts trust this authority and no other; it
//! travels to them on the signed task medium.
//!
//! ```text
//! ca.pem, ca.key          made once, 10 years
//! server.pem, server.key  kept while names match and more than RENEW is left, else made anew
//! ```
//! Both are backdated by a day, because the clocks of machines without an operating system are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::files::{self, FileError};

/// How long the authority lasts.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3653);
/// How long a server certificate lasts; 825 days is the most that Apple's clients accept of a private authority.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(24 * 825);
/// A server certificate with less left is made anew.
const RENEW: SignedDuration = SignedDuration::from_hours(24 * 365);
/// How far certificates reach into the past. The calendar day it falls on counts as a whole.
const BACKDATE: SignedDuration = SignedDuration::from_hours(24);

/// The opened authority.
pub struct Authority {
    /// PEM certificate of the authority.
    pub ca_pem: String,
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file.
    #[error("certificate files")]
    File(#[from] FileError),
    /// One of two files is missing.
    #[error("{present} is there, {missing} is not; restore it from a backup")]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A key or certificate cannot be made or read.
    #[error("{what}")]
    Certificate {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// A name that no certificate can carry.
    #[error("{name:?} is neither a host name nor an IP address; correct api_names and api_url")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM file holds something else.
    #[error("{path} holds no {wanted}; remove it to have it made anew")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// rustls does not take key and certificate.
    #[error("{path} and its key do not make a TLS server; remove both to have them made anew")]
    Tls {
        /// The certificate file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

impl Authority {
    /// Opens or makes the authority.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        let (ca_pem, ca_key) = match pair(folder, "ca")? {
            Some(pair) => pair,
            None => make_ca(folder, now)?,
        };
        let fault = |what| move |source| AuthorityError::Certificate { what, source };
        let key = KeyPair::from_pem(&ca_key).map_err(fault("reading the authority's key"))?;
        let issuer =
            Issuer::from_ca_cert_pem(&ca_pem, key).map_err(fault("reading the authority's certificate"))?;
        Ok(Self { ca_pem, folder: folder.to_owned(), issuer })
    }

    /// A certificate for exactly these names, with its key: the one that is kept, or a new one.
    pub fn server(&self, names: &[String], now: Timestamp) -> Result<CertifiedKey, AuthorityError> {
        let kept = pair(&self.folder, "server")?.filter(|(pem, _)| still_good(pem, &self.ca_pem, names, now));
        let (pem, key) = match kept {
            Some(pair) => pair,
            None => make_server(&self.folder, names, &self.issuer, now)?,
        };
        certified(&self.folder.join("server.pem"), &pem, &self.ca_pem, &key)
    }
}

type Pair = (String, zeroize::Zeroizing<String>);

/// Certificate and key of `name`, both or none.
fn pair(folder: &Path, name: &str) -> Result<Option<Pair>, AuthorityError> {
    let (pem_path, key_path) = paths(folder, name);
    match (files::read_secret(&pem_path)?, files::read_secret(&key_path)?) {
        (Some(pem), Some(key)) => Ok(Some((pem.to_string(), key))),
        // A key alone was interrupted between the two writes of `store`: both are made anew.
        (None, _) => Ok(None),
        (Some(_), None) => Err(AuthorityError::Half { present: pem_path, missing: key_path }),
    }
}

fn paths(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}

fn store(folder: &Path, name: &str, pem: &str, key: &KeyPair) -> Result<Pair, AuthorityError> {
    let (pem_path, key_path) = paths(folder, name);
    // The old certificate goes first: a new key beside an old certificate would not start a server.
    let gone = std::fs::remove_file(&pem_path);
    if let Err(source) = gone
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(FileError::Write { path: pem_path, source }.into());
    }
    let key = zeroize::Zeroizing::new(key.serialize_pem());
    files::write_secret(&key_path, &key)?;
    files::write_secret(&pem_path, pem)?;
    Ok((pem.to_owned(), key))
}

fn make_ca(folder: &Path, now: Timestamp) -> Result<Pair, AuthorityError> {
    let fault = |source| AuthorityError::Certificate { what: "making the site's authority", source };
    let key = KeyPair::generate().map_err(fault)?;
    let mut params = CertificateParams::default();
    // Part of the key in the name: authorities of two sites must not be taken for each other.
    let mark = hex::encode(key.public_key_raw().get(1..5).unwrap_or_default());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Slipway site {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = day(now - BACKDATE);
    params.not_after = day(now + CA_LIFE);
    let certificate = params.self_signed(&key).map_err(fault)?;
    store(folder, "ca", &certificate.pem(), &key)
}

fn make_server(
    folder: &Path,
    names: &[String],
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<Pair, AuthorityError> {
    let fault = |source| AuthorityError::Certificate { what: "making the API's certificate", source };
    for name in names {
        CertificateParams::new(vec![name.clone()])
            .map_err(|source| AuthorityError::Name { name: name.clone(), source })?;
    }
    let key = KeyPair::generate().map_err(fault)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(fault)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Slipway API");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = day(now - BACKDATE);
    params.not_after = day(now + SERVER_LIFE);
    let certificate = params.signed_by(&key, issuer).map_err(fault)?;
    store(folder, "server", &certificate.pem(), &key)
}

/// Midnight UTC of the day.
fn day(time: Timestamp) -> time::OffsetDateTime {
    let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    rcgen::date_time_ymd(
        i32::from(date.year()),
        u8::try_from(date.month()).unwrap_or(1),
        u8::try_from(date.day()).unwrap_or(1),
    )
}

/// Whether the certificate is by this authority, for exactly these names, and lasts.
fn still_good(pem: &str, ca_pem: &str, names: &[String], now: Timestamp) -> bool {
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    let (Some(der), Some(ca)) = (read(pem), read(ca_pem)) else { return false };
    let parsed = (x509_parser::parse_x509_certificate(&der), x509_parser::parse_x509_certificate(&ca));
    let (Ok((_, leaf)), Ok((_, ca))) = parsed else { return false };
    let Ok(Some(held)) = leaf.subject_alternative_name() else { return false };
    let held: BTreeSet<String> = held.value.general_names.iter().filter_map(name_of).collect();
    let wanted: BTreeSet<String> = names.iter().map(|name| canonical(name)).collect();
    let left = leaf.validity().not_after.timestamp() - now.as_second();
    held == wanted && left > RENEW.as_secs() && leaf.issuer() == ca.subject()
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(canonical(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn canonical(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}

fn certified(path: &Path, pem: &str, ca_pem: &str, key: &str) -> Result<CertifiedKey, AuthorityError> {
    let wrong = |wanted| AuthorityError::Pem { path: path.to_owned(), wanted };
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong("certificate"));
    let chain = vec![read(pem)?, read(ca_pem)?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong("private key beside it"))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|source| AuthorityError::Tls { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn open(folder: &Path, names: &[String], now: Timestamp) -> Result<Authority, AuthorityError> {
        let authority = Authority::open(folder, now)?;
        authority.server(names, now)?;
        Ok(authority)
    }

    fn server(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("server.pem")).unwrap()
    }

    #[test]
    fn the_server_certificate_is_kept_until_its_names_or_its_end_ask_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let now = at("2026-11-21T08:45:00Z");
        let first_names = names(&["127.0.0.1", "::1", "Controller.example"]);
        open(folder, &first_names, now).unwrap();
        let first = server(folder);
        // The same names in another order and spelling are the same names.
        open(folder, &names(&["controller.example", "0:0:0:0:0:0:0:1", "127.0.0.1"]), now).unwrap();
        assert_eq!(server(folder), first);
        open(folder, &names(&["127.0.0.1"]), now).unwrap();
        let second = server(folder);
        assert_ne!(second, first);
        open(folder, &names(&["127.0.0.1"]), at("2027-11-21T08:45:00Z")).unwrap();
        assert_eq!(server(folder), second);
        open(folder, &names(&["127.0.0.1"]), at("2028-03-21T08:45:00Z")).unwrap();
        assert_ne!(server(folder), second);
    }

    #[test]
    fn certificates_reach_a_day_back_and_years_forward() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-11-21T08:45:00Z");
        let authority = open(folder.path(), &names(&["10.0.2.2"]), now).unwrap();
        let ca = CertificateDer::from_pem_slice(authority.ca_pem.as_bytes()).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&ca).unwrap();
        assert_eq!(ca.validity().not_before.timestamp(), at("2026-11-20T00:00:00Z").as_second());
        assert_eq!(ca.validity().not_after.timestamp(), at("2036-11-21T00:00:00Z").as_second());
        assert!(ca.is_ca());
        let leaf = CertificateDer::from_pem_slice(server(folder.path()).as_bytes()).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        assert_eq!(leaf.validity().not_before.timestamp(), at("2026-11-20T00:00:00Z").as_second());
        assert!(!leaf.is_ca());
    }

    #[test]
    fn a_certificate_without_its_key_is_reported_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-11-21T08:45:00Z");
        open(folder.path(), &names(&["a"]), now).unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(matches!(open(folder.path(), &names(&["a"]), now), Err(AuthorityError::Half { .. })));
        assert!(folder.path().join("ca.pem").exists());
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let result = open(folder.path(), &names(&["bü"]), at("2026-11-21T08:45:00Z"));
        assert!(matches!(result, Err(AuthorityError::Name { name, .. }) if name == "bü"));
    }
}
