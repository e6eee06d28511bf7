//! `GET /site`: what this controller is and how it is set up, for whoever looks why something is off. No secret, and
//! nothing of any job.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};

use super::ApiState;
use super::auth::Caller;
use super::error::ApiError;
use super::shapes;
use crate::store;

/// What does not change while the controller runs.
#[derive(Debug, Clone, Serialize)]
pub struct SiteFacts {
    /// URL by which hosts reach the API.
    pub api_url: String,
    /// URL by which BMCs reach the media.
    pub media_url: String,
    /// Jobs run although those are on loopback.
    pub allow_loopback: bool,
    /// Machines may be marked as having a plain HTTP BMC.
    pub allow_plain_http_bmcs: bool,
    /// The maintenance medium; none when there is none.
    pub maintenance: Option<MediumFacts>,
}

/// A maintenance medium.
#[derive(Debug, Clone, Serialize)]
pub struct MediumFacts {
    /// Version of Slipway that it was built from; none for one that does not say.
    pub version: Option<String>,
    /// Of the file as it lies on disk, hex.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

/// Room in the state folder, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Room {
    /// Free for the controller.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// Asks the system for [`Room`]; none when it does not tell. Blocks.
pub type AskRoom = Arc<dyn Fn() -> Option<Room> + Send + Sync>;

/// What the site is, and who asks.
#[utoipa::path(
    get,
    path = "/site",
    tag = "site",
    operation_id = "show_site",
    responses((status = 200, description = "What it is", body = shapes::Site), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn show(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, ApiError> {
    let ask = Arc::clone(&state.room);
    let room = store::on(state.workflow.store(), move |_| Ok(ask())).await?;
    let token = &caller.0;
    let mut view = json!(*state.site);
    view["version"] = json!(env!("CARGO_PKG_VERSION"));
    view["now"] = json!(state.workflow.clock().now());
    view["room"] = json!(room);
    view["token"] =
        json!({ "name": token.name, "role": token.role.as_str(), "expires_at": token.expires_at });
    Ok(Json(view))
}
