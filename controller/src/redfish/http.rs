//! One BMC endpoint: sends one request, reads one answer.
//!
//! It holds the manners that keep weak BMCs alive and credentials at home: no proxies, no redirects, no
//! compression, no kept connections, bounded answers, deadlines, every request through the [`Door`] that bounds how much a
//! BMC is asked and leaves one in trouble alone, and every link checked to lead back to this very endpoint.
//! It knows no resources and no sessions; what an answer means is decided above.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, CONNECTION, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER,
};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::address::{BmcAddress, TlsTrust};
use super::classify::Refusal;
use super::error::BmcError;
use super::gate::{Door, Entry, Pass, Place, Shut};
use super::origin::{broken, origin_of, path_on, shown};
use super::profile::{Stretch, Waits};
use super::reach::{self, JudgedNames};
use super::roots;
use super::tls::{Seen, fetch_fingerprint, is_certificate_fault, pinned_config};
use super::wire::{Body, Resource};
use super::work::Work;

/// Largest answer read. A full expanded collection of a big server is well under 1 MiB.
const ANSWER_LIMIT: usize = 4 << 20;
/// Longest pause taken on a BMC's `Retry-After` before a request is sent again.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(30);
/// How often a change refused with 429 or 503 and a `Retry-After` is sent again.
const CHANGE_RETRIES: u32 = 3;
/// Longest link that an error quotes.
const LINK_LIMIT: usize = 200;
/// Longest reason kept for leaving a BMC alone.
const REASON_LIMIT: usize = 160;
/// Whole-request deadline as a multiple of the deadline between two pieces.
const WHOLE_REQUEST: u32 = 2;

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Calls an action, makes a member.
    Post,
    /// Changes attributes.
    Patch,
    /// Removes.
    Delete,
}

impl Verb {
    /// As HTTP spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What to do.
    pub verb: Verb,
    /// Path on this endpoint, as [`Endpoint::path`] gives it.
    pub path: &'a str,
    /// JSON to send.
    pub body: Option<&'a Value>,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request without body.
    pub fn bare(verb: Verb, path: &'a str) -> Self {
        Self { verb, path, body: None, if_match: None }
    }
}

/// One answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Body,
    etag: Option<String>,
    /// `Location`, unchecked.
    pub location: Option<String>,
    /// `Retry-After`, bounded.
    pub retry_after: Option<Duration>,
    /// `X-Auth-Token`.
    pub token: Option<HeaderValue>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and message id. Not the message: some services quote the request they refuse.
    fn in_short(&self) -> String {
        let id = Refusal::read(self.status, &self.body).message_id;
        let id = id.map_or_else(String::new, |id| format!(" ({id})"));
        format!("HTTP {}{id}", self.status).chars().take(REASON_LIMIT).collect()
    }

    /// The resource in it, when the body is a JSON object.
    pub fn resource(self) -> Option<Resource> {
        match self.body {
            Body::Json(json) if json.is_object() => Some(Resource::new(json, self.etag.as_deref())),
            _ => None,
        }
    }
}

/// An answer that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Oddity {
    /// No JSON object where a resource was asked for.
    #[error("the answer is no JSON object but: {0}")]
    NoResource(String),
    /// Beyond what is read.
    #[error("the answer is longer than 4 MiB")]
    TooLong,
}

/// One BMC's address with a client for it.
#[derive(Debug)]
pub struct Endpoint {
    origin: Url,
    client: reqwest::Client,
    door: Door,
    requests: AtomicU32,
    seen: Seen,
    pinned: bool,
    /// How long to wait for what, before the family is known.
    waits: Waits,
    /// The same, stretched as the family needs it.
    stretched: OnceLock<Waits>,
    /// What is going on, for people.
    pub work: Work,
}

impl Endpoint {
    /// Checks the address and prepares a client; sends nothing.
    pub fn new(address: &BmcAddress, waits: Waits, entry: Entry<'_>) -> Result<Self, BmcError> {
        let origin = origin_of(&address.url)?;
        reach::check(&origin, entry.gates.judge())?;
        let refused = |reason: &str| BmcError::Address { url: shown(&origin), reason: reason.into() };
        if origin.scheme() == "http" && !address.plain_http_allowed {
            return Err(refused(
                "plain http sends the password in the clear; use https:// or allow it for this machine",
            ));
        }
        // Other rooms install the same provider; whoever comes second changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Seen::default();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(JudgedNames(Arc::clone(entry.gates.judge()))))
            .connect_timeout(waits.connect)
            // How long a silence may last differs by what is read, and is seen to there.
            .timeout(waits.read * WHOLE_REQUEST)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .default_headers(manners());
        let mut pinned = false;
        match &address.tls {
            TlsTrust::Pinned(pin) => {
                pinned = true;
                builder = builder.tls_backend_preconfigured(pinned_config(Some(*pin), seen.clone())?);
            }
            // Nobody is to be trusted where nothing is encrypted.
            TlsTrust::SystemRoots if origin.scheme() == "http" => {
                builder = builder.tls_backend_preconfigured(pinned_config(None, seen.clone())?);
            }
            TlsTrust::SystemRoots => {
                let config = roots::system_config().map_err(|error| {
                    refused(&format!(
                        "this system has no certificate authorities to judge it by ({error}): install ca-certificates, or pin \
                         its certificate"
                    ))
                })?;
                builder = builder.tls_backend_preconfigured(config);
            }
            TlsTrust::Authorities(pem) => {
                let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                    .ok()
                    .filter(|bundle| !bundle.is_empty())
                    .ok_or_else(|| refused("its certificate authorities are not PEM certificates"))?;
                builder = builder.tls_certs_only(authorities);
            }
        }
        let client = builder.build().map_err(|source| broken(&origin, source))?;
        let door = entry.gates.door(&origin, address.system.as_deref(), entry.site, entry.by_hand);
        let stretched = OnceLock::new();
        let work = Work::default();
        Ok(Self { client, door, requests: AtomicU32::new(0), seen, pinned, waits, stretched, work, origin })
    }

