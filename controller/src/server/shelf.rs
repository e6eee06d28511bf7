//! The workflow's [`Shelf`] over the media room: a job and its sealed inputs become the media of one attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schema::task::TaskJob;
use tokio::sync::Semaphore;

use super::bmcs::with_causes;
use crate::media::{self, MediumError, MediumFile, ShelfError, TaskInputs, URL_MAX};
use crate::model::{Inputs, Job, JobId, Secret};
use crate::workflow::{EdgeError, LastRead, MediumRead, Shelf, Urls};

/// Version of `job.json`.
const JOB_VERSION: u32 = 1;

/// Stages media for the workflow.
pub struct MediaShelf {
    shelf: Arc<media::Shelf>,
}

impl MediaShelf {
    /// Over `shelf`.
    pub fn new(shelf: Arc<media::Shelf>) -> Self {
        Self { shelf }
    }
}

/// What the medium of an attempt is made of.
fn task_inputs(job: &Job, inputs: &Inputs, bootstrap: &Secret<String>) -> TaskInputs {
    TaskInputs {
        job: TaskJob {
            version: JOB_VERSION,
            job_id: job.id.to_string(),
            attempt: job.attempt,
            expected: inputs.identity.clone(),
            api_url: inputs.api_url.clone(),
            bootstrap_token: bootstrap.expose().clone(),
            site_ca: inputs.site_ca.clone(),
            issued_at: inputs.issued_at,
            image: inputs.image.clone(),
            heartbeat_seconds: inputs.heartbeat_seconds,
            step_seconds: inputs.step_seconds.clone(),
            proxy: inputs.host_network.as_ref().and_then(|network| network.proxy.clone()),
            offline: None,
        },
        recipe: inputs.recipe.clone(),
        recipe_schema: schema::validate::RECIPE_SCHEMA.to_owned(),
        host_network: inputs.host_network.clone(),
        // Fetched payloads are in the recipe already, as base64.
        remote_payloads: BTreeMap::new(),
    }
}

/// Media made at once. Each takes a processor, and memory for a whole medium; a thousand jobs that begin in one moment would
/// take it a thousand times.
static STAGING: Semaphore = Semaphore::const_new(2);

#[async_trait]
impl Shelf for MediaShelf {
    fn ready(&self) -> Result<(), EdgeError> {
        self.shelf.maintenance().map(drop).ok_or_else(|| edge(&ShelfError::NoMaintenance))
    }

    async fn stage(&self, job: &Job, inputs: &Inputs, bootstrap: &Secret<String>) -> Result<Urls, EdgeError> {
        let task = task_inputs(job, inputs, bootstrap);
        let shelf = Arc::clone(&self.shelf);
        let staged = aside(move || shelf.stage(&task)).await?;
        let url = |file| format!("{}{}", inputs.media_url.trim_end_matches('/'), staged.path(file));
        let urls = Urls {
            maintenance: url(MediumFile::Maintenance),
            task_iso: url(MediumFile::Task),
            task_img: url(MediumFile::TaskUsb),
            composed: url(MediumFile::Composed),
        };
        if urls.maintenance.len() > URL_MAX {
            return Err(EdgeError {
                code: "media.url_too_long",
                message: format!(
                    "the media URLs of machine {} would have {} characters, BMCs take {URL_MAX}; give it a shorter \
                     media_url",
                    job.serial,
                    urls.maintenance.len()
                ),
                transient: false,
            });
        }
        let (staged, bytes) = self.shelf.usage();
        metrics::gauge!("slipway_media_staged").set(count(staged));
        metrics::gauge!("slipway_media_memory_bytes").set(count(bytes));
        Ok(urls)
    }

    async fn stage_trial(&self, id: &JobId, media_url: &str) -> Result<String, EdgeError> {
        let (shelf, name, now) = (Arc::clone(&self.shelf), id.to_string(), jiff::Timestamp::now());
        let staged = aside(move || shelf.stage_trial(&name, now)).await?;
        Ok(format!("{}{}", media_url.trim_end_matches('/'), staged.path(MediumFile::Task)))
    }

    fn forget(&self, job: &JobId) {
        self.shelf.forget(job.as_str());
        metrics::gauge!("slipway_media_staged").set(count(self.shelf.usage().0));
    }

    fn last_read(&self, job: &JobId) -> Option<LastRead> {
        let readings = self.shelf.job_readings(job.as_str());
        let bytes = readings.iter().map(|(_, reading)| reading.bytes).sum();
        let last = readings.iter().filter_map(|(_, reading)| Some((reading.last?, reading.from)));
        last.max_by_key(|(at, _)| *at).map(|(at, from)| LastRead { at, bytes, from })
    }

    fn reads(&self, job: &JobId) -> Vec<MediumRead> {
        let readings = self.shelf.job_readings(job.as_str()).into_iter();
        let read = |(file, reading): (MediumFile, media::Reading)| MediumRead {
            name: file.name(),
            distinct: reading.distinct,
            len: reading.len,
            from: reading.from,
        };
        readings.filter(|(_, reading)| reading.bytes > 0).map(read).collect()
    }
}

/// Makes a medium: milliseconds of hashing and packing, not on a thread that serves requests, and few at a time.
async fn aside<T: Send + 'static>(
    make: impl FnOnce() -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, EdgeError> {
    let _permit = STAGING.acquire().await; // never closed
    let made = tokio::task::spawn_blocking(make).await.map_err(|error| EdgeError {
        code: "media.interrupted",
        message: error.to_string(),
        transient: true,
    })?;
    made.map_err(|error| edge(&error))
}

/// A gauge's value; exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn count(value: usize) -> f64 {
    value as f64
}

fn edge(error: &ShelfError) -> EdgeError {
    let (code, transient) = match error {
        ShelfError::NoMaintenance => ("media.no_maintenance", false),
        ShelfError::Full { .. } => ("media.full", true),
        ShelfError::Medium(MediumError::Image { source, .. })
            if matches!(**source, media::IsoError::TooLarge { .. }) =>
        {
            ("media.too_large", false)
        }
        ShelfError::Medium(_) => ("media.contents", false),
        ShelfError::Pack { .. } | ShelfError::Overlay { .. } => ("media.internal", false),
    };
    EdgeError { code, message: with_causes(error), transient }
}
