//! One driver per open job: look where the job stands, do the step that belongs there, write what came of it.
//!
//! ```text
//!        ┌──────────── bell (cancel, report) ───────────┐
//!        ▼                                              │
//!   load job ─▶ deadline passed? ─▶ match phase ─▶ Go | Wait | Retry | Fail
//!        ▲                                              │
//!        └──────────────────────────────────────────────┘
//! ```
//! The driver remembers nothing that it could not find out again: kill it anywhere, start another, and it asks the
//! BMC how things are. A step that is interrupted is dropped where it awaits; every step may be begun anew.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::ear::Ear;
use super::error::chain;
use super::redact::without_media;
use super::telemetry::Told;
use super::write::{Written, later};
use super::{Urls, Workflow, change, steps, tokens};
use crate::model::{Ending, Failure, Illegal, Input, Inputs, Job, JobId, JobState, Machine, Phase, Wait};
use crate::redfish::{Bmc, BmcError, Probe};
use crate::store::{self, Change, StoreError};

/// What a step came to.
#[derive(Debug)]
pub enum Next {
    /// It is done: the job moves.
    Go(Input),
    /// Nothing to do until then, or until the bell rings.
    Wait {
        /// When to look again.
        until: Timestamp,
        /// What is awaited, for people.
        reason: String,
    },
    /// It did not work; it is tried again, with growing pauses.
    Retry(Fault),
    /// It cannot work.
    Fail(Failure),
}

/// What did not work, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable code.
    pub code: &'static str,
    /// With everything beneath it.
    pub text: String,
    /// Trying again may help.
    pub transient: bool,
    /// Not before then, where that is known.
    pub not_before: Option<Timestamp>,
}

impl Fault {
    /// Of that code.
    pub fn new(code: &'static str, text: impl Into<String>, transient: bool) -> Self {
        Self { code, text: text.into(), transient, not_before: None }
    }
}

impl From<BmcError> for Fault {
    fn from(error: BmcError) -> Self {
        let text = without_media(&chain(&error));
        Self { not_before: error.not_before(), ..Self::new(error.code(), text, error.is_transient()) }
    }
}

impl From<super::EdgeError> for Fault {
    fn from(error: super::EdgeError) -> Self {
        Self::new(error.code, error.message, error.transient)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new("store.unavailable", chain(&error), true)
    }
}

/// What a driver has at hand while it lives.
pub struct Cx {
    /// The door to everything durable.
    pub workflow: Arc<Workflow>,
    /// The machine, as last read.
    pub machine: Machine,
    /// What the medium is made of.
    pub inputs: Inputs,
    /// Fencing number of our lease.
    pub fence: u64,
    bmc: Option<Arc<dyn Bmc>>,
    /// What the BMC said of itself, once asked.
    pub probe: Option<Probe>,
    urls: Option<Urls>,
    /// This driver itself has just mounted everything: the machine is off and its override is set.
    pub primed: bool,
    /// What the BMC says by itself in this phase.
    pub ear: Ear,
    /// When it was found off by a look that a sign of the BMC's led to, and not looked at since.
    pub seemed_off: Option<Timestamp>,
    /// When this driver last saw to it that the machine is on.
    pub powered_at: Option<Timestamp>,
    /// The silence of the host that was last said aloud began then.
    pub silence_said: Option<Timestamp>,
    /// What was said of the media that the BMC read.
    pub told: Told,
    /// The boot progress that was last said.
    pub progress: Option<String>,
    /// The cleaning alarm was raised.
    pub alarmed: bool,
    /// That the transport worked was told.
    pub proved: bool,
    /// What the client of the BMC said.
    pub noted: Vec<String>,
}

