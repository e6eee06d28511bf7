//! What every API request passes first: an id, the true client address, a log line, a net under panics.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::config::Prefix;
use crate::telemetry::RequestId;

/// Header of the request id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where proxies say whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(pub Arc<[Prefix]>);

impl Proxies {
    /// The client's address: the peer's, or, when the peer is a trusted proxy, the last address in
    /// `X-Forwarded-For` that is not one.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted = |address: IpAddr| self.0.iter().any(|prefix| prefix.holds(address));
        if !trusted(peer) {
            return peer;
        }
        let listed = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = listed.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut client = peer;
        for hop in chain.iter().rev() {
            let Ok(address) = hop.parse() else { break };
            client = address;
            if !trusted(address) {
                break;
            }
        }
        client
    }
}

/// Puts every route behind [`pass`] and a net that makes a panic one request's 500.
pub fn around(routes: Router, proxies: Proxies) -> Router {
    routes.layer(CatchPanicLayer::custom(panicked)).layer(axum::middleware::from_fn_with_state(proxies, pass))
}

/// The answer to a request that hit a fault of ours. The panic itself is on stderr already.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    let body = serde_json::json!({
        "error": "internal",
        "message": "the controller has a fault; its log holds more under this answer's x-request-id",
    });
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
}

/// Gives the request an id, puts the client's address into its [`ConnectInfo`], logs and counts the answer.
pub async fn pass(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = RequestId::given_or_new(given);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let client = peer.map(|peer| SocketAddr::new(proxies.client(peer.ip(), request.headers()), peer.port()));
    if let Some(client) = client {
        request.extensions_mut().insert(ConnectInfo(client));
    }
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let client = client.map(|client| client.ip().to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", request_id = %id.0, %method, path, client);
    let mut response = next.run(request).instrument(span.clone()).await;
    let seconds = started.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    let class = format!("{}xx", status / 100);
    metrics::counter!("slipway_http_requests_total", "method" => method.to_string(), "status" => class)
        .increment(1);
    metrics::histogram!("slipway_http_seconds").record(seconds);
    span.in_scope(|| tracing::debug!(status, seconds, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let parse = |text: &&str| {
            let (address, bits) = text.split_once('/').unwrap();
            Prefix { address: address.parse().unwrap(), bits: bits.parse().unwrap() }
        };
        let proxies = Proxies(trusted.iter().map(parse).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(client(&[], "10.0.0.1", &["1.2.3.4"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, nonsense"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[]), "10.0.0.1");
    }

    #[tokio::test]
    async fn a_panic_is_one_answer_with_a_request_id() {
        async fn broken() -> &'static str {
            panic!("a test's own")
        }
        let routes = Router::new().route("/", axum::routing::get(broken));
        let routes: Router = around(routes, Proxies::default());
        let request =
            http::Request::get("/").header("x-request-id", "mine").body(axum::body::Body::empty()).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["x-request-id"], "mine");
    }
}
