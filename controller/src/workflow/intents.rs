//! What people ask for beyond a new job: cancel, repeat, release. Each is idempotent: asking again for what
//! already is so changes nothing and answers the same.

use std::sync::Arc;

use super::accept::{Accepted, Submission};
use super::error::{AcceptError, IntentError};
use super::write::Written;
use super::{Workflow, change};
use crate::model::{Ending, Input, Job, JobId, JobState, Lifecycle, Machine, NewEvent, Source, Status};
use crate::store;

impl Workflow {
    /// Stops a job. One that is over stays as it is.
    pub async fn cancel(&self, id: &JobId, by: &str) -> Result<Job, IntentError> {
        let (now, by) = (self.now(), by.to_owned());
        let refused = id.clone();
        let written = self
            .write(id, move |job| {
                if job.state.outcome().is_some() {
                    return Ok(None);
                }
                let event = NewEvent::new(now, Source::Operator, "intent.cancel", format!("{by} cancels"));
                let mut change = change::transition(job, Input::Cancelled { by: by.clone() }, now)
                    .map_err(|source| IntentError::Illegal { job: refused.clone(), source })?;
                change.events.insert(0, event);
                Ok(Some(change))
            })
            .await?;
        settled(id, written)
    }

    /// Ends the holding of a job that is over. By force it also frees a machine whose BMC is dead: nothing is
    /// put right then, so the machine is quarantined if the job had touched it.
    pub async fn release(self: &Arc<Self>, id: &JobId, force: bool, by: &str) -> Result<Job, IntentError> {
        let (workflow, id, by) = (Arc::clone(self), id.clone(), by.to_owned());
        self.whole(async move { workflow.release_whole(id, force, by).await }).await?
    }

    async fn release_whole(&self, id: JobId, force: bool, by: String) -> Result<Job, IntentError> {
        if force {
            self.cancel(&id, &by).await?;
        }
        let now = self.now();
        let refused = id.clone();
        let written = self
            .write(&id, move |job| {
                let input = match &job.state {
                    JobState::Over { ending: Ending::Released, .. } => return Ok(None),
                    JobState::Over { .. } if force => Input::ForceReleased,
                    JobState::Over { ending: Ending::CleaningUp, .. } => return Ok(None),
                    JobState::Over { ending: Ending::Holding, .. } => Input::Unheld,
                    state => return Err(IntentError::NotOver { job: refused.clone(), state: state.name() }),
                };
                let text = if force { format!("{by} releases by force") } else { format!("{by} releases") };
                let mut change = change::transition(job, input, now)
                    .map_err(|source| IntentError::Illegal { job: refused.clone(), source })?;
                change.events.insert(0, NewEvent::new(now, Source::Operator, "intent.release", text));
                Ok(Some(change))
            })
            .await?;
        settled(&id, written)
    }

    /// Repeats a failed or cancelled job as a new one: its outcome stays what it was. The recipe and its payloads
    /// are those of then; image tags mean what they mean now. Asking again gives the same new job.
    pub async fn retry(self: &Arc<Self>, id: &JobId, by: &str) -> Result<Accepted, AcceptError> {
        let wanted = id.clone();
        let (job, again, inputs, secret) = store::on(&self.deps.store, move |store| {
            let again = match store.retry_of(&wanted)? {
                Some(again) => store.job(&again)?,
                None => None,
            };
            Ok((store.job(&wanted)?, again, store.inputs(&wanted)?, store.job_callback_secret(&wanted)?))
        })
        .await?;
        if let Some(job) = again {
            return Ok(Accepted { job, created: false, callback_secret: None });
        }
        let Some(job) = job else { return Err(AcceptError::UnknownJob { job: id.clone() }) };
        if !job.state.is_released() || job.state.status() == Status::Succeeded {
            return Err(AcceptError::NotRepeatable { job: job.id, status: job.state.status().as_str() });
        }
        let Some(inputs) = inputs else { return Err(AcceptError::Erased { job: job.id }) };
        let submission = Submission {
            server_serial: job.serial.clone(),
            recipe: String::new(), // settled below from the stored recipe
            reinstall: job.reinstall,
            evict: job.evict,
            callback_url: job.callback_url.clone(),
            callback_secret: secret, // the receiver knows this one
            idempotency: None,
            requested_by: by.to_owned(),
        };
        let settled = self.settle_recipe(inputs.recipe, &submission).await?;
        self.create(settled, &submission, job.recipe_sha256, Some(job.id)).await
    }

    /// Frees a quarantined machine, or takes one out of service.
    pub async fn release_machine(&self, serial: &str, by: &str) -> Result<Machine, IntentError> {
        let (wanted, now) = (serial.to_owned(), self.now());
        let unknown = || IntentError::UnknownMachine { serial: serial.to_owned() };
        let found = store::on(&self.deps.store, move |store| {
            let Some(machine) = store.machine_by_serial(&wanted)? else { return Ok(None) };
            let active = store.active_job(&machine.id)?;
            Ok(Some((machine, active)))
        })
        .await?;
        let (machine, active) = found.ok_or_else(unknown)?;
        if let Some(job) = active {
            return Err(IntentError::ActiveJob { serial: machine.serial, job });
        }
        if machine.lifecycle == Lifecycle::Free {
            return Ok(machine);
        }
        let text = format!("{by} releases the machine, which was {}", machine.lifecycle.as_str());
        let event = NewEvent::new(now, Source::Operator, "machine.released", text);
        let telling = crate::model::Announcement {
            kind: "machine.released".to_owned(),
            data: serde_json::json!({ "machine_id": machine.id, "serial": machine.serial, "by": by }),
        };
        let (id, hub) = (machine.id.clone(), Arc::clone(&self.hub));
        let machine = store::on(&self.deps.store, move |store| {
            store.set_lifecycle(&id, Lifecycle::Free, event)?;
            store.announce(now, telling)?;
            hub.outbox.notify_one();
            store.machine(&id)
        })
        .await?;
        machine.ok_or_else(unknown)
    }
}

fn settled(id: &JobId, written: Written<IntentError>) -> Result<Job, IntentError> {
    match written {
        Written::Done(job) | Written::Unchanged(job) => Ok(*job),
        Written::Refused(refusal) => Err(refusal),
        Written::Unknown | Written::Repeated | Written::Fenced => {
            Err(IntentError::UnknownJob { job: id.clone() })
        }
    }
}