    /// scheme://host:port, for people.
    pub fn shown(&self) -> String {
        shown(&self.origin)
    }

    /// Whether what is sent is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.origin.scheme() == "https"
    }

    /// How long to wait for what.
    pub fn waits(&self) -> &Waits {
        self.stretched.get().unwrap_or(&self.waits)
    }

    /// Gives this BMC the time that its family needs. Only the first call counts.
    pub fn stretch(&self, stretch: &Stretch) {
        let _ = self.stretched.set(stretch.of(&self.waits));
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The path a link leads to on this endpoint.
    ///
    /// # Errors
    /// `ForeignLink` when it leads anywhere else.
    pub fn path(&self, link: &str) -> Result<String, BmcError> {
        path_on(&self.origin, link).ok_or_else(|| BmcError::ForeignLink {
            endpoint: self.shown(),
            link: link.chars().take(LINK_LIMIT).collect(),
        })
    }

    /// Sends a request, and again where that is harmless: reads after a broken connection or a 5xx, changes only
    /// when the BMC itself says when to come back.
    pub async fn send(
        &self,
        ask: Ask<'_>,
        login: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<Answer, BmcError> {
        let (mut breaks, mut tries) = (0, 0);
        loop {
            let sent = match self.door.enter(ask.verb == Verb::Get).await {
                Ok(pass) => self.send_once(ask, login, pass).await,
                Err(shut) => return Err(self.left_alone(shut)),
            };
            let pause = match sent {
                Ok(answer) => {
                    let again = match ask.verb {
                        Verb::Get => answer.status == 429 || (answer.status >= 500 && answer.status != 501),
                        _ => matches!(answer.status, 429 | 503) && answer.retry_after.is_some(),
                    };
                    let most = if ask.verb == Verb::Get { self.waits().read_retries } else { CHANGE_RETRIES };
                    if !again || tries == most {
                        return Ok(answer);
                    }
                    tries += 1;
                    answer.retry_after.unwrap_or_else(|| self.pause(tries))
                }
                Err(error @ BmcError::Unreachable { .. }) => {
                    if ask.verb != Verb::Get || breaks == self.waits().connect_retries {
                        return Err(error);
                    }
                    breaks += 1;
                    self.pause(breaks)
                }
                Err(error) => return Err(error),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends one request once, also to a BMC that is left alone: a goodbye.
    pub async fn send_anyway(
        &self,
        ask: Ask<'_>,
        login: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<Answer, BmcError> {
        self.send_once(ask, login, self.door.enter_anyway().await).await
    }

    /// A place for one stream of events; none where the BMC has one already, or is left alone.
    pub fn place(&self) -> Option<Place> {
        self.door.place()
    }

    /// Reads something that nobody depends on: once, and whatever comes of it is no failure of the BMC's.
    pub async fn read_aside(&self, path: &str, login: &(HeaderName, HeaderValue)) -> Option<Resource> {
        let pass = self.door.enter(true).await.ok()?;
        let answer = self.exchange(Ask::bare(Verb::Get, path), Some(login)).await.ok()?;
        if !answer.is_success() {
            return None;
        }
        pass.answered();
        answer.resource()
    }

    /// Opens what a BMC goes on sending, for `most` in all. It passes no door: an open stream is no request in flight, and
    /// with one of the two permits for reads it would halve what the BMC is asked, with one of everybody's it would, a few
    /// hundred streams later, stop everybody. What bounds streams is their [`Place`].
    pub async fn stream(
        &self,
        path: &str,
        accept: HeaderValue,
        login: &(HeaderName, HeaderValue),
        most: Duration,
    ) -> Option<reqwest::Response> {
        let url = self.origin.join(path).ok()?;
        let request = self.client.get(url).header(ACCEPT, accept).header(&login.0, &login.1).timeout(most);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let opened = request.send().await.map_err(reqwest::Error::without_url);
        opened.inspect_err(|error| tracing::debug!(bmc = %self.shown(), %error, "no stream of events")).ok()
    }

    /// The pause before another try, `tries` having been made: longer each time, and no two alike.
    pub fn pause(&self, tries: u32) -> Duration {
        self.door.pause(self.waits().retry, tries)
    }

    async fn send_once(
        &self,
        ask: Ask<'_>,
        login: Option<&(HeaderName, HeaderValue)>,
        pass: Pass<'_>,
    ) -> Result<Answer, BmcError> {
        let sent = self.exchange(ask, login).await;
        match &sent {
            Err(BmcError::Unreachable { source, .. }) => pass.failed(in_short(source.as_ref())),
            // 501 is what a sound BMC says to what it never learnt.
            Ok(answer) if answer.status >= 500 && answer.status != 501 => pass.failed(answer.in_short()),
            _ => pass.answered(),
        }
        sent
    }

    async fn exchange(
        &self,
        ask: Ask<'_>,
        login: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<Answer, BmcError> {
        let url = self.origin.join(ask.path).map_err(|source| broken(&self.origin, source))?;
        let method = match ask.verb {
            Verb::Get => reqwest::Method::GET,
            Verb::Post => reqwest::Method::POST,
            Verb::Patch => reqwest::Method::PATCH,
            Verb::Delete => reqwest::Method::DELETE,
        };
        let mut request = self.client.request(method, url);
        if let Some((name, value)) = login {
            request = request.header(name, value);
        }
        if let Some(tag) = ask.if_match.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.work.ask(ask.verb, ask.path);
        let mut response = match timeout(self.waits.read, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(source)) => return Err(self.transport(source).await),
            Err(_) => return Err(self.silent()),
        };
        let headers = response.headers();
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Body::Empty,
            etag: text(ETAG),
            location: text(LOCATION),
            retry_after: text(RETRY_AFTER)
                .and_then(|value| retry_after(&value, text(DATE).as_deref()))
                .map(|pause| pause.min(RETRY_AFTER_MOST)),
            token: headers.get("x-auth-token").cloned(),
        };
        let mut bytes = Vec::new();
        loop {
            match timeout(self.waits.read, response.chunk()).await {
                Ok(Ok(Some(piece))) if bytes.len() + piece.len() > ANSWER_LIMIT => {
                    return Err(self.nonsense(ask.path, Oddity::TooLong));
                }
                Ok(Ok(Some(piece))) => bytes.extend_from_slice(&piece),
                Ok(Ok(None)) => break,
                Ok(Err(source)) => return Err(self.transport(source).await),
                Err(_) => return Err(self.silent()),
            }
        }
        answer.body = Body::read(&bytes);
        self.work.answer(answer.status);
        tracing::debug!(bmc = %self.shown(), verb = ?ask.verb, path = ask.path, status = answer.status, "redfish");
        Ok(answer)
    }

    fn silent(&self) -> BmcError {
        let text = format!("it said nothing for {} s", self.waits.read.as_secs());
        broken(&self.origin, std::io::Error::new(std::io::ErrorKind::TimedOut, text))
    }

    async fn transport(&self, source: reqwest::Error) -> BmcError {
        if !is_certificate_fault(&source) {
            return broken(&self.origin, source.without_url());
        }
        let found =
            if self.pinned { self.seen.get() } else { fetch_fingerprint(self.origin.as_str()).await.ok() };
        let found = found.map_or_else(|| "(not shown again)".to_owned(), |found| found.to_string());
        BmcError::Certificate { endpoint: self.shown(), found }
    }

    fn left_alone(&self, shut: Shut) -> BmcError {
        let Shut { since, failures, reason, retry_at } = shut;
        BmcError::CircuitOpen { endpoint: self.shown(), since, failures, reason, retry_at }
    }

    /// An answer that cannot be read.
    pub fn nonsense(&self, what: impl Into<String>, source: Oddity) -> BmcError {
        BmcError::Nonsense { endpoint: self.shown(), what: what.into(), source: source.into() }
    }
}

/// The deepest cause, which is what says most: `Connection refused (os error 111)`.
fn in_short(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().chars().take(REASON_LIMIT).collect()
}

fn manners() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("odata-version", HeaderValue::from_static("4.0"));
    // Some BMCs drop idle connections without a word and fail the next, unrelated call.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers
}

/// Reads `Retry-After`: seconds, or a date, which is taken by the BMC's own clock (`Date`), wrong as that may be.
fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| jiff::fmt::rfc2822::parse(text.trim()).ok().map(|zoned| zoned.timestamp());
    let pause = time(value)?.duration_since(time(date?)?);
    Some(Duration::try_from(pause).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_bmcs_own_clock() {
        let now = Some("Thu, 01 Jan 1970 00:05:00 GMT");
        for (value, date, wanted) in [
            ("7", None, Some(7)),
            (" 7 ", now, Some(7)),
            ("Thu, 01 Jan 1970 00:05:09 GMT", now, Some(9)),
            ("Thu, 01 Jan 1970 00:04:00 GMT", now, Some(0)),
            ("Thu, 01 Jan 1970 00:05:09 GMT", None, None),
            ("soon", now, None),
            ("-3", now, None),
        ] {
            assert_eq!(retry_after(value, date), wanted.map(Duration::from_secs), "{value}");
        }
    }
}
