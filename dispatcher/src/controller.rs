//! The wire to the controller: one POST per report, over TLS that trusts the site's authority and nothing else.
//!
//! What an answer *means* is decided purely in [`judge`]; whether to try again is [`crate::delivery`]'s business.

use std::fmt::{self, Write as _};
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use schema::event::Report;
use schema::task::TaskJob;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// A bearer token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token, unless its characters cannot go into a header.
    pub fn new(text: &str) -> Option<Self> {
        let fits =
            !text.is_empty() && text.len() <= TOKEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The secret itself, for the hand-off.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Sends reports.
pub trait Controller: Send + Sync {
    /// Sends one report, once.
    fn post(&self, token: &Token, report: &Report) -> Result<Reply, Unreachable>;
    /// Sends a log under a name of plain letters, once.
    fn send_log(&self, token: &Token, name: &str, text: &[u8]) -> Result<Reply, Unreachable>;
}

/// What the controller answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body, at most [`ANSWER_MAX`] bytes.
    pub body: Vec<u8>,
}

/// No answer came.
#[derive(Debug, Error)]
#[error("no answer from {url}")]
pub struct Unreachable {
    /// Where it was sent.
    pub url: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why the controller cannot be spoken to at all.
#[derive(Debug, Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("api_url {url:?} of job.json is not a URL")]
    Url {
        /// What it says.
        url: String,
    },
    /// Tokens would travel in clear.
    #[error("api_url {url} of job.json is not https://; tokens are not sent in clear")]
    Plain {
        /// What it says.
        url: String,
    },
    /// The authority is no certificate.
    #[error("site_ca of job.json is not a PEM certificate")]
    Authority(#[source] ureq::Error),
    /// The proxy cannot be used. Its URL is not shown: it may hold a password.
    #[error(
        "the proxy of job.json is not one: host_network.proxy is written http://[user:password@]host:port"
    )]
    Proxy(#[source] ureq::Error),
    /// There is no authority to check the controller by.
    #[error("job.json carries no site_ca, so the controller at {url} cannot be recognised")]
    NoAuthority {
        /// Where the controller is.
        url: String,
    },
}

/// Longest token, in bytes.
const TOKEN_MAX: usize = 4096;
/// Longest answer read, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// For one report, from connecting to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// For the TCP and TLS handshake; a machine has several addresses to try.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// What is kept of a refusal's text, in characters.
const TEXT_MAX: usize = 300;

type Request = ureq::RequestBuilder<ureq::typestate::WithBody>;
type Response = ureq::http::Response<ureq::Body>;

/// The controller of `job.json`.
pub struct HttpController {
    agent: ureq::Agent,
    url: String,
}

impl HttpController {
    /// Prepares for the controller that the job names; nothing is sent yet.
    pub fn new(job: &TaskJob) -> Result<Self, AddressError> {
        let host = host_of(&job.api_url).ok_or_else(|| AddressError::Url { url: job.api_url.clone() })?;
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        let is_tls = job.api_url.starts_with("https://");
        if !is_tls && !is_loopback {
            return Err(AddressError::Plain { url: job.api_url.clone() });
        }
        let roots = authority(job.site_ca.as_deref().unwrap_or_default())?;
        if is_tls && roots.is_empty() {
            return Err(AddressError::NoAuthority { url: job.api_url.clone() });
        }
        let proxy =
            job.proxy_for(&job.api_url).map(ureq::Proxy::new).transpose().map_err(AddressError::Proxy)?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .timeout_global(Some(DEADLINE))
            .timeout_connect(Some(CONNECT_DEADLINE))
            .user_agent(concat!("slipway-dispatcher/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let base = job.api_url.trim_end_matches('/');
        let url = format!("{base}/api/v1/status-webhook/{}", percent_encoded(job.expected.serial.trim()));
        Ok(Self { agent, url })
    }

    fn exchange(
        &self,
        url: &str,
        token: &Token,
        send: impl FnOnce(Request) -> Result<Response, ureq::Error>,
    ) -> Result<Reply, ureq::Error> {
        let request = self.agent.post(url).header("Authorization", format!("Bearer {}", token.reveal()));
        let response = send(request)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        response.into_body().into_reader().take(ANSWER_MAX).read_to_end(&mut body)?;
        Ok(Reply { status, body })
    }
}

impl Controller for HttpController {
    fn post(&self, token: &Token, report: &Report) -> Result<Reply, Unreachable> {
        self.exchange(&self.url, token, |request| request.send_json(report))
            .map_err(|source| Unreachable { url: self.url.clone(), source: source.into() })
    }

    fn send_log(&self, token: &Token, name: &str, text: &[u8]) -> Result<Reply, Unreachable> {
        let url = format!("{}/logs?name={}", self.url, percent_encoded(name));
        let sent = self.exchange(&url, token, |request| {
            request.header("Content-Type", "text/plain; charset=utf-8").send(text)
        });
        sent.map_err(|source| Unreachable { url, source: source.into() })
    }
}

fn authority(pem: &str) -> Result<Vec<Certificate<'static>>, AddressError> {
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(AddressError::Authority)? {
            roots.push(certificate);
        }
    }
    Ok(roots)
}

/// The host in a URL, without the brackets of an IPv6 address.
pub fn host_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.scheme()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// Everything but unreserved characters as `%XX` (RFC 3986 §2.3): serial numbers may hold anything.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// Heard and kept.
    Acknowledged(T),
    /// Heard, and the answer is no; asking again changes nothing.
    Refused(Refusal),
    /// Not heard; try again.
    Later(String),
}

/// The controller's no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the controller refused with {status}: {text}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Its words, cut.
    pub text: String,
}

/// Conflicts that pass: the machine was faster than its controller, or two reports met.
const PASSING_CONFLICTS: &[&str] = &["report.early", "report.busy"];

/// Judges an answer. 408, 425, 429, 5xx and [`PASSING_CONFLICTS`] pass; an answer that is not understood counts as
/// not heard.
pub fn judge<T: DeserializeOwned>(reply: &Reply) -> Verdict<T> {
    let fault = Fault::read(&reply.body);
    match reply.status {
        200 => match serde_json::from_slice(&reply.body) {
            Ok(answer) => Verdict::Acknowledged(answer),
            Err(fault) => Verdict::Later(format!("the controller's answer is not understood: {fault}")),
        },
        408 | 425 | 429 | 500..=599 => {
            Verdict::Later(format!("the controller answered {}: {}", reply.status, fault.message))
        }
        409 if PASSING_CONFLICTS.contains(&fault.error.as_str()) => Verdict::Later(fault.message),
        status => Verdict::Refused(Refusal { status, text: fault.message }),
    }
}

/// The controller's shape of errors.
#[derive(Default, Deserialize)]
struct Fault {
    /// Stable code.
    #[serde(default)]
    error: String,
    /// One sentence for people.
    message: String,
}

impl Fault {
    /// What a body says; of one that is not ours, its text.
    fn read(body: &[u8]) -> Self {
        let mut fault: Self = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            message: String::from_utf8_lossy(body).into_owned(),
            ..Self::default()
        });
        fault.message = fault.message.chars().take(TEXT_MAX).collect();
        fault
    }
}
