//! What a BMC does with an image URL before it says yes: asks for its size and reads its beginning by range,
//! because a server that cannot do ranges cannot be booted from.

use std::time::Duration;

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};

/// How much of the beginning is read, in bytes.
const PROBE: u64 = 64 << 10;
/// Deadline of one probe.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why an image cannot be used. The text is what the BMC tells its client.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Not a URL, or not one of HTTP.
    #[error("{0} is not an http:// or https:// URL")]
    NotHttp(String),
    /// No answer.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no image.
    #[error("{url} answers {method} with status {status}")]
    Status {
        /// The URL.
        url: String,
        /// `HEAD` or `GET`.
        method: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The server answers the whole image or the wrong part of it.
    #[error("{url} does not serve byte ranges: {reason}")]
    NoRanges {
        /// The URL.
        url: String,
        /// What was seen.
        reason: String,
    },
}

/// The HTTP clients of a rack's BMCs.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    /// Accepts any certificate.
    lax: Client,
    /// Checks certificates.
    strict: Client,
}

impl Fetch {
    pub fn new() -> Result<Self, reqwest::Error> {
        let base = || {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(DEADLINE)
                .pool_max_idle_per_host(0)
        };
        Ok(Self { lax: base().tls_danger_accept_invalid_certs(true).build()?, strict: base().build()? })
    }

    /// Checks that an image can be read by range; returns its size in bytes.
    pub async fn probe(&self, url: &str, verify: bool) -> Result<u64, MediaError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or_else(|| MediaError::NotHttp(url.into()))?;
        let client = if verify { &self.strict } else { &self.lax };
        let unreachable = |source: reqwest::Error| MediaError::Unreachable {
            url: url.into(),
            source: source.without_url(),
        };
        let head = client.head(parsed.clone()).send().await.map_err(unreachable)?;
        if head.status() != StatusCode::OK {
            return Err(MediaError::Status {
                url: url.into(),
                method: "HEAD",
                status: head.status().as_u16(),
            });
        }
        let no_ranges = |reason: String| MediaError::NoRanges { url: url.into(), reason };
        let size = head.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        let size = size.filter(|size| *size > 0);
        let size = size.ok_or_else(|| no_ranges("HEAD has no Content-Length above 0".into()))?;
        let last = PROBE.min(size) - 1;
        let answer = client.get(parsed).header(RANGE, format!("bytes=0-{last}")).send().await;
        let mut answer = answer.map_err(unreachable)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => return Err(no_ranges("a range request is answered with 200".into())),
            other => {
                return Err(MediaError::Status { url: url.into(), method: "GET", status: other.as_u16() });
            }
        }
        let wanted = format!("bytes 0-{last}/{size}");
        let found = answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if found != wanted {
            return Err(no_ranges(format!("Content-Range is {found:?} and not {wanted:?}")));
        }
        let mut read = 0;
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            read += chunk.len() as u64;
            if read > last + 1 {
                break;
            }
        }
        if read != last + 1 {
            return Err(no_ranges(format!("a range of {} bytes came with {read}", last + 1)));
        }
        Ok(size)
    }
}
