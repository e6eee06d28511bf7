//! Jobs, as described.
#![allow(dead_code, clippy::struct_field_names)] // described, never made; names are the API's

use utoipa::ToSchema;

/// What to do to which machine.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Serial number of the machine.
    server_serial: String,
    /// The recipe; `/schema/recipe` is its schema.
    #[schema(value_type = Object)]
    recipe: serde_json::Value,
    /// Overwrite the machine although it is in service.
    reinstall: Option<bool>,
    /// Take somebody else's image out of the media slot that is needed. Default false: the job fails with `slot.occupied`.
    evict: Option<bool>,
    /// Where this job's events are sent, besides the site's callbacks.
    callback_url: Option<String>,
    /// What signs them: `whsec_` and 24 to 64 bytes in base64. Without it one is made and shown in the answer.
    #[schema(write_only)]
    callback_secret: Option<String>,
}

/// Where a job stands. The last three are final.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Status {
    Queued,
    Provisioning,
    Succeeded,
    Failed,
    Cancelled,
}

/// How the maintenance OS gets onto a machine.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Transport {
    /// Two slots: boot medium and task medium.
    VirtualMedia,
    /// One slot: the task medium travels inside the boot medium.
    Composed,
    /// No slot: firmware fetches the composed medium into memory.
    HttpBoot,
}

/// One run of a recipe on one machine.
#[derive(ToSchema)]
pub struct Job {
    /// Its id.
    #[schema(format = "uuid")]
    job_id: String,
    /// Serial of its machine when it was accepted.
    server_serial: String,
    #[schema(inline)]
    status: Status,
    /// Finer than the status: `staging`, `probing`, `mounting`, `booting`, `installing`, then `cleaning_up`, `holding`.
    phase: Option<String>,
    /// It is over and its machine is free again.
    complete: bool,
    /// From 1.
    attempt: u32,
    /// The systemd target that its recipe names.
    task_target: String,
    /// Whether that target writes to disks.
    destructive: bool,
    /// Power, media or boot override of the machine may differ from what they were.
    touched: bool,
    /// How the maintenance OS gets onto the machine, once that is chosen.
    #[schema(inline)]
    transport: Option<Transport>,
    /// Why so.
    transport_why: Option<String>,
    /// Its steps in order.
    steps: Vec<Step>,
    /// The image, resolved when the job was accepted.
    image: Option<Image>,
    /// SHA-256 of the accepted recipe, hex.
    recipe_sha256: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// When the present phase began.
    #[schema(format = DateTime)]
    phase_since: String,
    /// When the machine was free again.
    #[schema(format = DateTime)]
    released_at: Option<String>,
    /// Why it does not move.
    wait: Option<Wait>,
    /// When the host was last heard.
    #[schema(format = DateTime)]
    heard_at: Option<String>,
    /// Exactly the systemd unit that failed, or the phase.
    failed_step: Option<String>,
    /// What signs callbacks to its `callback_url`, if it was made here: only in the answers to its submission.
    #[schema(read_only)]
    callback_secret: Option<String>,
    /// Stable code of the failure.
    reason_code: Option<String>,
    /// The failure in words.
    reason: Option<String>,
    /// Who cancelled it.
    cancelled_by: Option<String>,
    /// The job it repeats.
    #[schema(format = "uuid")]
    retry_of: Option<String>,
    /// Name of the token that asked for it.
    requested_by: String,
    /// The recipe's own notes.
    notes: Option<String>,
    /// The first 500 entries of its timeline; only where one job is shown.
    timeline: Option<Vec<Event>>,
}

/// Where a step stands.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum StepStatus {
    Waiting,
    Running,
    Finished,
    Failed,
}

/// One step of a job.
#[derive(ToSchema)]
pub struct Step {
    /// Its name without suffix, such as `image-linux`.
    name: String,
    #[schema(inline)]
    status: StepStatus,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Amount done, bytes unless the message says otherwise.
    done: Option<u64>,
    /// Amount in all, when known.
    total: Option<u64>,
    /// A few words.
    message: Option<String>,
}

/// What an operating system image is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ImageKind {
    Rootfs,
    Container,
    Disk,
}

/// An image in the embedded registry, by digest.
#[derive(ToSchema)]
pub struct Image {
    /// As the recipe wrote it.
    reference: String,
    repository: String,
    /// `sha256:…` of the manifest.
    digest: String,
    #[schema(inline)]
    kind: ImageKind,
    /// Bytes to transfer, as far as the manifest tells.
    size: u64,
}

/// Why a job does not move.
#[derive(ToSchema)]
pub struct Wait {
    /// In words.
    reason: String,
    /// Until when this is looked at again, or given up.
    #[schema(format = DateTime)]
    until: String,
}

/// Who says so.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Source {
    Controller,
    Host,
    Bmc,
    Operator,
}

/// An entry of the timeline.
#[derive(ToSchema)]
pub struct Event {
    /// Grows over all jobs; the cursor of every reader.
    seq: i64,
    #[schema(format = DateTime)]
    at: String,
    #[schema(format = "uuid")]
    job_id: Option<String>,
    #[schema(format = "uuid")]
    machine_id: Option<String>,
    #[schema(inline)]
    source: Source,
    /// The step or phase it belongs to.
    step: Option<String>,
    /// Stable code for programs.
    code: String,
    /// One sentence for people.
    text: String,
    /// Details for programs.
    #[schema(value_type = Option<Object>)]
    data: Option<serde_json::Value>,
}

/// Jobs, newest first.
#[derive(ToSchema)]
pub struct JobPage {
    jobs: Vec<Job>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Entries of a timeline, oldest first.
#[derive(ToSchema)]
pub struct EventList {
    events: Vec<Event>,
}

/// What a host sent of its journal.
#[derive(ToSchema)]
pub struct LogPiece {
    attempt: u32,
    /// Which log.
    name: String,
    #[schema(format = DateTime)]
    at: String,
    /// Secrets of the job are replaced.
    text: String,
}

/// Pieces of a job's logs, in order of arrival.
#[derive(ToSchema)]
pub struct LogList {
    logs: Vec<LogPiece>,
}

/// A partition with its place on the disk.
#[derive(ToSchema)]
pub struct Partition {
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
    type_guid: String,
    name: String,
    format: String,
    label: Option<String>,
    mountpoint: Option<String>,
    role: String,
}

/// What a job would do.
#[derive(ToSchema)]
pub struct Plan {
    serial: String,
    task_target: String,
    steps: Vec<String>,
    destructive: bool,
    /// The image as it resolves now.
    #[schema(required)]
    image: Option<Image>,
    /// On a disk of the assumed size.
    partitions: Vec<Partition>,
    /// What was assumed, because only the machine knows.
    assumed: Vec<String>,
    /// Whether the BMC can boot the job; null when the machine's record does not let it be asked.
    #[schema(required)]
    bmc: Option<super::Fitness>,
    /// Why a job would fail; empty when nothing is known to stand in its way.
    problems: Vec<String>,
}
