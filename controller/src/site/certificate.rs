//! The API's certificate while the controller runs. A controller that runs for years must not end up with one that
//! has ended: it is looked at now and then, and made anew long before. Connections that are open stay; new ones get
//! the new one.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::authority::{Authority, AuthorityError};

/// The certificate that the API shows now.
pub struct Certificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Certificate {
    /// For exactly these names: the one that is kept, or a new one.
    pub fn open(
        authority: Arc<Authority>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Arc<Self>, AuthorityError> {
        let current = RwLock::new(Arc::new(authority.server(names, now)?));
        Ok(Arc::new(Self { authority, names: names.to_vec(), current }))
    }

    /// Makes it anew if too little of it is left; whether it was. Blocks on the disk.
    pub fn renew(&self, now: Timestamp) -> Result<bool, AuthorityError> {
        let fresh = self.authority.server(&self.names, now)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let renewed = current.cert.first() != fresh.cert.first();
        if renewed {
            *current = Arc::new(fresh);
        }
        Ok(renewed)
    }

    /// TLS that shows whatever is current.
    pub fn tls(self: &Arc<Self>) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        // HTTP/1.1 only: its flow control is TCP's, which uploads of gigabytes want.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_anew_long_before_it_ends_and_not_sooner() {
        let folder = tempfile::tempdir().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-21T08:45:00Z");
        let authority = Arc::new(Authority::open(folder.path(), now).unwrap());
        let certificate = Certificate::open(authority, &["127.0.0.1".to_owned()], now).unwrap();
        let first = certificate.shown();
        assert!(!certificate.renew(at("2027-11-21T08:45:00Z")).unwrap());
        assert!(Arc::ptr_eq(&first, &certificate.shown()));

        assert!(certificate.renew(at("2028-03-21T08:45:00Z")).unwrap());
        let second = certificate.shown();
        assert_ne!(first.cert[0], second.cert[0]);
        assert_eq!(first.cert[1], second.cert[1], "clients trust the authority, which stays");
        assert!(!certificate.renew(at("2028-03-22T08:45:00Z")).unwrap(), "it is kept");

        // What cannot be renewed stays in use.
        std::fs::remove_file(folder.path().join("server.key")).unwrap();
        assert!(certificate.renew(at("2030-03-21T08:45:00Z")).is_err());
        assert!(Arc::ptr_eq(&second, &certificate.shown()));
    }
}
