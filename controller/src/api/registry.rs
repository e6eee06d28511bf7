//! `/registry`: what the embedded registry holds, and its collection. Pushing and pulling is `/v2`.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::auth::Caller;
use super::body::Body;
use super::error::ApiError;
use super::shapes;
use crate::model::Role;

/// Most repositories in one answer.
const PAGE_MAX: usize = 1000;

/// The registry, as far as the API goes.
#[async_trait]
pub trait ImageStore: Send + Sync + 'static {
    /// Whether a collection runs, and how the last one ended.
    fn collection(&self) -> Value;
    /// Starts one; false when one is running.
    fn start_collection(self: Arc<Self>, dry_run: bool) -> bool;
    /// Whether a verification runs, and what the last one found.
    fn verification(&self) -> Value;
    /// Starts one; false when one is running.
    fn start_verification(self: Arc<Self>) -> bool;
    /// What repositories hold, by name after `after`, at most `limit`; the error in words.
    async fn usage(&self, after: String, limit: usize) -> Result<Value, String>;
}

/// A page of repositories.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// The name before the first one.
    #[serde(default)]
    after: String,
    /// Most entries, at most 1000.
    #[serde(default)]
    limit: Option<usize>,
}

/// Body of `POST /registry/collection`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionBody {
    #[serde(default)]
    dry_run: bool,
}

/// What each repository holds.
#[utoipa::path(
    get,
    path = "/registry/usage",
    tag = "registry",
    operation_id = "show_registry_usage",
    params(UsageQuery),
    responses((status = 200, description = "By name", body = shapes::UsagePage), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn usage(
    State(state): State<ApiState>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Value>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let found = state.images.usage(query.after, limit).await.map_err(|error| {
        tracing::error!(error, "adding up the registry");
        ApiError::new("internal", "the registry's storage is at fault; the controller's log says why")
    })?;
    let rows = found.as_array().map_or(0, Vec::len);
    let next = if rows == limit { found[rows - 1]["repository"].clone() } else { Value::Null };
    Ok(Json(json!({ "repositories": found, "next": next })))
}

/// Whether a collection runs, and what the last one did.
#[utoipa::path(
    get,
    path = "/registry/collection",
    tag = "registry",
    operation_id = "show_registry_collection",
    responses((status = 200, description = "Now", body = shapes::CollectionState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn collection(State(state): State<ApiState>) -> Json<Value> {
    Json(state.images.collection())
}

/// Removes what nobody needs, or with `dry_run` says what that would be. Ask for its end with GET.
#[utoipa::path(
    post,
    path = "/registry/collection",
    tag = "registry",
    operation_id = "collect_registry",
    request_body = shapes::CollectionInput,
    responses((status = 202, description = "It runs", body = shapes::CollectionState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn collect(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<CollectionBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.needs(Role::Admin)?;
    if !Arc::clone(&state.images).start_collection(body.dry_run) {
        return Err(ApiError::new("conflict.collecting", "a collection is running; wait for its end"));
    }
    Ok((StatusCode::ACCEPTED, Json(state.images.collection())))
}

/// Whether a verification runs, and what the last one found.
#[utoipa::path(
    get,
    path = "/registry/verification",
    tag = "registry",
    operation_id = "show_registry_verification",
    responses((status = 200, description = "Now", body = shapes::VerificationState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn verification(State(state): State<ApiState>) -> Json<Value> {
    Json(state.images.verification())
}

/// Hashes all content again and puts what is damaged out of reach. Ask for its end with GET.
#[utoipa::path(
    post,
    path = "/registry/verification",
    tag = "registry",
    operation_id = "verify_registry",
    responses((status = 202, description = "It runs", body = shapes::VerificationState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn verify(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.needs(Role::Admin)?;
    if !Arc::clone(&state.images).start_verification() {
        return Err(ApiError::new("conflict.verifying", "a verification is running; wait for its end"));
    }
    Ok((StatusCode::ACCEPTED, Json(state.images.verification())))
}
