//! The one shape of a refusal, and the only place that gives one an HTTP status.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::store::StoreError;
use crate::telemetry::RequestId;
use crate::workflow::{AcceptError, HandsError, IntentError, ReportError};

/// A refusal: `{error, message, details?, request_id}`. The id is filled in by [`shape`].
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Option<Value>,
}

impl ApiError {
    /// A refusal of the API itself.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None }
    }

    /// 400: the request is not one.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404: the thing is not there.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// What is wrong, one entry each.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"slipway\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a refusal, with the request's id in it; refusals of axum itself get the same shape.
pub async fn shape(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let response = next.run(request).await;
    if let Some(refusal) = response.extensions().get::<ApiError>().cloned() {
        let mut body = json!({ "error": refusal.code, "message": refusal.message, "request_id": id });
        if let Some(details) = refusal.details {
            body["details"] = details;
        }
        let mut shaped = (response.status(), Json(body)).into_response();
        for (name, value) in response.headers() {
            if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
                shaped.headers_mut().insert(name.clone(), value.clone());
            }
        }
        return shaped;
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let body = json!({
            "error": "method_not_allowed",
            "message": "this path does not take that method; see /api/v1/openapi.json",
            "request_id": id,
        });
        return (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response();
    }
    response
}

/// Everything below `/api/v1` that is not there.
pub async fn no_such_path() -> ApiError {
    ApiError::not_found("not_found", "there is no such path in this API; see /api/v1/openapi.json")
}

/// The status of a stable code. One table, so that a code has the same status wherever it comes from.
fn status(code: &str) -> StatusCode {
    match code {
        "invalid_recipe" | "machine.placeholder_serial" | "report.malformed" | "callback.url" => {
            StatusCode::BAD_REQUEST
        }
        "report.unauthorized" => StatusCode::UNAUTHORIZED,
        "report.forbidden" => StatusCode::FORBIDDEN,
        "machine.unknown" | "job.unknown" => StatusCode::NOT_FOUND,
        "image.not_found"
        | "image.kind"
        | "image.foreign"
        | "payload.fetch"
        | "layout.impossible"
        | "idempotency.key_reused" => StatusCode::UNPROCESSABLE_ENTITY,
        "store.disk_full" => StatusCode::INSUFFICIENT_STORAGE,
        "store.unavailable" | "report.busy" => StatusCode::SERVICE_UNAVAILABLE,
        code if code.starts_with("bmc.") => StatusCode::BAD_GATEWAY,
        code if code.starts_with("site.") => StatusCode::UNPROCESSABLE_ENTITY,
        // What remains clashes with how things stand: another job, another boot, in service, quarantined.
        _ => StatusCode::CONFLICT,
    }
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let code = error.code();
        let refusal = Self::new(status(code), code, crate::workflow::chain(&error));
        match &error {
            AcceptError::Recipe(faults) => {
                let details = faults
                    .faults
                    .iter()
                    .map(|fault| json!({ "path": fault.path, "code": fault.code, "message": fault.message }))
                    .collect();
                refusal.details(Value::Array(details))
            }
            AcceptError::ActiveJob { job, .. } => refusal.details(json!({ "job_id": job })),
            AcceptError::ImageNotFound { path, .. } => refusal.details(json!({ "path": path })),
            _ => refusal,
        }
    }
}

impl From<IntentError> for ApiError {
    fn from(error: IntentError) -> Self {
        Self::new(status(error.code()), error.code(), crate::workflow::chain(&error))
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        Self::new(status(error.code()), error.code(), crate::workflow::chain(&error))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = if matches!(error, StoreError::DiskFull { .. }) {
            "store.disk_full"
        } else {
            "store.unavailable"
        };
        Self::new(status(code), code, crate::workflow::chain(&error))
    }
}

impl From<HandsError> for ApiError {
    fn from(error: HandsError) -> Self {
        let code = match &error {
            HandsError::UnknownMachine { .. } => "machine.unknown",
            HandsError::ActiveJob { .. } => "conflict.active_job",
            HandsError::Connect { .. } => "bmc.address",
            HandsError::Bmc(_) => "bmc.failed",
            HandsError::Store(StoreError::DiskFull { .. }) => "store.disk_full",
            HandsError::Store(_) => "store.unavailable",
        };
        Self::new(status(code), code, crate::workflow::chain(&error))
    }
}
