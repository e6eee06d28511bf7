//! One run of a recipe on one machine: what is public of it ([`Job`]), what stays sealed ([`Inputs`]) and what
//! changes too often to be durable at once ([`Live`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schema::recipe::{HostNetwork, ImageKind, OnFailure, OnSuccess, Recipe};
use schema::task::{Identity, TaskImage};
use serde::{Deserialize, Serialize};

use super::id::{JobId, MachineId};
use super::state::JobState;
use super::timing::Deadlines;
use super::transport::Chosen;

/// One run of a recipe on one machine. Holds no secret.
#[allow(clippy::struct_excessive_bools)] // independent facts, each durable by itself
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// The machine.
    pub machine_id: MachineId,
    /// The machine's serial when the job was accepted.
    pub serial: String,
    /// From 1; tokens and media URLs belong to one attempt.
    pub attempt: u32,
    /// Where it stands.
    pub state: JobState,
    /// Grows with every change.
    pub version: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the present phase began; its deadline counts from here, also across restarts.
    pub phase_since: Timestamp,
    /// When the machine was free again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// The target the recipe names.
    pub task_target: String,
    /// Whether that target writes to disks. A site's own target counts as if it did.
    pub destructive: bool,
    /// The caller knew that the machine was in service.
    pub reinstall: bool,
    /// The caller knows that a medium of somebody else's may be in the slot that is needed.
    #[serde(default)]
    pub evict: bool,
    /// Steps of the target in order, with what is known of each.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// The image, resolved when the job was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ResolvedImage>,
    /// Images that replace built-in tools, by step, and any other the host may pull.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_images: Vec<PinnedImage>,
    /// SHA-256 of the accepted recipe text, hex.
    pub recipe_sha256: String,
    /// What the machine does after success.
    pub on_success: OnSuccess,
    /// What the machine does after a failure.
    pub on_failure: OnFailure,
    /// Deadlines that hold for this job.
    pub deadlines: Deadlines,
    /// Where this one job's events go, besides the site's callbacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// The boot that was told to proceed. Set before the host hears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_nonce: Option<String>,
    /// When a destructive target was told to proceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_started: Option<Timestamp>,
    /// Power, media or override of the machine may differ from what they were: cleanup has work.
    #[serde(default)]
    pub touched: bool,
    /// What the machine's power was before it was touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_on: Option<bool>,
    /// After the outcome, the machine was seen off: whatever is on later was switched on by us or by others.
    #[serde(default)]
    pub off_seen: bool,
    /// How the maintenance OS gets onto the machine, once that is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Chosen>,
    /// What this job put where. Recorded before it is inserted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<HeldMedium>,
    /// The job this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
    /// The recipe's own notes, shown as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
}

impl Job {
    /// Whether its disk may have been written: it was told to proceed, and did not end in a step that only looks.
    ///
    /// A first failure in `preflight` proves that no later step ran: every one of them requires it.
    pub fn may_have_written(&self) -> bool {
        let only_looked = match self.state.outcome() {
            Some(super::state::Outcome::Failed(failure)) => {
                failure.failed_step == PREFLIGHT_UNIT
                    && self
                        .steps
                        .iter()
                        .all(|step| step.name == PREFLIGHT_STEP || matches!(step.status, StepStatus::Waiting))
            }
            _ => false,
        };
        self.destructive && self.destructive_started.is_some() && !only_looked
    }

    /// Every image it needs: its own first.
    pub fn images(&self) -> impl Iterator<Item = PinnedImage> + '_ {
        let own = self
            .image
            .iter()
            .map(|image| PinnedImage { repository: image.repository.clone(), digest: image.digest.clone() });
        own.chain(self.extra_images.iter().cloned())
    }

    /// The URI that firmware was told to boot, when it was.
    pub fn http_boot_uri(&self) -> Option<&str> {
        self.media.iter().find(|medium| medium.slot == HTTP_BOOT_SLOT).map(|medium| medium.url.as_str())
    }

    /// Whether success makes the machine one that is in service.
    pub fn installs(&self) -> bool {
        self.task_target.starts_with("install-")
    }
}

/// The step that looks and touches nothing.
const PREFLIGHT_STEP: &str = "preflight";
/// Its unit.
const PREFLIGHT_UNIT: &str = "preflight.service";

/// What is known of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Name without suffix, such as `image-linux`.
    pub name: String,
    /// Where it stands.
    pub status: StepStatus,
    /// When the host said it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the host said it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Amount done, from the latest flushed progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Amount in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// A few words from the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl StepRecord {
    /// A step that has not begun.
    pub fn waiting(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: StepStatus::Waiting,
            started_at: None,
            finished_at: None,
            done: None,
            total: None,
            message: None,
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    Waiting,
    /// Begun.
    Running,
    /// Done.
    Finished,
    /// It is the one that failed.
    Failed,
}

/// An image in the embedded registry, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// Reference as the recipe wrote it.
    pub reference: String,
    /// Repository in the embedded registry.
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// What it is.
    pub kind: ImageKind,
    /// Bytes to transfer, as far as the manifest tells.
    pub size: u64,
}

/// An image the host may pull besides the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedImage {
    /// Repository in the embedded registry.
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
}

/// Stands for a slot in [`HeldMedium`] where firmware fetches the medium itself.
pub const HTTP_BOOT_SLOT: &str = "HttpBootUri";

/// A medium this job put into a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMedium {
    /// The slot, as the BMC names it.
    pub slot: String,
    /// The URL.
    pub url: String,
}

/// Everything the task medium is a pure function of, besides the site's keys, the job's id and its attempt.
/// Stored sealed when the job is accepted and never changed, so that bytes, URLs and ETags never change either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The recipe as accepted; remote payloads are already fetched and carried in base64.
    pub recipe: Recipe,
    /// The machine it is for.
    pub identity: Identity,
    /// Network of the maintenance OS: the recipe's, else the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<HostNetwork>,
    /// Base URL of the API as the host reaches it.
    pub api_url: String,
    /// Base URL of media as the BMC reaches it.
    pub media_url: String,
    /// PEM certificate of the site's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_ca: Option<String>,
    /// When the job was accepted; every timestamp on the medium.
    pub issued_at: Timestamp,
    /// The image, resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<TaskImage>,
    /// Seconds between heartbeats.
    pub heartbeat_seconds: u32,
    /// Deadlines of steps, in seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub step_seconds: BTreeMap<String, u64>,
}

/// Who drives a job now. Another controller may take over once it expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The controller's own name for this run of it.
    pub owner: String,
    /// Fencing number; a write under an older one is refused.
    pub fence: u64,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why a job is not moving, verbatim for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What is awaited, or what went wrong and is tried again.
    pub reason: String,
    /// Until when this is looked at again, or given up.
    pub until: Timestamp,
}

/// What lives in memory and is flushed at most every ten seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Why it is not moving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// When the host was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// Step that last reported progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Progress by step: amount done, amount in all, a few words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub progress: BTreeMap<String, Progress>,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Amount done.
    pub done: u64,
    /// Amount in all, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// A few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
