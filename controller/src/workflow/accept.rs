//! From a POST to a durable job, or to a refusal that leaves nothing behind.
//!
//! ```text
//!   recipe text ─▶ valid? ─▶ machine, free? ─▶ URLs, payloads, images (resolved, pinned) ─▶ store.create_job
//!                                                       └─ dry run stops here: plan.rs
//! ```
//! Everything that may change later (tags, payload URLs, settings) is settled here, so that the task medium is a
//! pure function of what is stored.

use std::sync::Arc;

use jiff::Timestamp;
use schema::recipe::{Payload, PayloadBase64, Recipe};
use schema::target;
use schema::task::TaskImage;
use sha2::{Digest, Sha256};
use url::Url;

use super::edges::FoundImage;
use super::error::AcceptError;
use super::outbox::{fresh_secret, secret_key};
use super::{Workflow, change};
use crate::model::{
    Inputs, Job, JobId, JobState, Lifecycle, Machine, NewEvent, Overrides, PinnedImage, ResolvedImage,
    Secret, Source, StepRecord,
};
use crate::store::{self, Created, Idempotency, NewJob, StoreError};

/// What was POSTed.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The machine, by serial.
    pub server_serial: String,
    /// The recipe, as JSON text.
    pub recipe: String,
    /// The caller knows that the machine may be in service.
    pub reinstall: bool,
    /// Somebody else's media may be taken out of the slots that are needed.
    pub evict: bool,
    /// Where this one job's events go.
    pub callback_url: Option<String>,
    /// What signs them; one is made when none is given.
    pub callback_secret: Option<Secret<String>>,
    /// The caller's promise about repeats.
    pub idempotency: Option<Idempotency>,
    /// Who asks: name of a token.
    pub requested_by: String,
}

/// The job of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// False: it was made by an earlier request with the same key, or the same repetition.
    pub created: bool,
    /// What signs callbacks to its own `callback_url`, for the one who submitted it and did not give it.
    pub callback_secret: Option<Secret<String>>,
}

/// Everything about a submission that is settled before anything is stored.
pub(super) struct Settled {
    pub machine: Machine,
    pub recipe: Recipe,
    pub image: Option<ResolvedImage>,
    pub extra_images: Vec<PinnedImage>,
    pub steps: Vec<StepRecord>,
    pub destructive: bool,
    pub api_url: String,
    pub media_url: String,
}

impl Workflow {
    /// Accepts a job: when this answers, the job is durable and being driven.
    pub async fn accept(self: &Arc<Self>, submission: Submission) -> Result<Accepted, AcceptError> {
        if let Some(accepted) = self.accepted_before(&submission).await? {
            return Ok(accepted);
        }
        let settled = self.settle(&submission).await?;
        let recipe_sha256 = hex::encode(Sha256::digest(submission.recipe.as_bytes()));
        self.create(settled, &submission, recipe_sha256, None).await
    }

    async fn accepted_before(&self, submission: &Submission) -> Result<Option<Accepted>, AcceptError> {
        let Some(idempotency) = submission.idempotency.clone() else { return Ok(None) };
        let key = idempotency.key.clone();
        let found = store::asked(&self.deps.store, move |store| {
            let Some((id, body)) = store.idempotent_job(&key)? else { return Ok(None) };
            Ok(store.job(&id)?.map(|job| (job, body)))
        })
        .await?;
        match found {
            None => Ok(None),
            Some((job, body)) if body == idempotency.body_sha256 => {
                let callback_secret = self.secret_for(&job, submission).await?;
                Ok(Some(Accepted { job, created: false, callback_secret }))
            }
            Some((job, _)) => Err(AcceptError::KeyReused { key: idempotency.key, job: job.id }),
        }
    }

    /// Checks and settles everything; changes nothing.
    pub(super) async fn settle(&self, submission: &Submission) -> Result<Settled, AcceptError> {
        let recipe = schema::validate::recipe(&submission.recipe).map_err(AcceptError::Recipe)?;
        self.settle_recipe(recipe, submission).await
    }

