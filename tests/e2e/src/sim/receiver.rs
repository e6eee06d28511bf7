//! A receiver of callbacks as users write one: an HTTP server that keeps what it is sent, checks signatures by the
//! Standard Webhooks rules, and can be told to be out of order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;

/// One callback that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// The body as it came.
    pub text: String,
    /// The same as JSON.
    pub body: Value,
}

impl Call {
    /// What it tells of.
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// Whether it was signed with this secret (`whsec_…`).
    pub fn is_signed_with(&self, secret: &str) -> Result<bool> {
        let key = BASE64.decode(secret.strip_prefix("whsec_").context("a secret begins with whsec_")?)?;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.text).as_bytes());
        let right = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        Ok(self.signature.split(' ').any(|one| one == right))
    }
}

#[derive(Default)]
struct Kept {
    calls: Mutex<Vec<Call>>,
    refusals: AtomicUsize,
}

/// Listens on loopback until dropped.
pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Kept>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let kept = Arc::new(Kept::default());
        let router =
            axum::Router::new().route("/hook", axum::routing::post(take)).with_state(Arc::clone(&kept));
        let task = tokio::spawn(async move {
            // It serves until the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, kept, task })
    }

    /// Where callbacks go.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next calls are answered with 503 and not kept.
    pub fn refuse(&self, calls: usize) {
        self.kept.refusals.store(calls, Ordering::SeqCst);
    }

    /// What came so far.
    pub fn calls(&self) -> Vec<Call> {
        self.kept.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a call of that kind.
    pub async fn wait(&self, kind: &str, within: Duration) -> Result<Call> {
        let end = tokio::time::Instant::now() + within;
        loop {
            if let Some(call) = self.calls().into_iter().find(|call| call.kind() == kind) {
                return Ok(call);
            }
            if tokio::time::Instant::now() > end {
                bail!("no {kind} came; these did: {:?}", self.calls());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, text: String) -> StatusCode {
    let refused = kept.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if refused.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let call = Call {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    };
    kept.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    StatusCode::NO_CONTENT
}
