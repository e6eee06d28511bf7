//! The API as people and CI use it: JSON over TLS with a token. It knows paths and nothing else of the product.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// How long a test waits for what takes milliseconds when all is well; builds may run beside it.
pub const WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For one request.
const DEADLINE: Duration = Duration::from_secs(30);

/// A caller with a token.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The same as JSON; null when it is none.
    pub body: Value,
}

impl Answer {
    /// Stable code of a refusal, empty when it is none.
    pub fn code(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// The sentence of a refusal.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Api {
    /// A caller of the API at `base` that trusts the authority `ca` and nothing else.
    pub fn new(base: &str, ca: &[u8], token: &str) -> Result<Self> {
        // Controllers are killed under it: a kept connection would be a dead one.
        Self::keeping(base, ca, token, 0)
    }

    /// The same for a controller that lives: up to `idle` connections are kept for the next request.
    pub fn keeping(base: &str, ca: &[u8], token: &str, idle: usize) -> Result<Self> {
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca)?])
            .timeout(DEADLINE)
            .no_proxy()
            .pool_max_idle_per_host(idle)
            .build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// One request; the path is below the base URL.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        self.send(method, path, &[], body.map(|body| body.to_string().into_bytes())).await
    }

    /// One request with headers and a body as it is.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.with_context(|| format!("asking for {path}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status, headers, text, body })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Submits a job that must be accepted; its id.
    pub async fn submit(&self, serial: &str, recipe: Value) -> Result<String> {
        self.submit_with(json!({ "server_serial": serial, "recipe": recipe })).await
    }

    /// The same with a whole body.
    pub async fn submit_with(&self, body: Value) -> Result<String> {
        let answer = self.post("/api/v1/jobs", body).await?;
        ensure!(answer.status == 202, "the job was not accepted: {} {}", answer.status, answer.text);
        Ok(answer.body["job_id"].as_str().context("no job_id")?.to_owned())
    }

    /// A job with its timeline.
    pub async fn job(&self, id: &str) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/jobs/{id}")).await?;
        ensure!(answer.status == 200, "job {id}: {} {}", answer.status, answer.text);
        Ok(answer.body)
    }

    /// A machine.
    pub async fn machine(&self, serial: &str) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/machines/{serial}")).await?;
        ensure!(answer.status == 200, "machine {serial}: {} {}", answer.status, answer.text);
        Ok(answer.body)
    }

    /// Waits until a job is as wanted.
    pub async fn wait(&self, id: &str, wanted: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = tokio::time::Instant::now() + WITHIN;
        loop {
            let job = self.job(id).await?;
            if is(&job) {
                return Ok(job);
            }
            if tokio::time::Instant::now() > end {
                bail!("job {id} is not {wanted}: {job:#}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a job is in that phase.
    pub async fn wait_phase(&self, id: &str, phase: &str) -> Result<Value> {
        self.wait(id, phase, |job| job["phase"] == phase).await
    }

    /// Waits until nothing is left to do.
    pub async fn wait_complete(&self, id: &str) -> Result<Value> {
        self.wait(id, "complete", |job| job["complete"] == true).await
    }

    /// Cancels a job.
    pub async fn cancel(&self, id: &str) -> Result<Answer> {
        self.post(&format!("/api/v1/jobs/{id}/cancel"), json!({})).await
    }
}