    pub(super) async fn settle_recipe(
        &self,
        mut recipe: Recipe,
        submission: &Submission,
    ) -> Result<Settled, AcceptError> {
        let shipped = target::find(&recipe.task_target);
        // What a site's own target does is the site's to know: it is treated with the same care as an install.
        let destructive = shipped.is_none_or(|target| target.destructive);
        let machine = self.machine_for(submission, &recipe.task_target, destructive).await?;
        self.deps.shelf.ready()?;
        let settings = &self.deps.settings;
        let api_url = self.reachable("api_url", machine.api_url.as_ref().unwrap_or(&settings.api_url))?;
        let media_url =
            self.reachable("media_url", machine.media_url.as_ref().unwrap_or(&settings.media_url))?;
        callback_secret_fits(submission.callback_url.as_ref(), submission.callback_secret.as_ref())?;
        if let Some(url) = &submission.callback_url {
            self.deps
                .fetch
                .check(url)
                .await
                .map_err(|source| AcceptError::CallbackUrl { url: shown(url), source })?;
        }
        let image = match &recipe.oci_url {
            Some(reference) => Some(self.image(reference, "/oci_url").await?),
            None => None,
        };
        let image = image.map(|image| settle_kind(image, &recipe)).transpose()?;
        let mut extra_images = Vec::new();
        for (step, reference) in &recipe.tools {
            extra_images.push(self.image(reference, &format!("/tools/{step}")).await?.pinned());
        }
        for (n, reference) in recipe.drivers.iter().flatten().enumerate() {
            extra_images.push(self.image(reference, &format!("/drivers/{n}")).await?.pinned());
        }
        self.fetch_payloads(&mut recipe).await?;
        let steps = shipped.map(|target| target.steps).unwrap_or_default();
        Ok(Settled {
            machine,
            steps: steps.iter().map(|name| StepRecord::waiting(*name)).collect(),
            recipe,
            image,
            extra_images,
            destructive,
            api_url,
            media_url,
        })
    }

    async fn machine_for(
        &self,
        submission: &Submission,
        target: &str,
        destructive: bool,
    ) -> Result<Machine, AcceptError> {
        let serial = submission.server_serial.trim().to_owned();
        if schema::identity::is_placeholder_serial(&serial) {
            return Err(AcceptError::PlaceholderSerial { serial });
        }
        let wanted = serial.clone();
        let found = store::asked(&self.deps.store, move |store| {
            let Some(machine) = store.machine_by_serial(&wanted)? else { return Ok(None) };
            let active = store.active_job(&machine.id)?;
            Ok(Some((machine, active)))
        })
        .await?;
        let Some((machine, active)) = found else { return Err(AcceptError::UnknownMachine { serial }) };
        if let Some(job) = active {
            return Err(AcceptError::ActiveJob { serial, job });
        }
        match &machine.lifecycle {
            Lifecycle::Quarantined { reason, .. } => {
                Err(AcceptError::Quarantined { serial, reason: reason.clone() })
            }
            Lifecycle::InService { .. } if destructive && !submission.reinstall => {
                Err(AcceptError::InService { serial, target: target.to_owned() })
            }
            Lifecycle::InService { .. } | Lifecycle::Free => Ok(machine),
        }
    }

