//! The registry behind the same guard as the API: whoever guesses a token there is slowed down here as well.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::api::{Guard, WINDOW};
use crate::registry::auth::Credentials;
use crate::registry::error::RegistryError;

/// Puts routes that tell wrong credentials by 401 behind the guard.
pub fn guarded(routes: Router, guard: Arc<Guard>) -> Router {
    routes.layer(middleware::from_fn_with_state(guard, pass))
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    // Clients ask without credentials first, to be told which kind is wanted. That is no guess.
    if !Credentials::may_be_guessed(request.headers()) {
        return next.run(request).await;
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    if guard.refuses(from) {
        return RegistryError::Guessing { wait: WINDOW }.into_response();
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        guard.failed(from);
    }
    response
}
