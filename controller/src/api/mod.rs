//! The HTTP API. Thin: extract, ask the workflow or the store, answer. It decides nothing about jobs; the only
//! decisions here are who may call (auth.rs) and which status a refusal gets (error.rs).
//!
//! ```text
//!   request ─▶ auth (token, role, audit) ─▶ handler ─▶ Workflow | Store ─▶ view ─▶ answer
//!                                              └─ refusal ─▶ error.rs: {error, message, details?, request_id}
//! ```

mod auth;
mod body;
mod callbacks;
mod error;
mod events;
mod job_view;
mod jobs;
mod machines;
mod schema;
mod status_webhook;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};

use crate::workflow::Workflow;

pub use error::ApiError;

/// Largest request body in bytes; checked before anything is parsed.
pub const BODY_MAX: usize = 4 << 20;

/// What every handler reaches for.
#[derive(Clone)]
pub struct ApiState {
    /// The jobs, and through them the store and the clock.
    pub workflow: Arc<Workflow>,
    /// Who tried wrong tokens lately.
    guard: Arc<auth::Guard>,
}

/// Every route below `/api/v1`.
pub fn router(workflow: Arc<Workflow>) -> Router {
    let state = ApiState { workflow, guard: Arc::new(auth::Guard::default()) };
    let people = Router::new()
        .route("/jobs", post(jobs::submit).get(jobs::list))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/events", get(events::events))
        .route("/jobs/{id}/logs", get(jobs::logs))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/retry", post(jobs::retry))
        .route("/jobs/{id}/release", post(jobs::release))
        .route("/machines", post(machines::add).get(machines::list))
        .route("/machines/{serial}", get(machines::show).put(machines::replace).delete(machines::remove))
        .route("/machines/{serial}/release", post(machines::release))
        .route("/machines/{serial}/probe", post(machines::probe))
        .route("/machines/{serial}/power", get(machines::power).post(machines::set_power))
        .route("/callbacks", post(callbacks::create).get(callbacks::list))
        .route("/callbacks/{id}", get(callbacks::show).put(callbacks::replace).delete(callbacks::remove))
        .route("/callbacks/{id}/rotate", post(callbacks::rotate))
        .route("/callbacks/{id}/test", post(callbacks::test))
        .route("/callbacks/{id}/deliveries", get(callbacks::deliveries))
        .route("/callbacks/{id}/deliveries/{seq}/replay", post(callbacks::replay))
        .route("/tokens", post(tokens::create).get(tokens::list))
        .route("/tokens/{id}", delete(tokens::revoke))
        .layer(middleware::from_fn_with_state(state.clone(), auth::people));
    let open = Router::new()
        .route("/schema/recipe", get(schema::recipe))
        .route("/schema/event", get(schema::event))
        .route("/status-webhook/{serial}", post(status_webhook::report));
    Router::new()
        .nest("/api/v1", people.merge(open).fallback(error::no_such_path))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(error::shape))
        .with_state(state)
}
