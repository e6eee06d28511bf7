//! What goes into the store's methods and what comes out of them, besides the model's own nouns.

use jiff::Timestamp;

use crate::model::{
    Announcement, AuditEntry, Inputs, Job, JobId, Lifecycle, MachineId, NewEvent, PushRun, Secret, Status,
};

/// A job to be made, with everything that becomes durable together with it.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// What its task medium is made of; sealed.
    pub inputs: Inputs,
    /// What signs callbacks to the job's own `callback_url`; sealed.
    pub callback_secret: Option<Secret<String>>,
    /// The caller's key.
    pub idempotency: Option<Idempotency>,
    /// Its first events.
    pub events: Vec<NewEvent>,
    /// What to tell.
    pub announcements: Vec<Announcement>,
}

/// The caller's promise that a repeated request is the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// As sent, at most 255 characters.
    pub key: String,
    /// SHA-256 of the request body, hex.
    pub body_sha256: String,
}

/// How creating a job went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New(Box<Job>),
    /// The key was used with the same body: this is the job of then.
    Existing(Box<Job>),
    /// The key was used with another body.
    KeyReused {
        /// The job of then.
        job: JobId,
    },
    /// The machine has a job that is not released.
    ActiveJob {
        /// That job.
        job: JobId,
    },
    /// The machine was removed meanwhile.
    NoMachine,
}

/// A changed job, with everything that becomes durable together with it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The job as it shall be. Its `version` is set by the store.
    pub job: Job,
    /// The writer's fencing number, when it drives the job.
    pub fence: Option<u64>,
    /// The report this change answers.
    pub delivery: Option<String>,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// What to tell.
    pub announcements: Vec<Announcement>,
    /// What becomes of the machine.
    pub lifecycle: Option<Lifecycle>,
}

impl Change {
    /// A change of the job alone.
    pub fn of(job: Job) -> Self {
        Self { job, fence: None, delivery: None, events: vec![], announcements: vec![], lifecycle: None }
    }
}

/// How a change went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is durable.
    Done {
        /// The job as stored.
        job: Box<Job>,
        /// Numbers of the new events.
        seqs: Vec<i64>,
    },
    /// The job has another version by now: read it again.
    Stale,
    /// Another controller drives this job by now: stop.
    Fenced,
    /// The report was taken in before: nothing changed.
    Repeated,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this machine.
    pub machine: Option<MachineId>,
    /// At most so many; 0 means 50, never more than 500.
    pub limit: u32,
    /// Where the previous page ended.
    pub cursor: Option<String>,
}

/// Which machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFilter {
    /// Only with these labels (`name`, `value`), all of them.
    pub labels: Vec<(String, String)>,
    /// At most so many; 0 means 50, never more than 500.
    pub limit: u32,
    /// Where the previous page ended.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// Where the next one begins; none at the end.
    pub next: Option<String>,
}

/// How adding a machine went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    Done,
    /// Another machine has this serial.
    SerialTaken,
}

/// How changing a machine went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// It is durable.
    Done,
    /// It has another version by now: read it again.
    Stale,
    /// Another machine has this serial.
    SerialTaken,
    /// There is none.
    Unknown,
}

/// How removing a machine went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// A job has it.
    Busy {
        /// That job.
        job: JobId,
    },
    /// There is none.
    Unknown,
}

/// How an attempt to tell someone went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The receiver said 2xx.
    Delivered,
    /// Not yet.
    Retry {
        /// When to try again.
        next_at: Timestamp,
        /// What the attempt met.
        error: String,
    },
    /// Given up.
    Dead {
        /// What the last attempt met.
        error: String,
    },
}

/// What stays sealed of a push rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSecrets {
    /// Its recipe as it was given, the image left open.
    pub recipe: Secret<String>,
    /// What signs what goes to its `callback_url`.
    pub callback_secret: Option<Secret<String>>,
}

/// How adding a push rule went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAdded {
    /// It is new.
    Done,
    /// Another rule has this name.
    NameTaken,
    /// There are as many as there may be.
    TooMany,
}

/// A run that is done with, and everything that becomes durable together with it.
#[derive(Debug, Clone)]
pub struct PushRunEnd {
    /// The run as it ended.
    pub run: PushRun,
    /// Its line in the audit log.
    pub audit: AuditEntry,
    /// What to tell.
    pub announcement: Announcement,
}

/// A piece of a host's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLog {
    /// The job.
    pub job_id: JobId,
    /// Its attempt.
    pub attempt: u32,
    /// What wrote it: a unit, `journal`, `serial`.
    pub name: String,
    /// When it arrived.
    pub at: Timestamp,
    /// The text, redacted.
    pub text: String,
}
