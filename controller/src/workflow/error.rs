//! Why something that was asked of the workflow is not done. Every refusal has a stable code; api/ gives it a status.

use schema::validate::Refusal;

use super::edges::EdgeError;
use crate::fetch::FetchError;
use crate::model::{Illegal, JobId};
use crate::store::StoreError;

/// Why a job is not accepted. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The recipe is none.
    #[error("the recipe has {} fault(s); every one is listed in the details", .0.faults.len())]
    Recipe(Refusal),
    /// The serial is one that boards come with when nobody wrote a real one.
    #[error("{serial:?} is a placeholder that many machines share; name the machine by a serial of its own")]
    PlaceholderSerial {
        /// As given.
        serial: String,
    },
    /// No such machine.
    #[error("no machine has serial {serial:?}; add it with `slipway machine add`")]
    UnknownMachine {
        /// As given.
        serial: String,
    },
    /// The machine has a job.
    #[error("machine {serial} has job {job}, which is not released; wait for it, or cancel it")]
    ActiveJob {
        /// The machine.
        serial: String,
        /// Its job.
        job: JobId,
    },
    /// The machine is in service, and the target would destroy what is on it.
    #[error(
        "machine {serial} is in service and {target} would overwrite it; send \"reinstall\": true if that is meant"
    )]
    InService {
        /// The machine.
        serial: String,
        /// The target.
        target: String,
    },
    /// The machine waits for someone to look at it.
    #[error("machine {serial} is quarantined: {reason}; look at it, then `slipway machine release {serial}`")]
    Quarantined {
        /// The machine.
        serial: String,
        /// Why.
        reason: String,
    },
    /// The key was used for another request.
    #[error("Idempotency-Key {key:?} was used with another body for job {job}; use a new key")]
    KeyReused {
        /// The key.
        key: String,
        /// The job of then.
        job: JobId,
    },
    /// The registry has no such image.
    #[error("the registry has no image {reference}; push it with `slipway image push`")]
    ImageNotFound {
        /// As the recipe wrote it.
        reference: String,
        /// Where in the recipe.
        path: String,
    },
    /// The image is of a kind that the recipe does not fit.
    #[error("image {reference} does not fit the recipe: {refusal}")]
    ImageFit {
        /// As the recipe wrote it.
        reference: String,
        /// What does not fit, with the remedy.
        refusal: Refusal,
    },
    /// Neither the image nor the recipe says what it is.
    #[error(
        "image {reference} does not say what it is; set image_kind to rootfs, container or disk, or push it with `slipway image push`"
    )]
    ImageKindUnknown {
        /// As the recipe wrote it.
        reference: String,
    },
    /// A payload could not be fetched.
    #[error("payload {path} could not be fetched from {url}")]
    Payload {
        /// Where in the recipe.
        path: String,
        /// From where, without query.
        url: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The callback goes where no callback may go.
    #[error("callback_url {url} is not allowed")]
    CallbackUrl {
        /// As given.
        url: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The secret for callbacks is none.
    #[error("callback_secret cannot be used: {problem}")]
    CallbackSecret {
        /// What is wrong, with the remedy.
        problem: &'static str,
    },
    /// No secret can be made.
    #[error("the system has no randomness yet, which a callback secret needs; try again")]
    NoRandomness,
    /// Host or BMC would be sent to themselves.
    #[error("{name} is {url}, which the machine cannot reach: it is loopback; set an address on its network")]
    LoopbackUrl {
        /// `api_url` or `media_url`.
        name: &'static str,
        /// What it is.
        url: String,
    },
    /// The layout cannot be solved.
    #[error("the partition layout does not work out: {message}")]
    Layout {
        /// With the numbers.
        message: String,
    },
    /// The job to repeat is not there.
    #[error("there is no job {job}")]
    UnknownJob {
        /// As given.
        job: JobId,
    },
    /// The job to repeat is not over, or succeeded.
    #[error("job {job} is {status}; only a failed or cancelled job that is complete can be repeated")]
    NotRepeatable {
        /// The job.
        job: JobId,
        /// Where it stands.
        status: &'static str,
    },
    /// The job's recipe was erased.
    #[error("the recipe of job {job} was erased some time after its release; submit it anew")]
    Erased {
        /// The job.
        job: JobId,
    },
    /// A neighbour did not do its part.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AcceptError {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Recipe(_) => "invalid_recipe",
            Self::PlaceholderSerial { .. } => "machine.placeholder_serial",
            Self::UnknownMachine { .. } => "machine.unknown",
            Self::ActiveJob { .. } => "conflict.active_job",
            Self::InService { .. } => "machine.in_service",
            Self::Quarantined { .. } => "machine.quarantined",
            Self::KeyReused { .. } => "idempotency.key_reused",
            Self::ImageNotFound { .. } => "image.not_found",
            Self::ImageFit { refusal, .. }
                if refusal.faults.iter().all(|fault| fault.code == "image.layout") =>
            {
                "image.layout"
            }
            Self::ImageFit { .. } => "image.kind",
            Self::ImageKindUnknown { .. } => "image.kind_unknown",
            Self::Payload { .. } => "payload.fetch",
            Self::CallbackUrl { .. } => "callback.url",
            Self::CallbackSecret { .. } => "callback.secret",
            Self::NoRandomness => "random.unavailable",
            Self::LoopbackUrl { .. } => "site.loopback_url",
            Self::Layout { .. } => "layout.impossible",
            Self::UnknownJob { .. } => "job.unknown",
            Self::NotRepeatable { .. } => "job.not_repeatable",
            Self::Erased { .. } => "job.erased",
            Self::Edge(error) => error.code,
            Self::Store(error) => store_code(error),
        }
    }
}

