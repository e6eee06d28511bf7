//! `POST /api/v1/status-webhook/{serial}`: what hosts report. The token is the host's own, not a person's.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schema::event::{JOURNAL, LOG_MAX, Report};
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::shapes;
use super::{ApiState, auth, body};
use crate::workflow::Answer;

/// Largest report in bytes: a log tail of 16 KiB, escaped, and room.
const REPORT_MAX: usize = 128 << 10;

/// Takes in one report. 200 means that it is durable.
#[utoipa::path(
    post,
    path = "/status-webhook/{serial}",
    tag = "hosts",
    operation_id = "report",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded"), ("x-webhook-secret" = Option<String>, Header, description = "The job's token, where Authorization cannot be sent")),
    request_body = shapes::Report,
    responses((status = 200, description = "Durable", body = shapes::ReportAnswer), (status = "default", description = "Refused", body = shapes::Refusal)),
    security(("host" = []))
)]
pub async fn report(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let token = token(&headers)?;
    let bytes = body::raw(request, &state).await?;
    if bytes.len() > REPORT_MAX {
        return Err(ApiError::too_large(REPORT_MAX));
    }
    let report: Report = body::read(&bytes)?;
    Ok(match state.workflow.report(&serial, &token, report).await? {
        Answer::Proceed(proceed) => Json(proceed).into_response(),
        Answer::Received(received) => Json(received).into_response(),
    })
}

fn token(headers: &HeaderMap) -> Result<String, ApiError> {
    let own = || headers.get("x-webhook-secret").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    auth::secret(headers).or_else(own).ok_or_else(|| {
        let message = "send the job's token as `Authorization: Bearer <token>` or `X-Webhook-Secret`";
        ApiError::new("report.unauthorized", message)
    })
}

/// Query of `POST …/logs`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// What the log is of: a unit, or `journal`, which it is when nothing is said.
    name: Option<String>,
}

/// Takes in a log of the host, as plain text. 200 means that it is kept, without what the job's recipe holds as secret.
#[utoipa::path(
    post,
    path = "/status-webhook/{serial}/logs",
    tag = "hosts",
    operation_id = "send_log",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded"), LogQuery),
    request_body(content = String, content_type = "text/plain", description = "At most 8 MiB"),
    responses((status = 200, description = "Kept", body = shapes::LogAnswer), (status = "default", description = "Refused", body = shapes::Refusal)),
    security(("host" = []))
)]
pub async fn logs(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    // Before megabytes are read: is this a host of ours, whose job is not over and gone?
    let session = state.workflow.log_session(&serial, &token(&headers)?).await?;
    let bytes = Bytes::from_request(request, &state)
        .await
        .map_err(|rejection| ApiError::broken_body(&rejection, LOG_MAX))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    state.workflow.keep_log(&session, query.name.as_deref().unwrap_or(JOURNAL), text).await?;
    Ok(Json(json!({ "received": true })).into_response())
}
