//! What the steps ask of the registry: is it there, and give me its bytes. A client of OCI distribution
//! (`/v2/…/manifests`, `/v2/…/blobs`), read-only, with the job's session token. Knows no disks.
//!
//! TLS is checked against the site's own authority and nothing else. Plain HTTP is spoken to the loopback
//! alone (tests): a session token does not travel in the clear.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use schema::task::TaskImage;
use sha2::{Digest as _, Sha256};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::handoff::Token;
use crate::manifest::{self, Manifest, ManifestError};

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(15);
/// Time until the answer's headers are there; a registry may have to wake a disk.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest silence in the middle of a body, after which the reader asks again from where it was.
const SILENCE: Duration = Duration::from_secs(30);
/// Largest manifest, as OCI distribution asks of registries.
const MANIFEST_MAX: u64 = 4 << 20;

/// One repository of a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    agent: Agent,
    base: String,
    repository: String,
    token: Token,
}

/// An answer that does not do.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The token must not travel in the clear.
    #[error(
        "{base} is not https: the session token is sent to a loopback registry in the clear, and to no other"
    )]
    Insecure {
        /// Base URL.
        base: String,
    },
    /// The site's certificate cannot be read.
    #[error("reading the site's certificate authority from job.json")]
    Authority(#[source] Box<ureq::Error>),
    /// The proxy cannot be used.
    #[error(
        "the proxy of job.json is not one: host_network.proxy is written http://[user:password@]host:port"
    )]
    Proxy(#[source] Box<ureq::Error>),
    /// No answer.
    #[error("asking {url}")]
    Ask {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It is not there.
    #[error("{url} is not in the registry any more (404): push the image again and submit a new job")]
    Gone {
        /// What was asked for.
        url: String,
    },
    /// Not with this token.
    #[error(
        "{url} may not be read with this job's token ({status}): the job is over, or the image is not the one its recipe names"
    )]
    Forbidden {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Any other answer.
    #[error("{url} was answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Bytes that are not what the digest says.
    #[error("{url} does not hold what its digest says: got sha256:{got}")]
    Digest {
        /// What was asked for.
        url: String,
        /// Digest of what came.
        got: String,
    },
    /// A blob of another size than its manifest says.
    #[error("{url} has {got} bytes, its manifest says {expected}: push the image again and submit a new job")]
    Size {
        /// What was asked for.
        url: String,
        /// Bytes there.
        got: u64,
        /// Bytes the manifest says.
        expected: u64,
    },
    /// The registry does not say how large it is.
    #[error("{url} was answered without Content-Length")]
    NoLength {
        /// What was asked for.
        url: String,
    },
    /// A manifest that cannot be read.
    #[error("reading {url}")]
    Manifest {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A body that broke off.
    #[error("reading the answer of {url}")]
    Body {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Registry {
    /// A client for that image's repository.
    pub fn new(
        image: &TaskImage,
        token: Token,
        site_ca: Option<&str>,
        proxy: Option<&str>,
    ) -> Result<Self, RegistryError> {
        let base = image.registry.trim_end_matches('/').to_owned();
        let secure = base.starts_with("https://");
        if !secure && !is_loopback(&base) {
            return Err(RegistryError::Insecure { base });
        }
        // No authority: nothing is trusted, so an https registry is refused rather than guessed at.
        let mut roots = Vec::new();
        for item in ureq::tls::parse_pem(site_ca.unwrap_or_default().as_bytes()) {
            if let ureq::tls::PemItem::Certificate(certificate) =
                item.map_err(|source| RegistryError::Authority(Box::new(source)))?
            {
                roots.push(certificate);
            }
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let proxy = proxy
            .map(ureq::Proxy::new)
            .transpose()
            .map_err(|source| RegistryError::Proxy(Box::new(source)))?;
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(secure)
            .proxy(proxy)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("slipway-tools/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, base, repository: image.repository.clone(), token })
    }

    /// URL of a manifest.
    pub fn manifest_url(&self, digest: &str) -> String {
        format!("{}/v2/{}/manifests/{digest}", self.base, self.repository)
    }

    /// URL of a blob.
    pub fn blob_url(&self, digest: &str) -> String {
        format!("{}/v2/{}/blobs/{digest}", self.base, self.repository)
    }

    /// The manifest of that digest; of an index, the one for this kind of machine.
    pub fn manifest(&self, digest: &str) -> Result<Manifest, RegistryError> {
        let (url, bytes) = self.document(digest)?;
        let refuse = |source| RegistryError::Manifest { url: url.clone(), source };
        match manifest::parse(&bytes).map_err(refuse)? {
            manifest::Document::Image(found) => Ok(found),
            manifest::Document::Index { amd64 } => {
                let (url, bytes) = self.document(&amd64)?;
                match manifest::parse(&bytes) {
                    Ok(manifest::Document::Image(found)) => Ok(found),
                    Ok(manifest::Document::Index { .. }) => {
                        Err(RegistryError::Manifest { url, source: ManifestError::NestedIndex })
                    }
                    Err(source) => Err(RegistryError::Manifest { url, source }),
                }
            }
        }
    }

    fn document(&self, digest: &str) -> Result<(String, Vec<u8>), RegistryError> {
        let url = self.manifest_url(digest);
        let mut response = self
            .ask(self.agent.get(&url).header("Accept", manifest::ACCEPT), &url)
            .and_then(|response| judge(response, &url, &[200]))?;
        let mut bytes = Vec::new();
        response
            .body_mut()
            .as_reader()
            .take(MANIFEST_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| RegistryError::Body { url: url.clone(), source })?;
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(RegistryError::Manifest {
                url,
                source: ManifestError::TooLarge { limit: MANIFEST_MAX },
            });
        }
        let got = hex::encode(Sha256::digest(&bytes));
        if digest != format!("sha256:{got}") {
            return Err(RegistryError::Digest { url, got });
        }
        Ok((url, bytes))
    }

    /// Proves that a manifest is there, without reading it.
    pub fn has_manifest(&self, digest: &str) -> Result<(), RegistryError> {
        let url = self.manifest_url(digest);
        let request = self.agent.head(&url).header("Accept", manifest::ACCEPT);
        self.ask(request, &url).and_then(|response| judge(response, &url, &[200])).map(drop)
    }

    /// Proves that a blob of that size is there, without reading it.
    pub fn has_blob(&self, digest: &str, size: u64) -> Result<(), RegistryError> {
        let url = self.blob_url(digest);
        let response = self.ask(self.agent.head(&url), &url)?;
        let response = judge(response, &url, &[200])?;
        let length = response
            .headers()
            .get("content-length")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<u64>().ok());
        match length {
            None => Err(RegistryError::NoLength { url }),
            Some(got) if got != size => Err(RegistryError::Size { url, got, expected: size }),
            Some(_) => Ok(()),
        }
    }

    /// Opens a blob for reading from that byte on.
    pub fn open_blob(&self, digest: &str, offset: u64) -> Result<impl Read + Send + use<>, RegistryError> {
        let url = self.blob_url(digest);
        let request = self.agent.get(&url);
        let (request, status) = if offset == 0 {
            (request, 200)
        } else {
            (request.header("Range", format!("bytes={offset}-")), 206)
        };
        let response = self.ask(request, &url)?;
        let response = judge(response, &url, &[status])?;
        Ok(response.into_body().into_reader())
    }

    fn ask(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
        url: &str,
    ) -> Result<ureq::http::Response<ureq::Body>, RegistryError> {
        request
            .header("Authorization", self.token.bearer())
            .call()
            .map_err(|source| RegistryError::Ask { url: url.to_owned(), source: Box::new(source) })
    }
}

fn judge<T>(
    response: ureq::http::Response<T>,
    url: &str,
    good: &[u16],
) -> Result<ureq::http::Response<T>, RegistryError> {
    let url = url.to_owned();
    match response.status().as_u16() {
        status if good.contains(&status) => Ok(response),
        404 => Err(RegistryError::Gone { url }),
        status @ (401 | 403) => Err(RegistryError::Forbidden { url, status }),
        status => Err(RegistryError::Status { url, status }),
    }
}

/// Whether a plain-HTTP base URL leads to this very machine.
fn is_loopback(base: &str) -> bool {
    let Some(rest) = base.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    !authority.contains('@') && matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_the_clear_beyond_the_loopback() {
        for (base, ok) in [
            ("http://127.0.0.1:5000", true),
            ("http://localhost:5000", true),
            ("http://[::1]:5000", true),
            ("http://10.0.0.5:5000", false),
            ("http://127.0.0.1@10.0.0.5:80", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(is_loopback(base), ok, "{base}");
        }
    }
}
