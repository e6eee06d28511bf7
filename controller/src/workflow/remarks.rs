//! What a driver writes into its job's timeline as it goes.

use super::drive::{Cx, Fault};
use super::redact::without_media;
use super::telemetry::Fetched;
use crate::model::{Job, NewEvent, Source};
use crate::redfish::{Bmc, Evidence};

impl Cx {
    /// Records what was seen, for the timeline.
    pub async fn saw(&self, job: &Job, evidence: &Evidence) -> Result<(), Fault> {
        let data = serde_json::json!({ "requests": evidence.requests });
        let event =
            NewEvent::new(self.workflow.now(), Source::Bmc, "bmc.evidence", without_media(&evidence.seen));
        let event = event.step(job.state.name()).data(data);
        Ok(self.workflow.note(job, vec![event]).await?)
    }

    /// Records, once each, what the client of the BMC has to say of how it speaks to it.
    pub async fn tell_notes(&mut self, job: &Job) {
        let notes = self.held_bmc().map(Bmc::notes).unwrap_or_default();
        for note in notes {
            if self.noted.contains(&note) {
                continue;
            }
            if let Err(fault) = self.remark(job, "bmc.note", note.clone()).await {
                tracing::warn!(job_id = %job.id, note, error = fault.text, "a note is not in the timeline");
            }
            self.noted.push(note);
        }
    }

    /// Records what was read of the media since this was last asked.
    pub async fn telemetry(&mut self, job: &Job) -> Result<(), Fault> {
        let now = self.workflow.now();
        let news = self
            .told
            .news(&self.workflow.deps.shelf.reads(&job.id), job.transport.as_ref().map(|t| t.transport));
        let event = |fetched: Fetched| {
            let event = NewEvent::new(now, Source::Bmc, "bmc.fetched", fetched.text);
            event.step(job.state.name()).data(fetched.data)
        };
        let events: Vec<NewEvent> = news.into_iter().map(event).collect();
        if events.is_empty() { Ok(()) } else { Ok(self.workflow.note(job, events).await?) }
    }

    /// Records a remark of ours.
    pub async fn remark(&self, job: &Job, code: &str, text: String) -> Result<(), Fault> {
        let event = NewEvent::new(self.workflow.now(), Source::Controller, code, text).step(job.state.name());
        Ok(self.workflow.note(job, vec![event]).await?)
    }
}
