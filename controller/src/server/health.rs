//! `/healthz` (the process answers) and `/readyz` (everything a job needs answers). No token is needed: load balancers
//! have none, and neither says more than whether the controller works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;

/// What one check may take before it counts as an answer of no.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// Something that must work for jobs to run.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Its name in the answer.
    fn name(&self) -> &'static str;
    /// Really tries it; an error says what is wrong and what to do.
    async fn check(&self) -> Result<(), String>;
}

/// The two routes.
pub fn router(checks: Vec<Arc<dyn Check>>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(checks.into())
}

async fn ready(State(checks): State<Arc<[Arc<dyn Check>]>>) -> impl IntoResponse {
    let mut results = BTreeMap::new();
    let mut is_ready = true;
    for check in checks.iter() {
        let late = || Err(format!("no answer within {} s", CHECK_DEADLINE.as_secs()));
        let result = tokio::time::timeout(CHECK_DEADLINE, check.check()).await.unwrap_or_else(|_| late());
        is_ready &= result.is_ok();
        results.insert(check.name(), result.err().unwrap_or_else(|| "ok".to_owned()));
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": is_ready, "checks": results })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    struct Fixed(&'static str, Result<(), String>);

    #[async_trait]
    impl Check for Fixed {
        fn name(&self) -> &'static str {
            self.0
        }
        async fn check(&self) -> Result<(), String> {
            self.1.clone()
        }
    }

    async fn ask(checks: Vec<Arc<dyn Check>>, path: &str) -> (u16, String) {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router(checks).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn one_part_that_does_not_work_makes_the_whole_unready_and_is_named() {
        let good: Arc<dyn Check> = Arc::new(Fixed("store", Ok(())));
        let bad: Arc<dyn Check> = Arc::new(Fixed("media", Err("no maintenance medium".into())));
        assert_eq!(ask(vec![Arc::clone(&good)], "/readyz").await.0, 200);
        let (status, body) = ask(vec![good, bad], "/readyz").await;
        assert_eq!(status, 503);
        assert!(
            body.contains(r#""media":"no maintenance medium""#) && body.contains(r#""store":"ok""#),
            "{body}"
        );
    }

    #[tokio::test]
    async fn health_answers_without_checks() {
        assert_eq!(ask(vec![], "/healthz").await, (200, "ok\n".into()));
    }
}
