//! From a request to an endpoint and back: the router, the root, the token endpoint.
//!
//! Requests that change something run as a task of their own, so that a client that goes away cannot stop them halfway.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::BodyDataStream,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use futures_util::StreamExt;
use serde_json::json;

use super::{
    Registry,
    auth::{Access, Authorizer, Gate, Realm},
    blob,
    call::{Call, Service},
    catalog,
    error::RegistryError,
    manifest, numbers, referrers,
    route::Endpoint,
    tags,
    token::LIFETIME,
    upload,
};

/// Tells Docker's clients that this is a registry.
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
/// How much of a body that nobody wanted is read, so that the client sees the answer and its connection lives.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

pub(super) fn router(
    registry: Arc<Registry>,
    authorizer: Arc<dyn Authorizer>,
    realm: Option<Realm>,
) -> Router {
    let gate = Gate::new(authorizer, realm);
    let service = Arc::new(Service { registry, gate });
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .with_state(service)
}

async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let call = Call::new(service, parts, body);
    let endpoint = Endpoint::parse(call.method(), call.parts.uri.path());
    let name = endpoint.as_ref().map_or("none", Endpoint::name);
    let reads = matches!(*call.method(), Method::GET | Method::HEAD);
    let answered = if reads {
        answer(call, endpoint).await
    } else {
        let task = tokio::spawn(answer(call, endpoint));
        task.await.unwrap_or_else(|source| Err(RegistryError::Interrupted { source }))
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let (header, value) = VERSION;
    response.headers_mut().insert(header, value);
    numbers::answered(name, response.status().as_u16(), began.elapsed());
    response
}

async fn answer(call: Call, endpoint: Result<Endpoint, RegistryError>) -> Result<Response, RegistryError> {
    let answered = match endpoint {
        Ok(endpoint) => dispatch(&call, endpoint).await,
        Err(error) => Err(error),
    };
    // Who may not enter is not listened to; who fell silent is not waited for again.
    let over = matches!(
        answered,
        Err(RegistryError::Unauthenticated { .. }
            | RegistryError::Denied { .. }
            | RegistryError::BodyStalled { .. }
            | RegistryError::BodyBroken { .. })
    );
    if !over && let Some(rest) = call.rest() {
        drain(rest).await;
    }
    answered
}

async fn dispatch(call: &Call, endpoint: Endpoint) -> Result<Response, RegistryError> {
    match endpoint {
        Endpoint::Root => root(call).await,
        Endpoint::Token => token(call).await,
        Endpoint::Catalog => catalog::serve(call).await,
        Endpoint::Tags(repository) => tags::serve(call, repository).await,
        Endpoint::Manifest(repository, reference) => manifest::serve(call, repository, reference).await,
        Endpoint::Blob(repository, digest) => blob::serve(call, repository, digest).await,
        Endpoint::Uploads(repository) => upload::serve_new(call, repository).await,
        Endpoint::Upload(repository, id) => upload::serve_one(call, repository, &id).await,
        Endpoint::Referrers(repository, digest) => referrers::serve(call, repository, digest).await,
    }
}

/// `GET /v2/`: yes, this is a registry, and you may enter.
async fn root(call: &Call) -> Result<Response, RegistryError> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(call.method_error("GET, HEAD"));
    }
    call.service.gate.admit(call.headers(), &Access::Enter).await?;
    Ok(Json(json!({})).into_response())
}

/// `GET /v2/token`: a token for the credentials shown. The scopes asked for are not kept: a token can never do more
/// than its credentials, and each use is checked against them.
async fn token(call: &Call) -> Result<Response, RegistryError> {
    if *call.method() != Method::GET {
        return Err(call.method_error("GET"));
    }
    let token = call.service.gate.sell(call.headers()).await?;
    let body = json!({
        "token": token.as_str(),
        "access_token": token.as_str(),
        "expires_in": LIFETIME.as_secs(),
        "issued_at": call.registry().now().to_string(),
    });
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn drain(mut stream: BodyDataStream) {
    let reading = async {
        let mut left = DRAIN_LIMIT;
        while let Some(Ok(bytes)) = stream.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                break;
            }
        }
    };
    // Past this the connection is closed by the HTTP layer, which costs the client a new one and nothing else.
    drop(tokio::time::timeout(DRAIN_TIME, reading).await);
}
