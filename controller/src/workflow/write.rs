//! The one door through which jobs change: read, decide purely, write under the version that was read, and again
//! if someone was faster. Whoever changed something wakes whoever waits for it, in the very call that wrote: those
//! who asked for a change may go away at any await (a host that powers off, a client that hangs up).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Workflow;
use crate::model::{Job, JobId, NewEvent};
use crate::store::{self, Applied, Change, StoreError};

/// How writing went.
#[derive(Debug)]
pub enum Written<E> {
    /// It is durable.
    Done(Box<Job>),
    /// The decision was that nothing changes.
    Unchanged(Box<Job>),
    /// The report was taken in before.
    Repeated,
    /// Another controller drives the job.
    Fenced,
    /// There is no such job.
    Unknown,
    /// The decision was a refusal.
    Refused(E),
}

/// Races lost in a row before it is called a fault.
const RACES_MAX: u32 = 100;

impl Workflow {
    /// Changes a job as `decide` says. `decide` sees the newest job, may be asked again, and may decide on nothing.
    pub(super) async fn write<E: Send + 'static>(
        &self,
        id: &JobId,
        mut decide: impl FnMut(Job) -> Result<Option<Change>, E> + Send + 'static,
    ) -> Result<Written<E>, StoreError> {
        let (wanted, hub) = (id.clone(), Arc::clone(&self.hub));
        store::on(&self.deps.store, move |store| {
            for _ in 0..RACES_MAX {
                let Some(job) = store.job(&wanted)? else { return Ok(Written::Unknown) };
                let version = job.version;
                let unchanged = job.clone();
                let change = match decide(job) {
                    Ok(Some(change)) => change,
                    Ok(None) => return Ok(Written::Unchanged(Box::new(unchanged))),
                    Err(refusal) => return Ok(Written::Refused(refusal)),
                };
                let (by_driver, told) = (change.fence.is_some(), !change.announcements.is_empty());
                match store.apply(&wanted, version, change)? {
                    Applied::Done { job, seqs } => {
                        hub.publish(&wanted, &seqs);
                        if told {
                            hub.outbox.notify_one();
                        }
                        if !by_driver {
                            hub.nudge(&wanted); // a driver needs no waking by itself
                        }
                        return Ok(Written::Done(job));
                    }
                    Applied::Repeated => return Ok(Written::Repeated),
                    Applied::Fenced => return Ok(Written::Fenced),
                    Applied::Stale => {}
                }
            }
            Ok(Written::Fenced) // someone else is writing without end: leave it to them
        })
        .await
    }

    /// Adds events that change no state.
    pub(super) async fn note(&self, job: &Job, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let (id, machine, hub) = (job.id.clone(), job.machine_id.clone(), Arc::clone(&self.hub));
        store::on(&self.deps.store, move |store| {
            let seqs = store.add_events(Some(&id), Some(&machine), events)?;
            hub.publish(&id, &seqs);
            Ok(())
        })
        .await
    }

    pub(super) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    /// The time that comes `after` now.
    pub(super) fn later(&self, after: Duration) -> Timestamp {
        later(self.now(), after)
    }
}

/// `at` plus `after`, held at the end of time.
pub fn later(at: Timestamp, after: Duration) -> Timestamp {
    SignedDuration::try_from(after)
        .ok()
        .and_then(|after| at.checked_add(after).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Flushes progress, all jobs in one transaction, at most every `settings.flush`.
pub async fn flush_now_and_then(workflow: Arc<Workflow>) {
    let mut stopping = workflow.stopping.subscribe();
    loop {
        tokio::select! {
            () = workflow.hub.flush.notified() => {}
            _ = stopping.wait_for(|stop| *stop) => return, // shutdown flushes the rest
        }
        tokio::select! {
            () = workflow.deps.clock.sleep_until(workflow.later(workflow.deps.settings.flush)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let live = workflow.hub.take_dirty();
        if let Err(error) = store::on(&workflow.deps.store, move |store| store.flush_live(&live)).await {
            tracing::warn!(%error, "progress of running jobs was not kept");
        }
    }
}

/// How often old recipes are looked for.
const ERASE_EVERY: Duration = Duration::from_secs(3600);

/// Erases the recipes of jobs that were released long ago: they hold secrets.
pub async fn erase_now_and_then(workflow: Arc<Workflow>) {
    let mut stopping = workflow.stopping.subscribe();
    loop {
        let keep =
            SignedDuration::try_from(workflow.deps.settings.keep_inputs).unwrap_or(SignedDuration::MAX);
        let before = workflow.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
        match store::on(&workflow.deps.store, move |store| store.erase_inputs(before)).await {
            Ok(0) => {}
            Ok(erased) => tracing::info!(erased, "recipes of old jobs were erased"),
            Err(error) => tracing::warn!(%error, "recipes of old jobs were not erased"),
        }
        tokio::select! {
            () = workflow.deps.clock.sleep_until(workflow.later(ERASE_EVERY)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}
