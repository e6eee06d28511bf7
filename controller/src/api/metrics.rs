//! `/metrics`: numbers for Prometheus, for whoever has a token. Counts of requests and jobs tell a stranger what a
//! site does and when, so they are no more public than the list of machines.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::telemetry;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every number there is.
pub async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], telemetry::render())
}
