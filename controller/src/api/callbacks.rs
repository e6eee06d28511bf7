//! `/api/v1/callbacks` (admin): who is told what. A subscription's secret is shown once, when it is made or rotated.

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::auth::Caller;
use super::body::Body;
use super::error::ApiError;
use super::shapes;
use crate::model::{Callback, CallbackId, Delivery, Role, Secret};
use crate::store;
use crate::workflow::{chain, fresh_secret};

/// Body of `POST /callbacks` and `PUT /callbacks/{id}`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallbackBody {
    url: String,
    /// Kinds it wants, `job.*` for all of a sort; empty: everything.
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// What can be told.
const KINDS: &[&str] = &[
    "job.*",
    "job.queued",
    "job.started",
    "job.step",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "job.complete",
    "machine.*",
    "machine.in_service",
    "machine.quarantined",
    "machine.released",
    "push_rule.run",
];
/// Secrets that are valid at once: the new one and the one before it.
const SECRETS_MAX: usize = 2;
/// Deliveries in one answer when nobody says.
const PAGE: u32 = 100;
/// Subscriptions of one site: each event is written once for every one of them.
const CALLBACKS_MAX: usize = 100;

impl CallbackBody {
    async fn check(&self, state: &ApiState) -> Result<(), ApiError> {
        if let Some(kind) = self.kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            let message = format!("{kind:?} is never told; kinds are {}", KINDS.join(", "));
            return Err(ApiError::bad_request(message));
        }
        state.workflow.check_callback_url(&self.url).await.map_err(|error| {
            let shown = self.url.split(['?', '#']).next().unwrap_or_default();
            ApiError::new("callback.url", format!("callback url {shown} is not allowed: {}", chain(&error)))
        })
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::new("callback.unknown", format!("there is no callback {id:?}"))
}

async fn all(state: &ApiState) -> Result<Vec<Callback>, ApiError> {
    Ok(store::on(state.workflow.store(), store::Store::callbacks).await?)
}

async fn found(state: &ApiState, id: &str) -> Result<Callback, ApiError> {
    all(state).await?.into_iter().find(|callback| callback.id.as_str() == id).ok_or_else(|| unknown(id))
}

fn secret() -> Result<Secret<String>, ApiError> {
    fresh_secret()
        .map_err(|_| ApiError::new("random.unavailable", "the system has no randomness yet; try again"))
}

fn with_secret(callback: &Callback, secret: &Secret<String>) -> Value {
    let mut view = json!(callback);
    view["secret"] = json!(secret.expose());
    view
}

async fn put(state: &ApiState, callback: Callback, secrets: Vec<Secret<String>>) -> Result<(), ApiError> {
    Ok(store::on(state.workflow.store(), move |store| store.put_callback(callback, secrets)).await?)
}

