//! The registry's upkeep: unfinished uploads expire, what nobody needs is collected, every hour or when it is asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::ImageStore;
use crate::registry::{Collection, Registry, Verification, error::RegistryError};
use crate::workflow::chain;

/// After a start: a controller that is restarted often must come to it too.
const FIRST: Duration = Duration::from_secs(300);
/// How often the times of pulls are written down.
const NOTED: Duration = Duration::from_secs(60);
/// How often it is done without being asked for.
const EVERY: Duration = Duration::from_secs(3600);

/// The upkeep of one registry.
pub struct Upkeep {
    /// The registry.
    pub registry: Arc<Registry>,
    collection: Task<Collection>,
    verification: Task<Verification>,
}

/// Something that runs one at a time, with the end of the last run.
struct Task<T>(Mutex<Runs<T>>);

struct Runs<T> {
    running: bool,
    /// When it ended, and how.
    last: Option<(Timestamp, Result<T, String>)>,
}

impl<T> Default for Task<T> {
    fn default() -> Self {
        Self(Mutex::new(Runs { running: false, last: None }))
    }
}

impl<T: Serialize> Task<T> {
    fn lock(&self) -> MutexGuard<'_, Runs<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller may run it now; if so it must.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().running, true)
    }

    fn end(&self, done: Result<T, RegistryError>) {
        let last = Some((Timestamp::now(), done.map_err(|error| chain(&error))));
        *self.lock() = Runs { running: false, last };
    }

    fn view(&self) -> Value {
        let runs = self.lock();
        let last = runs.last.as_ref().map(|(at, done)| {
            let mut view = match done {
                Ok(done) => json!(done),
                Err(error) => json!({ "error": error }),
            };
            view["finished_at"] = json!(at);
            view
        });
        json!({ "running": runs.running, "last": last })
    }
}

impl Upkeep {
    /// Of this registry; nothing is done yet.
    pub fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { registry, collection: Task::default(), verification: Task::default() })
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
        self.collection.end(done);
    }

    async fn verify(&self) {
        let done = self.registry.verify().await;
        match &done {
            Ok(done) if done.corrupt + done.missing > 0 => {
                tracing::error!(done.corrupt, done.missing, "the registry's content is damaged");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(error), "verifying the registry"),
        }
        self.verification.end(done);
    }

    async fn write_pulls(&self) {
        if let Err(error) = self.registry.write_pulls().await {
            tracing::warn!(error = chain(&error), "noting when repositories were pulled from");
        }
    }

    /// Runs until the server stops.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut due = tokio::time::Instant::now() + FIRST;
        loop {
            let stop = tokio::select! {
                () = tokio::time::sleep(NOTED) => false,
                _ = stopped.wait_for(|stop| *stop) => true,
            };
            self.write_pulls().await;
            if stop {
                return;
            }
            let now = tokio::time::Instant::now();
            if now < due {
                continue;
            }
            due = now + EVERY;
            if let Err(error) = self.registry.expire_uploads().await {
                tracing::warn!(error = chain(&error), "removing unfinished uploads");
            }
            if let Err(error) = self.registry.expire_pins().await {
                tracing::warn!(error = chain(&error), "forgetting pins that have ended");
            }
            if self.registry.read_only().is_none() && self.collection.begin() {
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
        self.collection.view()
    }

    fn start_collection(self: Arc<Self>, dry_run: bool) -> bool {
        let begun = self.collection.begin();
        if begun {
            tokio::spawn(async move { self.collect(dry_run).await });
        }
        begun
    }

    fn verification(&self) -> Value {
        self.verification.view()
    }

    fn start_verification(self: Arc<Self>) -> bool {
        let begun = self.verification.begin();
        if begun {
            tokio::spawn(async move { self.verify().await });
        }
        begun
    }

    fn read_only(&self) -> Option<Value> {
        self.registry.read_only().map(|why| json!(why))
    }

    async fn set_read_only(&self, reason: Option<String>, by: String) -> Result<(), String> {
        match &reason {
            Some(reason) => tracing::warn!(by, reason, "the registry is switched to read-only"),
            None => tracing::info!(by, "the registry is written to again"),
        }
        self.registry.set_read_only(reason, by).await.map_err(|error| chain(&error))
    }

    async fn quotas(&self) -> Result<Value, String> {
        let rooms = self.registry.rooms().await.map_err(|error| chain(&error))?;
        Ok(json!(rooms))
    }

    async fn usage(&self, after: String, limit: usize) -> Result<Value, String> {
        let usage = self.registry.usage(after, limit).await.map_err(|error| chain(&error))?;
        Ok(json!(usage))
    }
}
