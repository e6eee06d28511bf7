//! What the workflow needs from rooms beside it, as thin traits. The server supplies the real ones.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schema::recipe::ImageKind;

use crate::model::{Inputs, Job, JobId, Machine, PinnedImage, ResolvedImage, Secret};
use crate::redfish::{Bmc, Standing};

/// Reaches BMCs.
pub trait Bmcs: Send + Sync + 'static {
    /// A client for this machine's BMC. No I/O yet; each client may hold one session until `close`.
    fn connect(&self, machine: &Machine, password: Secret<String>) -> Result<Arc<dyn Bmc>, EdgeError>;

    /// The same for an operator, who may find out, before its time, whether a BMC that is left alone is back.
    fn connect_by_hand(
        &self,
        machine: &Machine,
        password: Secret<String>,
    ) -> Result<Arc<dyn Bmc>, EdgeError> {
        self.connect(machine, password)
    }

    /// Whether a machine's BMC is asked at present, or left alone.
    fn standing(&self, _machine: &Machine) -> Standing {
        Standing::quiet()
    }
}

/// Knows operating system images.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The image a reference means now; none when the registry has none.
    async fn resolve(&self, reference: &str) -> Result<Option<FoundImage>, EdgeError>;
    /// Keeps an image from being collected until `unpin`. `owner` is the job's id; the same pin again is no change.
    async fn pin(&self, image: &PinnedImage, owner: &JobId) -> Result<(), EdgeError>;
    /// Jobs that have pins.
    async fn owners(&self) -> Result<Vec<JobId>, EdgeError>;
    /// Gives up all pins of a job.
    async fn unpin(&self, owner: &JobId) -> Result<(), EdgeError>;
}

/// An image as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundImage {
    /// As the recipe wrote it.
    pub reference: String,
    /// Repository within the registry.
    pub repository: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Size of all its parts together.
    pub size: u64,
    /// What it says it is, by annotation or media type; none when it does not say.
    pub says: Option<ImageKind>,
}

impl FoundImage {
    /// What a job keeps of it, as an image of this kind.
    pub fn resolved(self, kind: ImageKind) -> ResolvedImage {
        let Self { reference, repository, digest, size, says: _ } = self;
        ResolvedImage { reference, repository, digest, kind, size }
    }

    /// Its name for good.
    pub fn pinned(&self) -> PinnedImage {
        PinnedImage { repository: self.repository.clone(), digest: self.digest.clone() }
    }
}

/// Serves media to BMCs.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// Whether media could be staged at all: asked before a job is accepted, and again when it stages.
    fn ready(&self) -> Result<(), EdgeError>;
    /// Makes and serves the media of one attempt. A pure function of its arguments and the site's keys: the same
    /// bytes under the same URLs every time, so that it is called again after a restart.
    ///
    /// `bootstrap` is the token that goes into `job.json`.
    async fn stage(&self, job: &Job, inputs: &Inputs, bootstrap: &Secret<String>) -> Result<Urls, EdgeError>;
    /// Makes and serves a small disc that holds nothing, for seeing whether a BMC fetches it; its URL below `media_url`.
    /// `id` is what it is forgotten by, and what its readings are asked by.
    async fn stage_trial(&self, id: &JobId, media_url: &str) -> Result<String, EdgeError>;
    /// Stops serving all media of a job.
    fn forget(&self, job: &JobId);
    /// When any medium of this job was last read, and how much in all.
    fn last_read(&self, job: &JobId) -> Option<LastRead>;
    /// How much of each medium of this job was read, of those of which anything was.
    fn reads(&self, job: &JobId) -> Vec<MediumRead>;
}

/// Where the media of one attempt are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// maintenance.iso with the site's trust laid over it.
    pub maintenance: String,
    /// The task medium as a CD (`.iso`).
    pub task_iso: String,
    /// The same bytes for a slot that takes USB images only (`.img`).
    pub task_img: String,
    /// maintenance.iso with the task medium inside it, for machines with one slot.
    pub composed: String,
}

/// How much of one medium was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediumRead {
    /// `maintenance.iso`, `composed.iso`, `task.iso` or `task.img`.
    pub name: &'static str,
    /// Bytes that went out at least once.
    pub distinct: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The address that read last, where it is known: behind a proxy, the proxy's.
    pub from: Option<IpAddr>,
}

/// How much of a job's media was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRead {
    /// When a byte last went out.
    pub at: Timestamp,
    /// Bytes in all.
    pub bytes: u64,
    /// The address that read last, where it is known: behind a proxy, the proxy's.
    pub from: Option<IpAddr>,
}

/// Why a neighbour could not do its part. The text names the thing and the remedy; it is shown as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EdgeError {
    /// Stable code: `media.too_large`, `registry.unavailable` …
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Trying again later may help.
    pub transient: bool,
}
