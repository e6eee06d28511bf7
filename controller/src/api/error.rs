//! The one shape of a refusal, and the only place that gives one an HTTP status.

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::store::StoreError;
use crate::telemetry::RequestId;
use crate::workflow::{AcceptError, HandsError, IntentError, PushRuleError, ReportError};

/// A refusal: `{error, message, details?, request_id}`. The id is filled in by [`shape`].
#[derive(Debug, Clone)]
pub struct ApiError {
    code: String,
    message: String,
    details: Option<Value>,
}

impl ApiError {
    /// A refusal by its stable code, which also settles its status.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: None }
    }

    /// 400: the request is not one.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new("bad_request", message)
    }

    /// A body of at most `most` bytes that axum could not take in.
    pub fn broken_body(rejection: &BytesRejection, most: usize) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::too_large(most);
        }
        Self::bad_request("the request body broke off")
    }

    /// 413: more than `most` bytes.
    pub fn too_large(most: usize) -> Self {
        Self::new("body.too_large", format!("the request body is larger than {most} bytes"))
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
        let status = status(&self.code);
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
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
    ApiError::new("not_found", "there is no such path in this API; see /api/v1/openapi.json")
}

/// The status of a stable code. One table, so that a code has the same status wherever it comes from.
fn status(code: &str) -> StatusCode {
    match code {
        "bad_request"
        | "invalid_recipe"
        | "machine.placeholder_serial"
        | "report.malformed"
        | "push_rule.invalid"
        | "callback.url"
        | "callback.secret" => StatusCode::BAD_REQUEST,
        "auth.token" | "report.unauthorized" => StatusCode::UNAUTHORIZED,
        "auth.role" | "report.forbidden" => StatusCode::FORBIDDEN,
        "not_found" => StatusCode::NOT_FOUND,
        "body.too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        // Those of `bmc`: what is wrong with a machine's record, not with its BMC.
        "payload.fetch"
        | "layout.impossible"
        | "idempotency.key_reused"
        | "bmc.address"
        | "bmc.plain_http"
        | "bmc.pin" => StatusCode::UNPROCESSABLE_ENTITY,
        "auth.rate" => StatusCode::TOO_MANY_REQUESTS,
        "store.disk_full" => StatusCode::INSUFFICIENT_STORAGE,
        "store.unavailable"
        | "report.busy"
        | "random.unavailable"
        | "registry.unavailable"
        | "media.no_maintenance"
        | "bmc.circuit_open" => StatusCode::SERVICE_UNAVAILABLE,
        "bmc.timeout" => StatusCode::GATEWAY_TIMEOUT,
        code => match code.split_once('.') {
            Some((_, "unknown")) => StatusCode::NOT_FOUND,
            Some(("bmc", _)) => StatusCode::BAD_GATEWAY,
            Some(("image" | "site", _)) => StatusCode::UNPROCESSABLE_ENTITY,
            // What remains clashes with how things stand: another job, another boot, in service, quarantined.
            _ => StatusCode::CONFLICT,
        },
    }
}

fn faults(refusal: &schema::validate::Refusal) -> Value {
    let one = |fault: &schema::validate::Fault| json!({ "path": fault.path, "code": fault.code, "message": fault.message });
    refusal.faults.iter().map(one).collect()
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let refusal = Self::new(error.code(), crate::workflow::chain(&error));
        match &error {
            AcceptError::Recipe(recipe) => refusal.details(faults(recipe)),
            AcceptError::ImageFit { refusal: fit, .. } => refusal.details(faults(fit)),
            AcceptError::ActiveJob { job, .. } => refusal.details(json!({ "job_id": job })),
            AcceptError::ImageNotFound { path, .. } => refusal.details(json!({ "path": path })),
            _ => refusal,
        }
    }
}

impl From<PushRuleError> for ApiError {
    fn from(error: PushRuleError) -> Self {
        match error {
            PushRuleError::Accept(error) => error.into(),
            PushRuleError::Store(error) => error.into(),
            error => Self::new(error.code(), crate::workflow::chain(&error)),
        }
    }
}

impl From<IntentError> for ApiError {
    fn from(error: IntentError) -> Self {
        Self::new(error.code(), crate::workflow::chain(&error))
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        Self::new(error.code(), crate::workflow::chain(&error))
    }
}

impl From<HandsError> for ApiError {
    fn from(error: HandsError) -> Self {
        Self::new(error.code(), crate::workflow::chain(&error))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = if matches!(error, StoreError::DiskFull { .. }) {
            "store.disk_full"
        } else {
            "store.unavailable"
        };
        Self::new(code, crate::workflow::chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_errors_in_the_docs_is_the_one_the_code_follows() {
        let page = include_str!("../../../docs/api.md");
        let mut codes = 0;
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, number, listed, ..] = cells[..] else { continue };
            let Ok(wanted) = number.parse::<u16>() else { continue };
            for code in listed.split('`').skip(1).step_by(2) {
                assert_eq!(status(code).as_u16(), wanted, "docs/api.md, {code}");
                codes += 1;
            }
        }
        assert!(codes > 30, "docs/api.md lists {codes} codes only");
    }

    #[test]
    fn every_code_has_its_status() {
        for (code, wanted) in [
            ("invalid_recipe", 400),
            ("machine.placeholder_serial", 400),
            ("push_rule.invalid", 400),
            ("push_rule.unknown", 404),
            ("push_rule.exists", 409),
            ("push_rule.too_many", 409),
            ("auth.token", 401),
            ("report.unauthorized", 401),
            ("auth.role", 403),
            ("job.unknown", 404),
            ("machine.unknown", 404),
            ("token.unknown", 404),
            ("callback.unknown", 404),
            ("conflict.active_job", 409),
            ("conflict.collecting", 409),
            ("conflict.verifying", 409),
            ("machine.in_service", 409),
            ("machine.quarantined", 409),
            ("report.late", 409),
            ("body.too_large", 413),
            ("image.not_found", 422),
            ("image.foreign", 422),
            ("site.loopback_url", 422),
            ("bmc.plain_http", 422),
            ("auth.rate", 429),
            ("bmc.credentials", 502),
            ("store.unavailable", 503),
            ("bmc.timeout", 504),
            ("store.disk_full", 507),
        ] {
            assert_eq!(status(code).as_u16(), wanted, "{code}");
        }
    }
}
