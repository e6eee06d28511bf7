//! HTTP to the controller: JSON in, JSON out, refusals in the controller's own words. Knows no command.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::model::Secret;

/// For reaching the controller, TLS included.
const CONNECT: Duration = Duration::from_secs(15);
/// For one call. The controller gives a BMC up to three minutes to switch a machine.
const CALL: Duration = Duration::from_secs(240);
/// Largest answer read: logs of a job.
const ANSWER_MAX: usize = 64 << 20;
/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One controller.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// What a controller or its registry refused, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable code, such as `conflict.active_job`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Faults one by one, as `path: message`.
    pub faults: Vec<String>,
    /// To find it in the controller's log.
    pub request_id: Option<String>,
}

impl Refusal {
    fn text(&self) -> String {
        let mut text = format!("{} [{}]", self.message, self.code);
        for fault in &self.faults {
            text.push_str("\n  ");
            text.push_str(fault);
        }
        if let (Some(id), true) = (&self.request_id, self.status >= 500) {
            let _ = write!(text, "\n  request {id} in the controller's log"); // a String takes everything
        }
        text
    }

    /// Reads the body of a refusal: the API's shape, the registry's, or neither.
    pub fn read(status: u16, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(first) = value["errors"].get(0) {
            let code = text(&first["code"]).unwrap_or_default();
            let message = text(&first["message"]).unwrap_or_else(|| code.clone());
            return Self { status, code, message, faults: vec![], request_id: None };
        }
        let fault = |fault: &Value| {
            let message = text(&fault["message"])?;
            Some(match fault["path"].as_str() {
                Some(path) if !path.is_empty() => format!("{path}: {message}"),
                _ => message,
            })
        };
        Self {
            status,
            code: text(&value["error"]).unwrap_or_else(|| format!("status {status}")),
            message: text(&value["message"]).unwrap_or_else(|| "the answer is none of Slipway's".to_owned()),
            faults: value["details"].as_array().into_iter().flatten().filter_map(fault).collect(),
            request_id: text(&value["request_id"]),
        }
    }
}

/// A path of segments, each percent-encoded.
pub fn path(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}

impl Client {
    /// A client that trusts `ca` alone, or without one the system's authorities.
    pub fn new(base: Url, token: &Secret<String>, ca: Option<&str>) -> anyhow::Result<Self> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .context("the token file holds something that is no token")?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::AUTHORIZATION, bearer);
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = ca {
            let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .context("the authority is no PEM certificate")?;
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self { http: builder.build().context("preparing TLS")?, base })
    }

    /// `host:port` of the controller, as references in recipes would name it.
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Absolute URL of a path, or of a Location.
    pub fn url(&self, path: &str) -> anyhow::Result<Url> {
        let url = self.base.join(path).with_context(|| format!("{path:?} is no path"))?;
        // The token goes to the controller and to nobody else.
        anyhow::ensure!(url.origin() == self.base.origin(), "{url} is not at {}", self.base);
        Ok(url)
    }

    /// A request without a deadline: the caller sets one.
    pub fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.request(method, self.url(path)?))
    }

    /// Sends a request; an answer that is no success becomes a [`Refusal`].
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(reqwest::Error::without_url).with_context(|| {
            format!("asking the controller at {} (is it running? see --url and --ca)", self.base)
        })?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = bounded(response).await.unwrap_or_default();
        Err(Refusal::read(status, &body).into())
    }

    /// One JSON call.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.request(method, path)?.timeout(CALL);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.json(request).await
    }

    /// The JSON answer to a request that was put together elsewhere.
    pub async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = self.send(request.timeout(CALL)).await?;
        let body = bounded(response).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("the controller's answer is no JSON")
    }

    /// `GET` below `/api/v1`.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, &format!("/api/v1{path}"), None).await
    }

    /// `POST` below `/api/v1`.
    pub async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.call(Method::POST, &format!("/api/v1{path}"), body).await
    }

    /// `PUT` below `/api/v1`.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, &format!("/api/v1{path}"), Some(body)).await
    }

    /// `DELETE` below `/api/v1`.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, &format!("/api/v1{path}"), None).await
    }
}

/// A body within [`ANSWER_MAX`].
async fn bounded(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) =
        response.chunk().await.map_err(reqwest::Error::without_url).context("reading the answer")?
    {
        anyhow::ensure!(
            body.len() + piece.len() <= ANSWER_MAX,
            "the answer is larger than {ANSWER_MAX} bytes"
        );
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_api_registry_and_strangers_are_read() {
        let api = br#"{"error":"invalid_recipe","message":"2 faults","request_id":"r",
            "details":[{"path":"/wipe","message":"unknown"},{"path":"","message":"too long"}]}"#;
        assert_eq!(
            Refusal::read(400, api).to_string(),
            "2 faults [invalid_recipe]\n  /wipe: unknown\n  too long"
        );
        let registry = br#"{"errors":[{"code":"DENIED","message":"may not push"}]}"#;
        assert_eq!(Refusal::read(403, registry).to_string(), "may not push [DENIED]");
        let ours = br#"{"error":"store.unavailable","message":"later","request_id":"r-1"}"#;
        assert_eq!(
            Refusal::read(503, ours).to_string(),
            "later [store.unavailable]\n  request r-1 in the controller's log"
        );
        assert_eq!(Refusal::read(502, b"<html>").to_string(), "the answer is none of Slipway's [status 502]");
    }

    #[test]
    fn segments_of_a_path_stay_segments() {
        assert_eq!(path(&["machines", "A/B 1", "power"]), "/machines/A%2FB%201/power");
    }

    #[test]
    fn the_token_goes_to_the_controller_alone() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = "https://192.0.2.5:8443".parse().unwrap();
        let client = Client::new(url, &Secret::new("slw_1".to_owned()), None).unwrap();
        assert_eq!(client.host(), "192.0.2.5:8443");
        assert!(client.url("/v2/a/blobs/uploads/1").is_ok());
        assert!(client.url("https://www.example.com/v2/").is_err());
        assert!(!format!("{client:?}").contains("slw_1"));
    }
}
