//! Whether a BMC's certificate is the one we trust.
//!
//! BMCs sign their own certificates, often with a wrong name and a wrong clock, so the usual trust is a pin:
//! the SHA-256 of the certificate seen when the machine was added. The pin replaces names and dates, never the
//! proof that the peer holds the key: handshake signatures are always checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::address::Fingerprint;
use super::certificate::Certificate;
use super::error::BmcError;
use super::origin::{broken, origin_of, shown};

/// For the whole of one look at a certificate.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);

/// Says of what kind an address is that nothing may be sent to; none when it may.
pub type Refuses<'a> = &'a (dyn Fn(IpAddr) -> Option<&'static str> + Sync);

/// Looks at the certificate a BMC shows, sending it nothing but the beginning of a handshake: for trust on first
/// use. `refuses` judges every address that the name means, and the connection goes to those very addresses.
///
/// # Errors
/// `Address` for an URL that is not HTTPS or leads where nothing may go; `Unreachable` when there is no TLS server
/// there.
pub async fn look_at_certificate(url: &str, refuses: Refuses<'_>) -> Result<Certificate, BmcError> {
    let origin = origin_of(url)?;
    if origin.scheme() != "https" {
        return Err(BmcError::Address {
            url: shown(&origin),
            reason: "only https:// has a certificate to pin".into(),
        });
    }
    let looked = tokio::time::timeout(LOOK_DEADLINE, look(&origin, refuses));
    looked.await.unwrap_or_else(|_| Err(broken(&origin, "no certificate within 30 s")))
}

/// The fingerprint of the certificate at an address that is believed to be a BMC's already.
///
/// # Errors
/// As [`look_at_certificate`].
pub async fn fetch_fingerprint(url: &str) -> Result<Fingerprint, BmcError> {
    look_at_certificate(url, &|_| None).await.map(|shown| shown.sha256)
}

async fn look(origin: &Url, refuses: Refuses<'_>) -> Result<Certificate, BmcError> {
    let host = origin.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = origin.port_or_known_default().unwrap_or(443);
    let name = ServerName::try_from(host.clone()).map_err(|source| broken(origin, source))?;
    let seen = Seen::default();
    let config = pinned_config(None, seen.clone())?;
    let resolved = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses: Vec<SocketAddr> = resolved.map_err(|source| broken(origin, source))?.collect();
    for address in &addresses {
        if let Some(kind) = refuses(address.ip()) {
            let reason =
                format!("it is at {} ({kind}); list it in allow_outgoing if that is meant", address.ip());
            return Err(BmcError::Address { url: shown(origin), reason });
        }
    }
    let tcp = TcpStream::connect(&addresses[..]).await.map_err(|source| broken(origin, source))?;
    // The verifier refuses every certificate, so that the handshake ends as soon as it was shown.
    let ended = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.err();
    match (seen.take(), ended) {
        (Some(der), _) => Ok(Certificate::read(&der)),
        (None, Some(source)) => Err(broken(origin, source)),
        (None, None) => Err(broken(origin, "the handshake ended without a certificate")),
    }
}

/// The certificate a peer showed last: for error texts, and for whoever may pin it.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl Seen {
    /// The fingerprint of what was shown, if anything was.
    pub fn get(&self) -> Option<Fingerprint> {
        self.held().as_deref().map(fingerprint)
    }

    fn take(&self) -> Option<CertificateDer<'static>> {
        self.held().take()
    }

    fn set(&self, shown: &CertificateDer<'_>) {
        *self.held() = Some(shown.clone().into_owned());
    }

    fn held(&self) -> MutexGuard<'_, Option<CertificateDer<'static>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TLS client that trusts exactly `pin`; without a pin it trusts nobody and only notes what it saw.
pub fn pinned_config(pin: Option<Fingerprint>, seen: Seen) -> Result<ClientConfig, BmcError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Pin { wanted: pin, seen, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|source| BmcError::Nonsense {
        endpoint: "(none yet)".into(),
        what: "setting up TLS".into(),
        source: source.into(),
    })?;
    let mut config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// TLS sessions remembered, all of the one BMC. What rustls would keep room for by itself takes 30 KiB for each client.
const SESSIONS: usize = 8;

/// SHA-256 of a certificate.
pub fn fingerprint(certificate: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

#[derive(Debug)]
struct Pin {
    wanted: Option<Fingerprint>,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.seen.set(end_entity);
        if self.wanted == Some(fingerprint(end_entity)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a transport error says that the certificate was not believed.
pub fn is_certificate_fault(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
            return true;
        }
        // An io::Error hides what it wraps from `source()`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| is_certificate_fault(inner)) {
            return true;
        }
        next = error.source();
    }
    false
}
