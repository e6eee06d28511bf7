//! The only place for outbound requests that do not go to BMCs: payload URLs and callbacks. People name these URLs,
//! so each is judged before anything is sent: scheme, every address its name resolves to, every redirect again.
//!
//! ```text
//!   url ─▶ scheme? ─▶ resolve ─▶ rules: every address allowed? ─▶ connect to those very addresses ─▶ bounds
//!    ▲                                                                            │
//!    └──────────────────────── redirect (GET only, at most 5) ◀───────────────────┘
//! ```
//! It does not know what the bytes are for.

mod http;
mod rules;

use async_trait::async_trait;
use bytes::Bytes;

pub use http::HttpFetch;
pub use rules::{AddressRules, Prefix};

/// Outbound requests.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Whether a URL may be asked at all, as names resolve now.
    async fn check(&self, url: &str) -> Result<(), FetchError>;
    /// The bytes behind a URL: at most `max`, and only if their SHA-256 (hex) is `sha256`.
    async fn get(&self, url: &str, sha256: &str, max: usize) -> Result<Bytes, FetchError>;
    /// Posts a JSON body; answers the status. Redirects are not followed.
    async fn post(&self, url: &str, headers: &[(&str, String)], body: String) -> Result<u16, FetchError>;
}

/// Why an outbound request was not made, or not answered well.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL.
    #[error("this is not a URL; write http://… or https://…")]
    NotAUrl(#[source] url::ParseError),
    /// Not HTTP.
    #[error("scheme {scheme} is not allowed; use http or https")]
    Scheme {
        /// Which.
        scheme: String,
    },
    /// Its name does not resolve.
    #[error("the name {host} does not resolve; check it and the controller's DNS")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It goes where no outbound request may go.
    #[error("{host} is at {address}, a {kind} address; allow it in the configuration if that is meant")]
    Denied {
        /// The name.
        host: String,
        /// Its address.
        address: std::net::IpAddr,
        /// Kind of address.
        kind: &'static str,
    },
    /// It did not answer in time, or the connection broke.
    #[error("{host} does not answer; check the route from the controller to it")]
    Unreachable {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered with an error.
    #[error("{host} answers {status}")]
    Status {
        /// The name.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// It sends its visitors around.
    #[error("{host} redirects more than {max} times, or to nowhere")]
    Redirects {
        /// The last name.
        host: String,
        /// The limit.
        max: u32,
    },
    /// More bytes than allowed.
    #[error("{host} sends more than the {max} bytes that are allowed here")]
    TooLarge {
        /// The name.
        host: String,
        /// The limit.
        max: usize,
    },
    /// Not the bytes that were meant.
    #[error("the bytes have SHA-256 {found}, not {expected}; correct the recipe or what is served there")]
    Digest {
        /// As the recipe says.
        expected: String,
        /// As received.
        found: String,
    },
}
