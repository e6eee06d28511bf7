//! Who calls: API tokens as `Authorization: Bearer`, or as the password of Basic. Each mutating call is on record
//! before it is done, and with its outcome after; whoever guesses tokens is slowed down.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::ApiState;
use super::error::ApiError;
use crate::model::{ApiToken, AuditEntry, Role};
use crate::store;
use crate::telemetry::RequestId;

/// The token that a request came with.
#[derive(Debug, Clone)]
pub struct Caller(pub ApiToken);

impl Caller {
    /// Refuses a caller whose role is too small.
    pub fn needs(&self, role: Role) -> Result<(), ApiError> {
        if self.0.role >= role {
            return Ok(());
        }
        let message =
            format!("token {:?} is {}; this needs {}", self.0.name, self.0.role.as_str(), role.as_str());
        Err(ApiError::new("auth.role", message))
    }
}

/// Lets people and CI in: finds the token, asks for `operator` where something changes, and audits it.
pub async fn people(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    if let Some(from) = from.filter(|from| state.guard.refuses(Some(*from))) {
        return Err(ApiError::new("auth.rate", format!("too many wrong tokens from {from}; wait a minute")));
    }
    let Some(caller) = caller(&state, request.headers()).await? else {
        state.guard.failed(from);
        return Err(ApiError::new(
            "auth.token",
            "send a valid API token as `Authorization: Bearer <token>`; the first one is in <state>/admin.token",
        ));
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes {
        request.extensions_mut().insert(caller);
        return Ok(next.run(request).await);
    }
    let entry = AuditEntry {
        at: state.workflow.clock().now(),
        actor: caller.0.name.clone(),
        source: from.map(|address| address.to_string()),
        request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()),
        action: request.method().to_string(),
        object: request
            .extensions()
            .get::<OriginalUri>()
            .map_or_else(|| request.uri().path().to_owned(), |uri| uri.path().to_owned()),
        detail: None,
    };
    caller.needs(Role::Operator)?;
    // On record before anything happens: what cannot be recorded is not done.
    let asked = entry.clone();
    store::asked(state.workflow.store(), move |store| store.audit(asked)).await?;
    // For handlers that put more on record than that they were called.
    request.extensions_mut().insert(entry.clone());
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    let done = AuditEntry {
        at: state.workflow.clock().now(),
        detail: Some(response.status().as_u16().to_string()),
        ..entry
    };
    if let Err(error) = store::asked(state.workflow.store(), move |store| store.audit(done)).await {
        // It is done, and the caller must hear so.
        tracing::error!(error = crate::workflow::chain(&error), "the outcome of a call is not on record");
    }
    Ok(response)
}

async fn caller(state: &ApiState, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let Some(secret) = secret(headers) else { return Ok(None) };
    let sha256 = Sha256::digest(secret.as_bytes()).into();
    let store = state.workflow.store();
    let token = match store.known_token(sha256) {
        None => store::look(store, move |store| store.token_by_hash(sha256)).await?,
        known => known,
    };
    let now = state.workflow.clock().now();
    Ok(token.filter(|token| token.is_alive(now)).map(Caller))
}

/// The secret in `Authorization`: a bearer token, or the password of Basic.
pub fn secret(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        return text.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_bearer_and_from_the_password_of_basic() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Basic dXNlcjphYmM6ZA==", Some("abc:d")),
            ("Basic !!!", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(secret(&headers).as_deref(), expected, "{value}");
        }
    }
}