    fn reachable(&self, name: &'static str, url: &str) -> Result<String, AcceptError> {
        let url = url.trim_end_matches('/').to_owned();
        let loopback = Url::parse(&url).ok().is_none_or(|url| match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
            Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => true,
        });
        if loopback && !self.deps.settings.allow_loopback {
            return Err(AcceptError::LoopbackUrl { name, url });
        }
        Ok(url)
    }

    async fn image(&self, reference: &str, path: &str) -> Result<FoundImage, AcceptError> {
        self.deps.images.resolve(reference).await?.ok_or_else(|| AcceptError::ImageNotFound {
            reference: reference.to_owned(),
            path: path.to_owned(),
        })
    }

    async fn fetch_payloads(&self, recipe: &mut Recipe) -> Result<(), AcceptError> {
        use base64::Engine as _;
        use schema::payload::{CLOUD_INIT_MAX, KICKSTART_MAX, SCRIPT_MAX, UNATTEND_MAX};
        let named = [
            ("/user_data", &mut recipe.user_data, CLOUD_INIT_MAX),
            ("/meta_data", &mut recipe.meta_data, CLOUD_INIT_MAX),
            ("/network_config", &mut recipe.network_config, CLOUD_INIT_MAX),
            ("/unattend_xml", &mut recipe.unattend_xml, UNATTEND_MAX),
            ("/ks_cfg", &mut recipe.ks_cfg, KICKSTART_MAX),
        ];
        let named = named.into_iter().filter_map(|(path, payload, max)| {
            payload.as_mut().map(|payload| (path.to_owned(), payload, max))
        });
        let scripts = recipe.first_boot_scripts.iter_mut().flatten().enumerate();
        let scripts = scripts.map(|(n, payload)| (format!("/first_boot_scripts/{n}"), payload, SCRIPT_MAX));
        for (path, payload, max) in named.chain(scripts) {
            let Some(remote) = payload.remote() else { continue };
            let bytes = self.deps.fetch.get(&remote.url, &remote.sha256, max).await.map_err(|source| {
                AcceptError::Payload { path: path.clone(), url: shown(&remote.url), source }
            })?;
            let content_base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
            *payload = Payload::Base64(PayloadBase64 { content_base64 });
        }
        Ok(())
    }

    /// Pins, stores, drives: a task of its own, because a client that hangs up must not leave a job without a
    /// driver, nor images pinned for nothing.
    pub(super) async fn create(
        self: &Arc<Self>,
        settled: Settled,
        submission: &Submission,
        recipe_sha256: String,
        retry_of: Option<JobId>,
    ) -> Result<Accepted, AcceptError> {
        let (workflow, submission) = (Arc::clone(self), submission.clone());
        // On the heap: it is large, and every caller's future would hold it.
        let created =
            Box::pin(
                async move { workflow.create_whole(settled, &submission, recipe_sha256, retry_of).await },
            );
        self.whole(created).await?
    }

    async fn create_whole(
        self: &Arc<Self>,
        settled: Settled,
        submission: &Submission,
        recipe_sha256: String,
        retry_of: Option<JobId>,
    ) -> Result<Accepted, AcceptError> {
        let now = self.now();
        let (job, inputs) =
            self.job_from(settled.recipe.clone(), &settled, submission, recipe_sha256, retry_of, now);
        let callback_secret = match (&submission.callback_url, &submission.callback_secret) {
            (None, _) => None,
            (Some(_), Some(given)) => Some(given.clone()),
            (Some(_), None) => Some(fresh_secret().map_err(|_| AcceptError::NoRandomness)?),
        };
        for image in job.images() {
            if let Err(error) = self.deps.images.pin(&image, &job.id).await {
                self.unpin(&job.id).await;
                return Err(error.into());
            }
        }
        let text = match &job.image {
            Some(image) => format!("accepted; {} is {}@{}", image.reference, image.repository, image.digest),
            None => "accepted".to_owned(),
        };
        let event = NewEvent::new(now, Source::Operator, "job.queued", text)
            .data(serde_json::json!({ "requested_by": submission.requested_by, "recipe_sha256": job.recipe_sha256 }));
        let new = NewJob {
            announcements: vec![change::announcement(&job, "job.queued")],
            callback_secret,
            idempotency: submission.idempotency.clone(),
            events: vec![event],
            job: job.clone(),
            inputs,
        };
        let created = store::asked(&self.deps.store, move |store| store.create_job(new)).await;
        if !matches!(created, Ok(Created::New(_))) {
            self.unpin(&job.id).await;
        }
        let serial = job.serial.clone();
        match created? {
            Created::New(job) => {
                tracing::info!(job_id = %job.id, serial = %job.serial, target = %job.task_target, "job accepted");
                self.drive(job.id.clone());
                self.hub.outbox.notify_one();
                let callback_secret = self.secret_for(&job, submission).await?;
                Ok(Accepted { job: *job, created: true, callback_secret })
            }
            Created::Existing(job) => {
                let callback_secret = self.secret_for(&job, submission).await?;
                Ok(Accepted { job: *job, created: false, callback_secret })
            }
            Created::KeyReused { job } => {
                let key = submission.idempotency.as_ref().map(|i| i.key.clone()).unwrap_or_default();
                Err(AcceptError::KeyReused { key, job })
            }
            Created::ActiveJob { job } => Err(AcceptError::ActiveJob { serial, job }),
            Created::NoMachine => Err(AcceptError::UnknownMachine { serial }),
        }
    }

    /// The secret of a job's callbacks, for the answer: whoever submitted the job may not have heard it the first
    /// time. Who gave it knows it, and nobody else is told.
    async fn secret_for(
        &self,
        job: &Job,
        submission: &Submission,
    ) -> Result<Option<Secret<String>>, StoreError> {
        if submission.callback_secret.is_some() || job.requested_by != submission.requested_by {
            return Ok(None);
        }
        let id = job.id.clone();
        store::asked(&self.deps.store, move |store| store.job_callback_secret(&id)).await
    }

    fn job_from(
        &self,
        recipe: Recipe,
        settled: &Settled,
        submission: &Submission,
        recipe_sha256: String,
        retry_of: Option<JobId>,
        now: Timestamp,
    ) -> (Job, Inputs) {
        let settings = &self.deps.settings;
        let timeouts = seconds(&recipe);
        let machine = &settled.machine;
        let job = Job {
            id: JobId::fresh(),
            machine_id: machine.id.clone(),
            serial: machine.serial.clone(),
            attempt: 1,
            state: JobState::Queued,
            version: 0,
            created_at: now,
            updated_at: now,
            phase_since: now,
            released_at: None,
            task_target: recipe.task_target.clone(),
            destructive: settled.destructive,
            reinstall: submission.reinstall,
            evict: submission.evict,
            steps: settled.steps.clone(),
            image: settled.image.clone(),
            extra_images: settled.extra_images.clone(),
            recipe_sha256,
            on_success: recipe.on_success.unwrap_or_default(),
            on_failure: recipe.on_failure.unwrap_or_default(),
            deadlines: settings.deadlines.settle(&recipe.task_target, &machine.deadlines, &timeouts),
            callback_url: submission.callback_url.clone(),
            boot_nonce: None,
            destructive_started: None,
            touched: false,
            was_on: None,
            off_seen: false,
            transport: None,
            media: vec![],
            retry_of,
            notes: recipe.notes.clone(),
            requested_by: submission.requested_by.clone(),
        };
        let image = settled.image.as_ref().map(|image| TaskImage {
            registry: settled.api_url.clone(),
            repository: image.repository.clone(),
            digest: image.digest.clone(),
            kind: image.kind,
        });
        let inputs = Inputs {
            identity: machine.identity(),
            host_network: recipe.host_network.clone().or_else(|| machine.host_network.clone()),
            api_url: settled.api_url.clone(),
            media_url: settled.media_url.clone(),
            site_ca: settings.site_ca.clone(),
            issued_at: now,
            image,
            heartbeat_seconds: u32::try_from(settings.heartbeat.as_secs()).unwrap_or(u32::MAX).max(1),
            step_seconds: timeouts
                .into_iter()
                .filter(|(name, _)| !crate::model::Deadlines::is_phase(name))
                .collect(),
            recipe,
        };
        (job, inputs)
    }

    pub(super) async fn unpin(&self, id: &JobId) {
        if let Err(error) = self.deps.images.unpin(id).await {
            tracing::warn!(job_id = %id, %error, "its images stay pinned until the next start");
        }
    }
}

