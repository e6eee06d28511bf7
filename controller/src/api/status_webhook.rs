//! `POST /api/v1/status-webhook/{serial}`: what hosts report. The token is the host's own, not a person's.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schema::event::Report;

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
    let token = auth::secret(&headers)
        .or_else(|| {
            headers.get("x-webhook-secret").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
        })
        .ok_or_else(|| {
            let message = "send the job's token as `Authorization: Bearer <token>` or `X-Webhook-Secret`";
            ApiError::new("report.unauthorized", message)
        })?;
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
