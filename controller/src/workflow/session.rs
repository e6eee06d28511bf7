//! Whose token is this? For everything that hosts do besides reporting: pulling their images, sending their logs.

use std::sync::Arc;

use schema::event::LOG_MAX;

use super::Workflow;
use super::error::ReportError;
use super::redact::{self, Redactor};
use super::tokens::{self, Presented, Purpose};
use crate::model::Job;
use crate::model::machine::serial_key;
use crate::store::{self, HostLog};

/// A host that was told to go on, while its job is not released.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its job.
    pub job: Job,
}

impl Session {
    /// Whether this host may pull from a repository: only what its recipe names.
    pub fn may_pull(&self, repository: &str) -> bool {
        self.job.image.as_ref().is_some_and(|image| image.repository == repository)
            || self.job.extra_images.iter().any(|image| image.repository == repository)
    }
}

impl Workflow {
    /// The session that a bearer token opens. Dead at release, like the job.
    pub async fn session(&self, bearer: &str) -> Result<Session, ReportError> {
        let Some(token) = Presented::read(bearer) else { return Err(ReportError::Unauthorized) };
        let job = self.job_of(&token).await?;
        if token.purpose != Purpose::Session || job.state.is_released() {
            return Err(ReportError::Forbidden { status: "pull" });
        }
        Ok(Session { job })
    }

    /// The job a genuine token belongs to. Whether it may do what it wants is the caller's to say.
    pub(super) async fn job_of(&self, token: &Presented) -> Result<Job, ReportError> {
        let id = token.job.clone();
        let job = store::on(&self.deps.store, move |store| store.job(&id)).await?;
        // A job that is not there and a wrong token look the same from outside.
        let Some(job) = job else { return Err(ReportError::Unauthorized) };
        if !token.is_genuine(&self.deps.site_keys, job.boot_nonce.as_deref()) {
            return Err(ReportError::Unauthorized);
        }
        if token.attempt != job.attempt {
            return Err(ReportError::Forbidden { status: "stale" });
        }
        Ok(job)
    }

    /// The session of the host of this very machine, for sending logs.
    pub async fn log_session(&self, serial: &str, bearer: &str) -> Result<Session, ReportError> {
        let session = self.session(bearer).await?;
        if serial_key(serial) != serial_key(&session.job.serial) {
            return Err(ReportError::Forbidden { status: "log" });
        }
        Ok(session)
    }

    /// Keeps a host's log, cleaned of its job's secrets. The same again is kept once: its answer may have been lost.
    pub async fn keep_log(
        self: &Arc<Self>,
        session: &Session,
        name: &str,
        text: String,
    ) -> Result<(), ReportError> {
        if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            let message = format!("the name of a log is 1 to {NAME_MAX} plain characters");
            return Err(ReportError::Malformed { message });
        }
        if text.len() > LOG_MAX {
            let message = format!("a log is {} bytes; send its last {LOG_MAX}", text.len());
            return Err(ReportError::Malformed { message });
        }
        let (workflow, job, name) = (Arc::clone(self), session.job.clone(), name.to_owned());
        let kept = async move {
            let redactor = workflow.redactor(&job).await?;
            let (store, at) = (&workflow.deps.store, workflow.now());
            store::on(store, move |store| {
                let text = redactor.clean(&text); // here, where blocking is allowed
                let (job_id, attempt) = (job.id, job.attempt);
                store.append_log(HostLog { job_id, attempt, name, at, text })
            })
            .await
        };
        Ok(self.whole(kept).await??)
    }

    /// What must not be shown of anything this job's host says.
    pub(super) async fn redactor(&self, job: &Job) -> Result<Redactor, crate::store::StoreError> {
        let id = job.id.clone();
        let inputs = store::on(&self.deps.store, move |store| store.inputs(&id)).await?;
        let keys = &self.deps.site_keys;
        let bootstrap = tokens::bootstrap(keys, &job.id, job.attempt);
        let session =
            tokens::session(keys, &job.id, job.attempt, job.boot_nonce.as_deref().unwrap_or_default());
        Ok(inputs.map_or_else(Redactor::default, |inputs| {
            let proxy = redact::proxy_password(inputs.host_network.as_ref());
            Redactor::new(&inputs.recipe, &[bootstrap.expose(), session.expose(), proxy])
        }))
    }

    /// When the job's host was last heard; before it ever was, when its phase began or this controller came back.
    pub(super) fn heard_at(&self, job: &Job) -> jiff::Timestamp {
        let heard = self.hub.live(&job.id).and_then(|live| live.heard_at);
        [Some(job.phase_since), heard, Some(self.started_at)]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(job.phase_since)
    }
}

/// Longest name of a log, in bytes.
const NAME_MAX: usize = 128;
