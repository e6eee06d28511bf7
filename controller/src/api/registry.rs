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
/// Longest reason of a read-only registry, in bytes.
const REASON_MAX: usize = 300;
/// What stands there when none was given.
const REASON: &str = "an administrator has switched it";

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
    /// Why nothing is written, `{reason, since, by}`; none when all is.
    fn read_only(&self) -> Option<Value>;
    /// Refuses changes for that reason, or with none lets them in again; the error in words.
    async fn set_read_only(&self, reason: Option<String>, by: String) -> Result<(), String>;
    /// How the quotas stand, `[{namespace, size, used}]`; the error in words.
    async fn quotas(&self) -> Result<Value, String>;
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

/// Body of `PUT /registry/mode`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeBody {
    read_only: bool,
    #[serde(default)]
    reason: Option<String>,
}

/// Whether the registry refuses changes, and why.
#[utoipa::path(
    get,
    path = "/registry/mode",
    tag = "registry",
    operation_id = "show_registry_mode",
    responses((status = 200, description = "Now", body = shapes::RegistryMode), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn mode(State(state): State<ApiState>) -> Json<Value> {
    Json(mode_of(state.images.read_only()))
}

fn mode_of(read_only: Option<Value>) -> Value {
    let mut mode = read_only.unwrap_or_else(|| json!({}));
    mode["read_only"] = json!(mode.get("since").is_some());
    mode
}

/// Refuses pushes and deletions, with a reason for whoever is refused, or lets them in again. Pulls go on.
#[utoipa::path(
    put,
    path = "/registry/mode",
    tag = "registry",
    operation_id = "set_registry_mode",
    request_body = shapes::RegistryModeInput,
    responses((status = 200, description = "It is so", body = shapes::RegistryMode), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn set_mode(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<ModeBody>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let reason = body.reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|text| text.len() > REASON_MAX || text.contains(char::is_control)) {
        return Err(ApiError::bad_request(format!(
            "the reason is one line of at most {REASON_MAX} bytes; clients show it"
        )));
    }
    let reason = match (body.read_only, reason) {
        (true, reason) => Some(reason.unwrap_or_else(|| REASON.to_owned())),
        (false, None) => None,
        (false, Some(_)) => return Err(ApiError::bad_request("only read_only has a reason; leave it out")),
    };
    state.images.set_read_only(reason, caller.0.name.clone()).await.map_err(|error| {
        tracing::error!(error, "switching the registry");
        ApiError::new("internal", "the registry's storage is at fault; the controller's log says why")
    })?;
    Ok(Json(mode_of(state.images.read_only())))
}

/// What each repository holds, and how the quotas stand.
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
    let fault = |error: String| {
        tracing::error!(error, "adding up the registry");
        ApiError::new("internal", "the registry's storage is at fault; the controller's log says why")
    };
    let found = state.images.usage(query.after, limit).await.map_err(fault)?;
    let quotas = state.images.quotas().await.map_err(fault)?;
    let rows = found.as_array().map_or(0, Vec::len);
    let next = if rows == limit { found[rows - 1]["repository"].clone() } else { Value::Null };
    Ok(Json(json!({ "repositories": found, "quotas": quotas, "next": next })))
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
    if !body.dry_run && state.images.read_only().is_some() {
        return Err(ApiError::new(
            "conflict.read_only",
            "the registry is read-only, so nothing is collected; end that first, or try with dry_run",
        ));
    }
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