/// Makes a subscription.
#[utoipa::path(
    post,
    path = "/callbacks",
    tag = "callbacks",
    operation_id = "create_callback",
    request_body = CallbackBody,
    responses((status = 201, description = "Made; its secret is shown this once", body = shapes::Callback, headers(("location" = String, description = "Where it is"))), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn create(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<CallbackBody>,
) -> Result<Response, ApiError> {
    caller.needs(Role::Admin)?;
    body.check(&state).await?;
    if all(&state).await?.len() >= CALLBACKS_MAX {
        let message = format!("there are {CALLBACKS_MAX} callbacks already; remove one");
        return Err(ApiError::new("callback.too_many", message));
    }
    let secret = secret()?;
    let callback = Callback {
        id: CallbackId::fresh(),
        url: body.url,
        kinds: body.kinds,
        enabled: body.enabled,
        created_at: state.workflow.clock().now(),
    };
    let view = with_secret(&callback, &secret);
    let location = format!("/api/v1/callbacks/{}", callback.id);
    put(&state, callback, vec![secret]).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Every subscription.
#[utoipa::path(
    get,
    path = "/callbacks",
    tag = "callbacks",
    operation_id = "list_callbacks",
    responses((status = 200, description = "Every subscription", body = shapes::CallbackList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn list(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    Ok(Json(json!({ "callbacks": all(&state).await? })))
}

/// One.
#[utoipa::path(
    get,
    path = "/callbacks/{id}",
    tag = "callbacks",
    operation_id = "show_callback",
    params(("id" = String, Path, description = "The callback's id")),
    responses((status = 200, description = "The subscription", body = shapes::Callback), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn show(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    Ok(Json(json!(found(&state, &id).await?)))
}

/// Replaces address, kinds and whether it is paused; the secrets stay.
#[utoipa::path(
    put,
    path = "/callbacks/{id}",
    tag = "callbacks",
    operation_id = "replace_callback",
    params(("id" = String, Path, description = "The callback's id")),
    request_body = CallbackBody,
    responses((status = 200, description = "As it is now", body = shapes::Callback), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn replace(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(body): Body<CallbackBody>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    body.check(&state).await?;
    let old = found(&state, &id).await?;
    let callback = Callback { url: body.url, kinds: body.kinds, enabled: body.enabled, ..old };
    let of = callback.id.clone();
    let secrets = store::on(state.workflow.store(), move |store| store.callback_secrets(&of)).await?;
    let view = json!(callback);
    put(&state, callback, secrets).await?;
    Ok(Json(view))
}

/// Gives it a new secret; the one before stays valid beside it until the next rotation.
#[utoipa::path(
    post,
    path = "/callbacks/{id}/rotate",
    tag = "callbacks",
    operation_id = "rotate_callback",
    params(("id" = String, Path, description = "The callback's id")),
    responses((status = 200, description = "With its new secret, shown this once", body = shapes::Callback), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn rotate(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let callback = found(&state, &id).await?;
    let of = callback.id.clone();
    let mut secrets = store::on(state.workflow.store(), move |store| store.callback_secrets(&of)).await?;
    let fresh = secret()?;
    let view = with_secret(&callback, &fresh);
    secrets.insert(0, fresh);
    secrets.truncate(SECRETS_MAX);
    put(&state, callback, secrets).await?;
    Ok(Json(view))
}

/// Removes it, and what was still to be sent to it.
#[utoipa::path(
    delete,
    path = "/callbacks/{id}",
    tag = "callbacks",
    operation_id = "remove_callback",
    params(("id" = String, Path, description = "The callback's id")),
    responses((status = 204, description = "Removed"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn remove(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.needs(Role::Admin)?;
    let wanted = found(&state, &id).await?.id;
    store::on(state.workflow.store(), move |store| store.remove_callback(&wanted)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a message of kind `slipway.test` at once and says what came of it.
#[utoipa::path(
    post,
    path = "/callbacks/{id}/test",
    tag = "callbacks",
    operation_id = "test_callback",
    params(("id" = String, Path, description = "The callback's id")),
    responses((status = 200, description = "What came of it", body = shapes::Trial), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn test(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let callback = found(&state, &id).await?;
    Ok(Json(match state.workflow.try_callback(&callback).await? {
        Ok(status) => json!({ "delivered": (200..300).contains(&status), "status": status }),
        Err(error) => json!({ "delivered": false, "error": chain(&error) }),
    }))
}

/// Query of the deliveries.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only those before this number.
    before: Option<i64>,
    limit: Option<u32>,
}

/// What was and is to be sent to it, newest first.
#[utoipa::path(
    get,
    path = "/callbacks/{id}/deliveries",
    tag = "callbacks",
    operation_id = "callback_deliveries",
    params(("id" = String, Path, description = "The callback's id"), DeliveriesQuery),
    responses((status = 200, description = "Newest first", body = shapes::DeliveryList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn deliveries(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let wanted = found(&state, &id).await?.id;
    let limit = query.limit.unwrap_or(PAGE);
    let deliveries: Vec<Delivery> =
        store::on(state.workflow.store(), move |store| store.deliveries(&wanted, query.before, limit))
            .await?;
    Ok(Json(json!({ "deliveries": deliveries })))
}

/// Sends a dead or delivered one again, under the same `webhook-id`.
#[utoipa::path(
    post,
    path = "/callbacks/{id}/deliveries/{seq}/replay",
    tag = "callbacks",
    operation_id = "replay_delivery",
    params(("id" = String, Path, description = "The callback's id"), ("seq" = i64, Path, description = "The delivery's number")),
    responses((status = 202, description = "Will be sent again"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn replay(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path((id, seq)): Path<(String, i64)>,
) -> Result<StatusCode, ApiError> {
    caller.needs(Role::Admin)?;
    let callback = found(&state, &id).await?.id;
    let now = state.workflow.clock().now();
    let done = store::on(state.workflow.store(), move |store| {
        let newest = store.deliveries(&callback, Some(seq.saturating_add(1)), 1)?;
        Ok(newest.first().is_some_and(|delivery| delivery.seq == seq) && store.replay_delivery(seq, now)?)
    })
    .await?;
    if !done {
        let message = format!("callback {id} has no delivery {seq} that could be sent again");
        return Err(ApiError::new("delivery.unknown", message));
    }
    state.workflow.nudge_outbox();
    Ok(StatusCode::ACCEPTED)
}