/// Why a report is refused. It changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No token, or none of ours.
    #[error("the token is not valid here")]
    Unauthorized,
    /// A token of ours, for something else.
    #[error("this token does not allow a {status} report for this machine and job")]
    Forbidden {
        /// What was reported.
        status: &'static str,
    },
    /// The report belongs to something that is over, or to another boot.
    #[error("{message}")]
    Conflict {
        /// Stable code: `report.late`, `report.second_boot`, `report.early`.
        code: &'static str,
        /// One sentence.
        message: String,
    },
    /// The report says too little, or too much.
    #[error("{message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// The store did not answer: the host shall try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReportError {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "report.unauthorized",
            Self::Forbidden { .. } => "report.forbidden",
            Self::Conflict { code, .. } => code,
            Self::Malformed { .. } => "report.malformed",
            Self::Store(error) => store_code(error),
        }
    }
}

/// Why an intent is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// No such job.
    #[error("there is no job {job}")]
    UnknownJob {
        /// As given.
        job: JobId,
    },
    /// No such machine.
    #[error("no machine has serial {serial:?}")]
    UnknownMachine {
        /// As given.
        serial: String,
    },
    /// The machine has a job.
    #[error("machine {serial} has job {job}, which is not released; release the job first")]
    ActiveJob {
        /// The machine.
        serial: String,
        /// Its job.
        job: JobId,
    },
    /// The job does not take it where it stands.
    #[error("job {job} cannot do that now")]
    Illegal {
        /// The job.
        job: JobId,
        /// Why.
        #[source]
        source: Illegal,
    },
    /// The job is not over, so there is nothing to release.
    #[error("job {job} is {state}; cancel it, or release it by force")]
    NotOver {
        /// The job.
        job: JobId,
        /// Where it stands.
        state: &'static str,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntentError {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownJob { .. } => "job.unknown",
            Self::UnknownMachine { .. } => "machine.unknown",
            Self::ActiveJob { .. } => "conflict.active_job",
            Self::Illegal { .. } => "job.illegal",
            Self::NotOver { .. } => "job.not_over",
            Self::Store(error) => store_code(error),
        }
    }
}

/// Why a machine's BMC does not do what an operator asks of it.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// No such machine.
    #[error("no machine has serial {serial:?}; add it with `slipway machine add`")]
    UnknownMachine {
        /// As given.
        serial: String,
    },
    /// A job has the machine.
    #[error("machine {serial} has job {job}, which is not released; its power is that job's until then")]
    ActiveJob {
        /// The machine.
        serial: String,
        /// Its job.
        job: JobId,
    },
    /// The BMC cannot even be asked.
    #[error("{text}")]
    Connect {
        /// Stable code.
        code: String,
        /// One sentence.
        text: String,
    },
    /// The BMC did not do it.
    #[error(transparent)]
    Bmc(#[from] crate::redfish::BmcError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HandsError {
    /// Stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::UnknownMachine { .. } => "machine.unknown",
            Self::ActiveJob { .. } => "conflict.active_job",
            Self::Connect { code, .. } => code,
            Self::Bmc(error) => error.code(),
            Self::Store(error) => store_code(error),
        }
    }
}

impl From<super::drive::Fault> for HandsError {
    fn from(fault: super::drive::Fault) -> Self {
        Self::Connect { code: fault.code.to_string(), text: fault.text }
    }
}

pub(super) fn store_code(error: &StoreError) -> &'static str {
    match error {
        StoreError::DiskFull { .. } => "store.disk_full",
        _ => "store.unavailable",
    }
}

/// An error with everything beneath it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
