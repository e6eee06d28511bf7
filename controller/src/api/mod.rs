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
mod capability;
mod document;
mod error;
mod events;
mod guard;
mod job_view;
mod jobs;
mod machines;
mod metrics;
mod push_rules;
mod registry;
mod schema;
mod shapes;
mod site;
mod status_webhook;
mod tokens;
mod trust;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::fetch::AddressRules;
use crate::workflow::Workflow;

pub use error::ApiError;
pub use guard::{Guard, WINDOW};
pub use registry::ImageStore;
pub use site::{AskRoom, MediumFacts, Room, SiteFacts};

/// Largest request body in bytes; checked before anything is parsed.
pub const BODY_MAX: usize = 4 << 20;

/// What every handler reaches for.
#[derive(Clone)]
pub struct ApiState {
    /// The jobs, and through them the store and the clock.
    pub workflow: Arc<Workflow>,
    /// Where a look at a BMC's certificate may go.
    outgoing: Arc<AddressRules>,
    /// How the site is set up.
    site: Arc<SiteFacts>,
    /// How much room is left.
    room: AskRoom,
    /// What the registry holds.
    images: Arc<dyn ImageStore>,
    /// Who tried wrong tokens lately.
    guard: Arc<Guard>,
}

/// Every route below `/api/v1`, and `/metrics`. `outgoing` judges where a look at a BMC's certificate may go.
pub fn router(
    workflow: Arc<Workflow>,
    outgoing: AddressRules,
    site: SiteFacts,
    room: AskRoom,
    images: Arc<dyn ImageStore>,
    guard: Arc<Guard>,
) -> Router {
    let state =
        ApiState { workflow, outgoing: Arc::new(outgoing), site: Arc::new(site), room, images, guard };
    let (people, document) = people().split_for_parts();
    let with_token = middleware::from_fn_with_state(state.clone(), auth::people);
    let people = people.layer(with_token.clone());
    let numbers = Router::new().route("/metrics", get(metrics::show)).layer(with_token);
    let (open, more) = open().split_for_parts();
    let document = Arc::new(whole(document, more));
    let open = open.route("/openapi.json", get(document::show)).layer(Extension(document));
    Router::new()
        .nest("/api/v1", people.merge(open).fallback(error::no_such_path))
        .merge(numbers)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(error::shape))
        .with_state(state)
}

/// The OpenAPI document of [`router`].
pub fn openapi() -> OpenApi {
    whole(people().split_for_parts().1, open().split_for_parts().1)
}

/// Both halves in one, with paths as they are asked for.
fn whole(people: OpenApi, open: OpenApi) -> OpenApi {
    document::base().nest("/api/v1", people.merge_from(open))
}

/// Where a token of a person or of CI is needed.
fn people() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(events::events))
        .routes(routes!(jobs::logs))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::release))
        .routes(routes!(machines::add, machines::list))
        .routes(routes!(machines::show, machines::replace, machines::remove))
        .routes(routes!(machines::release))
        .routes(routes!(capability::forget))
        .routes(routes!(trust::look))
        .routes(routes!(trust::pin))
        .routes(routes!(machines::probe))
        .routes(routes!(machines::power, machines::set_power))
        .routes(routes!(site::show))
        .routes(routes!(registry::usage))
        .routes(routes!(registry::mode, registry::set_mode))
        .routes(routes!(registry::collection, registry::collect))
        .routes(routes!(registry::verification, registry::verify))
        .routes(routes!(push_rules::add, push_rules::list))
        .routes(routes!(push_rules::show, push_rules::remove))
        .routes(routes!(push_rules::set_mode))
        .routes(routes!(push_rules::runs))
        .routes(routes!(push_rules::try_it))
        .routes(routes!(callbacks::create, callbacks::list))
        .routes(routes!(callbacks::show, callbacks::replace, callbacks::remove))
        .routes(routes!(callbacks::rotate))
        .routes(routes!(callbacks::test))
        .routes(routes!(callbacks::deliveries))
        .routes(routes!(callbacks::replay))
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::revoke))
}

/// Where none is: the schemas are no secret, and hosts have tokens of their own.
fn open() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(schema::recipe))
        .routes(routes!(schema::event))
        .routes(routes!(status_webhook::report))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(status_webhook::logs))
                .layer(DefaultBodyLimit::max(::schema::event::LOG_MAX)),
        )
}
