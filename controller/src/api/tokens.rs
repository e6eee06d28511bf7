//! `/api/v1/tokens` (admin): a token's secret is shown once, in the answer that makes it.

use axum::Extension;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ApiState;
use super::auth::Caller;
use super::body::Body;
use super::error::ApiError;
use super::shapes;
use crate::model::{ApiToken, RegistryScope, Role, TokenId};
use crate::store;

/// Body of `POST /tokens`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// What people call it.
    name: String,
    #[schema(value_type = shapes::Role, inline)]
    role: Role,
    #[serde(default)]
    #[schema(value_type = Vec<shapes::RegistryScope>)]
    scopes: Vec<RegistryScope>,
    /// Days until it dies; absent: a year.
    #[serde(default)]
    days: Option<u16>,
}

/// How long a token lives when nobody says.
const DAYS: u16 = 365;
/// Bytes of randomness in a secret.
const SECRET_BYTES: usize = 32;
const NAME_MAX: usize = 100;

/// Makes a token.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    operation_id = "create_token",
    request_body = TokenBody,
    responses((status = 201, description = "Made; its secret is shown this once", body = shapes::Token), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn create(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<TokenBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.needs(Role::Admin)?;
    if body.name.is_empty() || body.name.len() > NAME_MAX {
        return Err(ApiError::bad_request(format!("name is 1 to {NAME_MAX} bytes")));
    }
    let mut bytes = [0u8; SECRET_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|_| ApiError::new("random.unavailable", "the system has no randomness yet; try again"))?;
    let secret = format!("slw_{}", hex::encode(bytes));
    let now = state.workflow.clock().now();
    let life = SignedDuration::from_hours(24 * i64::from(body.days.unwrap_or(DAYS)));
    let token = ApiToken {
        id: TokenId::fresh(),
        name: body.name,
        role: body.role,
        scopes: body.scopes,
        created_at: now,
        expires_at: Some(now.checked_add(life).unwrap_or(Timestamp::MAX)),
        revoked_at: None,
    };
    let sha256 = Sha256::digest(secret.as_bytes()).into();
    let mut view = json!(token);
    view["secret"] = json!(secret);
    store::on(state.workflow.store(), move |store| store.add_token(token, sha256)).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Every token, without secrets: those are not kept.
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    operation_id = "list_tokens",
    responses((status = 200, description = "Every token", body = shapes::TokenList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn list(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let tokens = store::on(state.workflow.store(), store::Store::tokens).await?;
    Ok(Json(json!({ "tokens": tokens })))
}

/// Kills a token at once.
#[utoipa::path(
    delete,
    path = "/tokens/{id}",
    tag = "tokens",
    operation_id = "revoke_token",
    params(("id" = String, Path, description = "The token's id")),
    responses((status = 204, description = "Revoked"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn revoke(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.needs(Role::Admin)?;
    let unknown = || ApiError::new("token.unknown", format!("there is no token {id:?}"));
    let wanted: TokenId = id.parse().map_err(|_| unknown())?;
    let now = state.workflow.clock().now();
    let revoked = store::on(state.workflow.store(), move |store| store.revoke_token(&wanted, now)).await?;
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
