//! The only writer of a job's state. Handlers, webhooks and the CLI record an intent here and nudge; one driver
//! task per job does the rest.
//!
//! ```text
//!   accept ─▶ Store ─▶ driver task ─▶ Bmcs, Shelf ─▶ Store.apply(job, version, change) ─▶ subscribers, outbox
//!   report, cancel, retry, release ──────────────────▲ (same door, same versions)
//! ```
//! It is not a client of Redfish, of the registry or of the media server: those hide behind [`Bmcs`], [`Images`]
//! and [`Shelf`]. Time comes from [`Clock`]. HTTP statuses are chosen elsewhere, from the errors' stable codes.

mod accept;
mod berth;
mod callbacks;
mod change;
mod clock;
mod drive;
mod ear;
mod edges;
mod error;
pub mod fitness;
mod hands;
mod hub;
mod intents;
mod lease;
mod outbox;
mod plan;
pub mod push;
mod redact;
mod remarks;
mod report;
mod session;
mod settings;
mod steps;
mod telemetry;
pub mod tokens;
mod transport;
mod trial;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

pub use accept::{Accepted, Submission};
pub use clock::{Clock, FakeClock, SystemClock};
pub use edges::{Bmcs, EdgeError, FoundImage, Images, LastRead, MediumRead, Shelf, Urls};
pub use error::{AcceptError, HandsError, IntentError, ReportError, chain};
pub use hub::Signal;
pub use outbox::fresh_secret;
pub use plan::Plan;
pub use push::{NewPushRule, PushRuleError};
pub use redact::{Redactor, without_media};
pub use report::Answer;
pub use session::Session;
pub use settings::{Settings, SiteKeys};

use crate::fetch::Fetch;
use crate::model::{Job, JobId, Live};
use crate::store::{self, Store, StoreError};
use hub::Hub;

/// What a workflow is made of.
#[derive(Clone)]
pub struct Deps {
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// Reaches BMCs.
    pub bmcs: Arc<dyn Bmcs>,
    /// Serves media.
    pub shelf: Arc<dyn Shelf>,
    /// Knows images.
    pub images: Arc<dyn Images>,
    /// Fetches payloads and delivers callbacks.
    pub fetch: Arc<dyn Fetch>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What the site decided.
    pub settings: Settings,
    /// The site's HMAC key.
    pub site_keys: SiteKeys,
}

/// Runs jobs. One per controller; keep it in an [`Arc`].
pub struct Workflow {
    deps: Deps,
    hub: Arc<Hub>,
    /// Name of this run of this controller, for leases.
    owner: String,
    /// What runs in the background; none once this controller is stopped, so that nothing begins any more.
    tasks: Mutex<Option<JoinSet<()>>>,
    stopping: watch::Sender<bool>,
    started_at: Timestamp,
}

/// How long drivers get to put their BMC sessions away.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl Workflow {
    /// Takes up every open job where it was left, and begins to accept new ones.
    pub async fn start(deps: Deps) -> Result<Arc<Self>, StoreError> {
        let started_at = deps.clock.now();
        let workflow = Arc::new(Self {
            deps,
            hub: Arc::default(),
            owner: uuid::Uuid::now_v7().to_string(),
            tasks: Mutex::new(Some(JoinSet::new())),
            stopping: watch::Sender::new(false),
            started_at,
        });
        workflow.resume().await?;
        workflow.spawn(lease::renew_now_and_then(Arc::clone(&workflow)));
        workflow.spawn(outbox::run(Arc::clone(&workflow)));
        workflow.spawn(write::flush_now_and_then(Arc::clone(&workflow)));
        workflow.spawn(write::erase_now_and_then(Arc::clone(&workflow)));
        Ok(workflow)
    }

    /// Open jobs are read, their images pinned again, and each gets a driver; pins of jobs that are not open (the
    /// controller was killed as it gave them up, or before their job was) are given up. Where a job stands is in the store;
    /// how the machine stands is asked of its BMC by the driver.
    async fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        let open = store::on(&self.deps.store, Store::open_jobs).await?;
        self.give_up_pins(&open).await;
        for job in open {
            let id = job.id.clone();
            if let Some(live) = store::on(&self.deps.store, move |store| store.live(&id)).await? {
                self.hub.restore(&job.id, live);
            }
            for image in job.images() {
                if let Err(error) = self.deps.images.pin(&image, &job.id).await {
                    tracing::warn!(job_id = %job.id, %error, "one of its images could not be pinned again");
                }
            }
            tracing::info!(job_id = %job.id, state = job.state.name(), "taking up an open job");
            self.drive(job.id);
        }
        Ok(())
    }

    async fn give_up_pins(&self, open: &[Job]) {
        let owners = match self.deps.images.owners().await {
            Ok(owners) => owners,
            Err(error) => {
                tracing::warn!(%error, "pins of jobs that are over, if there are any, stay until the next start");
                return;
            }
        };
        for owner in owners {
            if !open.iter().any(|job| job.id == owner) {
                tracing::info!(job_id = %owner, "giving up pins that were left behind");
                self.unpin(&owner).await;
            }
        }
    }

    /// Gives a job a driver, unless it has one.
    fn drive(self: &Arc<Self>, id: JobId) {
        if self.hub.claim(&id) {
            self.spawn(drive::run(Arc::clone(self), id));
        } else {
            self.hub.nudge(&id);
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tasks) = tasks.as_mut() else { return };
        while tasks.try_join_next().is_some() {} // what ended is swept here
        tasks.spawn(task);
    }

    /// Brings work to its end whoever waits for it: a client that hangs up drops its request, and with it whatever
    /// the request awaits. Stopping waits for such work too.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let work = async move {
            let _ = tell.send(work.await); // nobody may be there to hear it
        };
        self.spawn(work.in_current_span());
        told.await.map_err(|_| StoreError::Stopping)
    }

    /// What runs in the background, taken so that nothing is added.
    fn take_tasks(&self) -> JoinSet<()> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Signals of a job from now on: numbers of new events, and that progress or wait reason changed.
    pub fn subscribe(&self, id: &JobId) -> broadcast::Receiver<Signal> {
        self.hub.subscribe(id)
    }

    /// A job with what is known of it right now.
    pub async fn view(&self, id: &JobId) -> Result<Option<(Job, Live)>, StoreError> {
        let wanted = id.clone();
        let found = store::look(&self.deps.store, move |store| {
            Ok(store.job(&wanted)?.map(|job| (job, store.live(&wanted))))
        })
        .await?;
        let Some((job, flushed)) = found else { return Ok(None) };
        let live = match self.hub.live(id) {
            Some(live) => live,
            None => flushed?.unwrap_or_default(),
        };
        Ok(Some((job, live)))
    }

    /// The clock that everything here follows.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.deps.clock
    }

    /// The store that everything here is kept in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.deps.store
    }

    /// Stops: drivers put their sessions away, progress is flushed. Jobs go on at the next [`Workflow::start`].
    pub async fn shutdown(&self) {
        self.stopping.send_replace(true);
        let mut tasks = self.take_tasks();
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
            tracing::warn!(
                "some drivers did not stop in time; their jobs go on at the next start all the same"
            );
        }
        tasks.shutdown().await;
        let live = self.hub.take_dirty();
        if let Err(error) = store::on(&self.deps.store, move |store| store.flush_live(&live)).await {
            tracing::warn!(%error, "the last progress was not kept");
        }
    }

    /// Stops at once, as a power cut would: nothing is put away. For tests of what a restart makes of it.
    pub async fn kill(&self) {
        self.take_tasks().shutdown().await;
    }
}

#[cfg(test)]
mod tests;