/// First pause before a retry, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After a store fault that left us without a job to look at.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Drives a job until it is released, the controller stops, or another one took it.
pub async fn run(workflow: Arc<Workflow>, id: JobId) {
    let mut stopping = workflow.stopping.subscribe();
    while let Err(error) = drive(&workflow, &id, &mut stopping).await {
        tracing::error!(job_id = %id, error = chain(&error), "a driver lost the store; it tries again");
        tokio::select! {
            () = workflow.deps.clock.sleep_until(workflow.later(STORE_PAUSE)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

async fn drive(
    workflow: &Arc<Workflow>,
    id: &JobId,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut bell = workflow.hub.bell(id);
    let Some(fence) = take_lease(workflow, id).await? else {
        workflow.hub.forget(id); // another controller has it
        return Ok(());
    };
    workflow.hub.hold(id); // from now on it is renewed: lease.rs
    let Some(mut cx) = Cx::load(workflow, id, fence).await? else {
        workflow.hub.forget(id);
        return Ok(());
    };
    let ended = tokio::select! {
        ended = to_the_end(&mut cx, id, &mut bell) => Some(ended),
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    cx.put_away().await; // on every way out: BMCs have few sessions
    let Some(ended) = ended else { return Ok(()) }; // stopped: the job goes on at the next start
    let ended = ended?;
    workflow.deps.shelf.forget(id);
    if ended == End::Over {
        workflow.unpin(id).await;
    }
    workflow.hub.forget(id);
    Ok(())
}

/// Why a driver is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The job is released, or gone.
    Over,
    /// Another controller drives it.
    Lost,
}

/// Step after step until the job is released.
async fn to_the_end(cx: &mut Cx, id: &JobId, bell: &mut watch::Receiver<u64>) -> Result<End, StoreError> {
    let workflow = &Arc::clone(&cx.workflow);
    let mut retries = 0;
    let mut last_fault = None; // in this phase: what a deadline's reason must not forget
    let mut listened_in = None;
    loop {
        bell.mark_unchanged();
        let wanted = id.clone();
        let Some(job) = store::on(&workflow.deps.store, move |store| store.job(&wanted)).await? else {
            return Ok(End::Over);
        };
        if job.state.is_released() {
            return Ok(End::Over);
        }
        if workflow.hub.is_lost(id) {
            tracing::warn!(job_id = %id, "another controller drives this job by now; this one lets go of it");
            return Ok(End::Lost);
        }
        if listened_in.as_ref() != Some(&job.state) {
            cx.ear = Ear::default(); // every phase has its own
            listened_in = Some(job.state.clone());
        }
        let deadline = deadline(cx, &job);
        if let Some(failure) = overdue(workflow, &job, deadline) {
            // What comes next has its own faults, and does not wait for those of this phase.
            retries = 0;
            last_fault = None;
            cx.advance(&job, fail(&job, failure)).await?;
            continue;
        }
        let limit = cx.limit(&job, deadline);
        let next = tokio::select! {
            next = step(cx, &job) => next,
            () = workflow.deps.clock.sleep_until(limit) => {
                let at = cx.at_work().map_or_else(String::new, |at| format!(": {at}"));
                let text = match &last_fault {
                    Some(before) => format!("{} went on too long{at}, after this: {before}", job.state.name()),
                    None => format!("{} did not come to an end in time{at}", job.state.name()),
                };
                Next::Retry(Fault::new("timeout.step", text, true))
            }
            _ = bell.changed() => continue, // the step is dropped; look again what is wanted
        };
        match next {
            Next::Go(input) => {
                retries = 0;
                last_fault = None;
                workflow.hub.wait(id, None);
                cx.advance(&job, input).await?;
            }
            Next::Fail(failure) => cx.advance(&job, fail(&job, failure)).await?,
            Next::Wait { until, reason } => {
                retries = 0;
                last_fault = None;
                pause(workflow, &job, bell, Some(&mut cx.ear), until.min(limit), reason).await;
            }
            Next::Retry(fault) if fault.transient || job.state.outcome().is_some() => {
                let pause_for = FIRST_PAUSE.saturating_mul(1 << retries.min(6)).min(LONGEST_PAUSE);
                retries += 1;
                if fault.code != "timeout.step" {
                    last_fault = Some(fault.text.clone());
                }
                tracing::warn!(job_id = %id, phase = job.state.name(), error = fault.text, "trying again");
                cx.reconnect().await?;
                let until = workflow
                    .later(spread(pause_for, id, retries))
                    .max(fault.not_before.unwrap_or(Timestamp::MIN));
                let reason = format!("{} [{}]", fault.text, fault.code);
                pause(workflow, &job, bell, None, until.min(limit.max(workflow.now())), reason).await;
            }
            Next::Retry(fault) => {
                let failure = Failure {
                    failed_step: job.state.name().to_owned(),
                    code: fault.code.to_owned(),
                    reason: fault.text,
                };
                cx.advance(&job, fail(&job, failure)).await?;
            }
        }
    }
}

/// The step that belongs to where the job stands.
async fn step(cx: &mut Cx, job: &Job) -> Next {
    let came = take_step(cx, job).await;
    cx.tell_notes(job).await;
    came.unwrap_or_else(Next::Retry)
}

async fn take_step(cx: &mut Cx, job: &Job) -> Result<Next, Fault> {
    match job.state {
        JobState::Queued => Ok(Next::Go(Input::Taken)),
        JobState::Provisioning(Phase::Staging) => steps::staging::step(cx, job).await,
        JobState::Provisioning(Phase::Probing) => steps::probing::step(cx, job).await,
        JobState::Provisioning(Phase::Mounting) => steps::mounting::step(cx, job).await,
        JobState::Provisioning(Phase::Booting) => steps::booting::step(cx, job).await,
        JobState::Provisioning(Phase::Installing) => steps::installing::step(cx, job).await,
        JobState::Over { ending: Ending::CleaningUp, .. } => steps::cleaning::step(cx, job).await,
        // The last two phases come only after the outcome; a job that was in them otherwise would be held.
        JobState::Provisioning(Phase::CleaningUp | Phase::Holding) | JobState::Over { .. } => {
            Ok(steps::holding::step(cx))
        }
    }
}

/// A pause that is this job's own: up to a quarter shorter, so that all jobs of a rack that lost its network do not come
/// back in the same moment.
fn spread(pause: Duration, id: &JobId, retries: u32) -> Duration {
    let mut hasher = std::hash::DefaultHasher::new();
    (id.as_str(), retries).hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
    pause.saturating_sub((pause / 4000) * share)
}

/// Waits, saying why. The bell ends it early, and so does a sign of the BMC's.
async fn pause(
    workflow: &Workflow,
    job: &Job,
    bell: &mut watch::Receiver<u64>,
    ear: Option<&mut Ear>,
    until: Timestamp,
    reason: String,
) {
    workflow.hub.wait(&job.id, Some(Wait { reason, until }));
    workflow.hub.park(&job.id, Some(until));
    let clock = workflow.deps.clock.as_ref();
    let sign = async {
        match ear {
            Some(ear) => ear.due(clock).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = clock.sleep_until(until) => {}
        _ = bell.changed() => {}
        () = sign => {}
    }
    workflow.hub.park(&job.id, None);
}

/// Until when the present phase may take; none while held, and none after the outcome, where nothing can fail.
fn deadline(cx: &Cx, job: &Job) -> Option<Timestamp> {
    let JobState::Provisioning(phase) = job.state else { return None };
    let mut end = job.deadlines.of(phase).map(|allowed| later(job.phase_since, allowed))?;
    if phase == Phase::Booting {
        end = steps::booting::extended(cx, job, end);
    }
    let whole = job.deadlines.job.map(|seconds| later(job.created_at, Duration::from_secs(seconds)));
    Some(whole.map_or(end, |whole| end.min(whole)))
}

fn overdue(workflow: &Workflow, job: &Job, deadline: Option<Timestamp>) -> Option<Failure> {
    let JobState::Provisioning(phase) = job.state else { return None };
    if workflow.now() < deadline? {
        return None;
    }
    let allowed = workflow.now().duration_since(job.phase_since).as_secs();
    let awaited = workflow
        .hub
        .live(&job.id)
        .and_then(|live| live.wait)
        .map_or_else(|| "nothing was reported".to_owned(), |wait| wait.reason);
    Some(Failure {
        failed_step: phase.as_str().to_owned(),
        code: format!("timeout.{phase}"),
        reason: format!("{phase} was not done after {allowed} s; what was awaited: {awaited}"),
    })
}

fn fail(job: &Job, failure: Failure) -> Input {
    // Only a host that was told to go on can be kept for debugging: before that there is nothing to look at.
    let hold = job.on_failure == schema::recipe::OnFailure::Stay && job.boot_nonce.is_some();
    Input::Failed { failure, hold }
}

async fn take_lease(workflow: &Arc<Workflow>, id: &JobId) -> Result<Option<u64>, StoreError> {
    let (id, owner, now) = (id.clone(), workflow.owner.clone(), workflow.now());
    let lease = workflow.deps.settings.lease;
    let taken =
        store::on(&workflow.deps.store, move |store| store.take_lease(&id, &owner, now, later(now, lease)))
            .await?;
    Ok(taken.map(|lease| lease.fence))
}

impl Cx {
    async fn load(workflow: &Arc<Workflow>, id: &JobId, fence: u64) -> Result<Option<Self>, StoreError> {
        let id = id.clone();
        let found = store::on(&workflow.deps.store, move |store| {
            let Some(job) = store.job(&id)? else { return Ok(None) };
            let (Some(machine), Some(inputs)) = (store.machine(&job.machine_id)?, store.inputs(&id)?) else {
                return Ok(None);
            };
            Ok(Some((machine, inputs)))
        })
        .await?;
        Ok(found.map(|(machine, inputs)| Self {
            workflow: Arc::clone(workflow),
            machine,
            inputs,
            fence,
            bmc: None,
            probe: None,
            urls: None,
            primed: false,
            ear: Ear::default(),
            seemed_off: None,
            powered_at: None,
            silence_said: None,
            proved: false,
            noted: Vec::new(),
            told: Told::default(),
            progress: None,
            alarmed: false,
        }))
    }

    /// The BMC's client: one session for as long as all goes well.
    pub async fn bmc(&mut self) -> Result<Arc<dyn Bmc>, Fault> {
        if let Some(bmc) = &self.bmc {
            return Ok(Arc::clone(bmc));
        }
        let bmc = self.workflow.connect(&self.machine).await?;
        self.bmc = Some(Arc::clone(&bmc));
        Ok(bmc)
    }

    /// What the BMC was asked last, or is awaited of it, for a step that was cut off.
    fn at_work(&self) -> Option<String> {
        self.bmc.as_ref()?.at_work().map(|text| without_media(&text))
    }

    /// The BMC's client, where there is one at present.
    pub fn held_bmc(&self) -> Option<&dyn Bmc> {
        self.bmc.as_deref()
    }

    /// After a fault: a new session with what the machine's record says by now, so that a corrected password or
    /// address is taken up without anyone restarting anything.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        self.put_away().await;
        let id = self.machine.id.clone();
        if let Some(machine) = store::on(&self.workflow.deps.store, move |store| store.machine(&id)).await? {
            self.machine = machine;
        }
        Ok(())
    }

    /// Ends the BMC session; the next call begins another.
    pub async fn put_away(&mut self) {
        self.ear.hang_up();
        if let Some(bmc) = self.bmc.take() {
            let until = self.workflow.later(CLOSE_DEADLINE);
            tokio::select! {
                () = bmc.close() => {}
                () = self.workflow.deps.clock.sleep_until(until) => {}
            }
        }
    }

    /// What the BMC says of itself: asked once per driver.
    pub async fn probe(&mut self) -> Result<Probe, Fault> {
        if let Some(probe) = &self.probe {
            return Ok(probe.clone());
        }
        let probe = self.bmc().await?.probe().await?;
        self.probe = Some(probe.clone());
        Ok(probe)
    }

    /// Where this attempt's media are; staged if this driver did not yet.
    pub async fn urls(&mut self, job: &Job) -> Result<Urls, Fault> {
        if let Some(urls) = &self.urls {
            return Ok(urls.clone());
        }
        let token = tokens::bootstrap(&self.workflow.deps.site_keys, &job.id, job.attempt);
        let urls = self.workflow.deps.shelf.stage(job, &self.inputs, &token).await?;
        self.urls = Some(urls.clone());
        Ok(urls)
    }

    /// Writes a fact about the job that must be durable before the next thing is done. The state stays.
    pub async fn record(&self, job: &Job, change: impl Fn(&mut Job) + Send + 'static) -> Result<Job, Fault> {
        let (fence, state, now) = (self.fence, job.state.clone(), self.workflow.now());
        let written = self
            .workflow
            .write::<()>(&job.id, move |mut job| {
                if job.state != state {
                    return Ok(None); // the bell rings already
                }
                change(&mut job);
                job.updated_at = now;
                Ok(Some(Change { fence: Some(fence), ..Change::of(job) }))
            })
            .await?;
        match written {
            Written::Done(job) => Ok(*job),
            _ => Err(lost_job()),
        }
    }

    /// Moves the job, unless someone else moved it meanwhile.
    async fn advance(&mut self, job: &Job, input: Input) -> Result<(), StoreError> {
        let (fence, state, now) = (self.fence, job.state.clone(), self.workflow.now());
        let written = self
            .workflow
            .write::<Illegal>(&job.id, move |job| {
                if job.state != state {
                    return Ok(None);
                }
                let change = change::transition(job, input.clone(), now)?;
                Ok(Some(Change { fence: Some(fence), ..change }))
            })
            .await?;
        match written {
            Written::Refused(illegal) => {
                tracing::error!(job_id = %job.id, %illegal, "a driver asked for a wrong move");
            }
            Written::Done(job) => tracing::info!(job_id = %job.id, state = job.state.name(), "job moved"),
            _ => {}
        }
        Ok(())
    }

    /// When the present step is given up and begun anew: at the phase's deadline; after the outcome, where there is
    /// none, after as long as cleaning may take.
    fn limit(&self, job: &Job, deadline: Option<Timestamp>) -> Timestamp {
        let cleaning = Duration::from_secs(job.deadlines.cleaning_up.max(1));
        deadline.unwrap_or_else(|| self.workflow.later(cleaning))
    }
}

/// For ending a BMC session.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

fn lost_job() -> Fault {
    Fault::new("job.lost", "this job was moved or taken over meanwhile", true)
}

impl Workflow {
    /// A client for a machine's BMC.
    pub(super) async fn connect(&self, machine: &Machine) -> Result<Arc<dyn Bmc>, Fault> {
        let id = machine.id.clone();
        let password = store::on(&self.deps.store, move |store| store.machine_password(&id)).await?;
        Ok(self.deps.bmcs.connect(machine, password.unwrap_or_default())?)
    }
}
