//! The registry's upkeep: unfinished uploads expire, what nobody needs is collected, every hour or when it is asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::ImageStore;
use crate::registry::{Collection, Registry, error::RegistryError};
use crate::workflow::chain;

/// How often it is done without being asked for.
const EVERY: Duration = Duration::from_secs(3600);

/// The upkeep of one registry.
pub struct Upkeep {
    /// The registry.
    pub registry: Arc<Registry>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    last: Option<(Timestamp, Result<Collection, String>)>,
}

impl Upkeep {
    /// Of this registry; nothing is done yet.
    pub fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { registry, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller may collect now; if so it must.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.state().running, true)
    }

    async fn collect(&self, dry_run: bool) {
        let done = self.registry.collect(dry_run).await;
        match &done {
            Ok(done) if dry_run || done.files + done.tags + done.manifests == 0 => {}
            Ok(done) => tracing::info!(
                tags = done.tags,
                manifests = done.manifests,
                files = done.files,
                bytes = done.bytes,
                "collected what nobody needs in the registry"
            ),
            Err(error) => tracing::warn!(error = chain(error), "collecting in the registry"),
        }
        let mut state = self.state();
        state.last = Some((Timestamp::now(), done.map_err(|error: RegistryError| chain(&error))));
        state.running = false;
    }

    /// Runs until the server stops.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            if let Err(error) = self.registry.expire_uploads().await {
                tracing::warn!(error = chain(&error), "removing unfinished uploads");
            }
            if self.begin() {
                tokio::select! {
                    () = self.collect(false) => {}
                    // Its thread is told to end after the page it is at.
                    _ = stopped.wait_for(|stop| *stop) => return,
                }
            }
        }
    }
}

#[async_trait]
impl ImageStore for Upkeep {
    fn collection(&self) -> Value {
        let state = self.state();
        let last = state.last.as_ref().map(|(at, done)| {
            let mut view = match done {
                Ok(done) => json!(done),
                Err(error) => json!({ "error": error }),
            };
            view["finished_at"] = json!(at);
            view
        });
        json!({ "running": state.running, "last": last })
    }

    fn start_collection(self: Arc<Self>, dry_run: bool) -> bool {
        let begun = self.begin();
        if begun {
            tokio::spawn(async move { self.collect(dry_run).await });
        }
        begun
    }

    async fn usage(&self, after: String, limit: usize) -> Result<Value, String> {
        let usage = self.registry.usage(after, limit).await.map_err(|error| chain(&error))?;
        Ok(json!(usage))
    }
}
