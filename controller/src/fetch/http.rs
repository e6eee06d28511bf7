//! The real outbound requests. Each connects to the very addresses that were judged, so that a name that changes
//! its mind between the question and the connection gains nothing.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::{AddressRules, Fetch, FetchError};

/// For one connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// For a whole GET, redirects and body included.
const GET_DEADLINE: Duration = Duration::from_secs(60);
/// For a whole POST: receivers are told to answer first and work later.
const POST_DEADLINE: Duration = Duration::from_secs(15);
/// For one name.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// Redirects followed by a GET.
const REDIRECTS_MAX: u32 = 5;

/// Outbound requests over HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpFetch {
    rules: AddressRules,
}

impl HttpFetch {
    /// Under these rules.
    pub fn new(rules: AddressRules) -> Self {
        Self { rules }
    }

    /// A URL that may be asked, with the addresses it may be asked at.
    async fn judge(&self, url: &str) -> Result<(Url, String, Vec<SocketAddr>), FetchError> {
        let url = Url::parse(url).map_err(FetchError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme { scheme: url.scheme().to_owned() });
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(FetchError::NotAUrl(url::ParseError::EmptyHost));
        };
        let name = host.to_string();
        let addresses = match host {
            Host::Ipv4(ip) => vec![SocketAddr::new(ip.into(), port)],
            Host::Ipv6(ip) => vec![SocketAddr::new(ip.into(), port)],
            Host::Domain(domain) => {
                let fault = |source| FetchError::Resolve { host: name.clone(), source };
                let resolved =
                    tokio::time::timeout(RESOLVE_DEADLINE, tokio::net::lookup_host((domain, port)))
                        .await
                        .map_err(|_| fault(std::io::ErrorKind::TimedOut.into()))?;
                resolved.map_err(fault)?.collect()
            }
        };
        if addresses.is_empty() {
            return Err(FetchError::Resolve { host: name, source: std::io::ErrorKind::NotFound.into() });
        }
        for address in &addresses {
            if let Some(kind) = self.rules.refuses(address.ip()) {
                return Err(FetchError::Denied { host: name, address: address.ip(), kind });
            }
        }
        Ok((url, name, addresses))
    }

    fn client(
        host: &str,
        addresses: &[SocketAddr],
        deadline: Duration,
    ) -> Result<reqwest::Client, FetchError> {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(deadline)
            .resolve_to_addrs(host, addresses)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unreachable_at(host, error))
    }

    async fn follow(&self, url: &str) -> Result<(reqwest::Response, String), FetchError> {
        let mut next = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let (url, host, addresses) = self.judge(&next).await?;
            let client = Self::client(&host, &addresses, GET_DEADLINE)?;
            let response =
                client.get(url.clone()).send().await.map_err(|error| unreachable_at(&host, error))?;
            let status = response.status();
            if status.is_success() {
                return Ok((response, host));
            }
            if !status.is_redirection() {
                return Err(FetchError::Status { host, status: status.as_u16() });
            }
            let to = response.headers().get("location").and_then(|to| to.to_str().ok());
            match to.and_then(|to| url.join(to).ok()) {
                Some(to) => next = to.to_string(),
                None => return Err(FetchError::Redirects { host, max: REDIRECTS_MAX }),
            }
        }
        Err(FetchError::Redirects { host: "it".to_owned(), max: REDIRECTS_MAX })
    }

    async fn download(&self, url: &str, max: usize) -> Result<Bytes, FetchError> {
        let (mut response, host) = self.follow(url).await?;
        let too_large = || FetchError::TooLarge { host: host.clone(), max };
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable_at(&host, error))? {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// A transport error, without the URL: it may carry a token in its query.
fn unreachable_at(host: &str, error: reqwest::Error) -> FetchError {
    FetchError::Unreachable { host: host.to_owned(), source: Box::new(error.without_url()) }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn check(&self, url: &str) -> Result<(), FetchError> {
        self.judge(url).await.map(drop)
    }

    async fn get(&self, url: &str, sha256: &str, max: usize) -> Result<Bytes, FetchError> {
        let body = match tokio::time::timeout(GET_DEADLINE, self.download(url, max)).await {
            Ok(body) => body?,
            Err(elapsed) => {
                let host = Url::parse(url).ok().and_then(|url| url.host().map(|host| host.to_string()));
                return Err(FetchError::Unreachable {
                    host: host.unwrap_or_default(),
                    source: Box::new(elapsed),
                });
            }
        };
        let found = hex::encode(Sha256::digest(&body));
        if found != sha256.to_lowercase() {
            return Err(FetchError::Digest { expected: sha256.to_owned(), found });
        }
        Ok(body)
    }

    async fn post(&self, url: &str, headers: &[(&str, String)], body: String) -> Result<u16, FetchError> {
        let (url, host, addresses) = self.judge(url).await?;
        let client = Self::client(&host, &addresses, POST_DEADLINE)?;
        let mut request = client.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| unreachable_at(&host, error))?;
        Ok(response.status().as_u16())
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