fn seconds(recipe: &Recipe) -> Overrides {
    recipe
        .timeouts
        .iter()
        .filter_map(|(name, text)| schema::size::duration(text).ok().map(|d| (name.clone(), d.as_secs())))
        .collect()
}

/// Bytes of key that Standard Webhooks asks for.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Whether a secret can sign what goes to that address.
pub(super) fn callback_secret_fits(
    url: Option<&String>,
    secret: Option<&Secret<String>>,
) -> Result<(), AcceptError> {
    let Some(secret) = secret else { return Ok(()) };
    let problem = if url.is_none() {
        "there is no callback_url that it could sign for; give both, or leave it out"
    } else if !secret_key(secret).is_some_and(|key| SECRET_BYTES.contains(&key.len())) {
        "it is `whsec_` and 24 to 64 random bytes in base64; leave it out to have one made"
    } else {
        return Ok(());
    };
    Err(AcceptError::CallbackSecret { problem })
}

/// What the image is: what it says itself. The recipe's word counts only where the image says nothing, and must not
/// contradict it.
fn settle_kind(image: FoundImage, recipe: &Recipe) -> Result<ResolvedImage, AcceptError> {
    let reference = image.reference.clone();
    let Some(kind) = image.says.or(recipe.image_kind) else {
        return Err(AcceptError::ImageKindUnknown { reference });
    };
    schema::validate::for_image(recipe, kind)
        .map_err(|refusal| AcceptError::ImageFit { reference, refusal })?;
    Ok(image.resolved(kind))
}

/// A URL without what may be secret in it.
pub(super) fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| "(not a URL)".to_owned(),
        |mut url| {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_password(None); // a URL that cannot have one has none
            let _ = url.set_username("");
            url.to_string()
        },
    )
}
