//! What a host reports (`POST /api/v1/status-webhook/{serial}`) and what it is answered.
//!
//! The medium's bootstrap token is good for two things: `started`, and one `failed` whose `failed_step` is
//! [`DISPATCHER_UNIT`] (wrong machine, recipe refused on the host: the dispatcher never gets to a session token
//! then). Everything after `started` carries the session token of its answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One report of a host. `{"status":"success"}` and `{"status":"failed","failed_step":"image-linux.service"}`
/// are accepted too, so everything but `status` is optional on reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Unique per report; a repeat changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Attempt of that job, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Fresh random value of this boot, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_nonce: Option<String>,
    /// What happened.
    pub status: ReportStatus,
    /// The step it happened to, as a unit name such as `partition.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What the step is doing: `started` or `finished` (with `status: step`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_state: Option<StepState>,
    /// With `failed`: exactly the systemd unit that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<String>,
    /// Progress: amount done, in the step's own unit (bytes unless the message says otherwise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Progress: amount in all, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Exit code of what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Last lines of the log, at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
    /// DMI serial that the host found (with exit 21: the wrong one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_serial: Option<String>,
    /// The host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportStatus {
    /// Asks to go on; nothing destructive happens before the answer.
    Started,
    /// A step started or finished.
    Step,
    /// A step moved on.
    Progress,
    /// The host is alive.
    Heartbeat,
    /// All steps are done.
    Success,
    /// A unit failed.
    Failed,
}

/// State of a step in a `step` report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It runs now.
    Started,
    /// It ended well.
    Finished,
}

/// Answer to `started`, status 200. Anything but 200 means: touch nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proceed {
    /// Always `true` in a 200.
    pub proceed: bool,
    /// Token for everything after: webhook, logs, pulls of this job's images.
    pub session_token: String,
}

/// Answer to every other report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// `true` once the report is durable, or was already known.
    pub received: bool,
    /// `true` when the job is over or cancelled and the host shall power itself off.
    #[serde(default)]
    pub power_off: bool,
}

/// One progress datagram from a step to the dispatcher, JSON, at most 4 KiB, on [`PROGRESS_SOCKET`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Step name without suffix, such as `image-linux`.
    pub step: String,
    /// Amount done.
    pub done: u64,
    /// Amount in all, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// A few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Largest log a host may send to `…/status-webhook/{serial}/logs` at once, in bytes.
pub const LOG_MAX: usize = 8 << 20;
/// Name of the log that holds the host's whole journal.
pub const JOURNAL: &str = "journal";
/// The unit that a failure before any step is blamed on.
pub const DISPATCHER_UNIT: &str = "slipway-dispatcher.service";
/// Folder of the hand-off on the host: tmpfs, 0700 root, files 0600.
pub const PROVISION_DIR: &str = "/run/provision";
/// Unix datagram socket of the dispatcher, inside [`PROVISION_DIR`].
pub const PROGRESS_SOCKET: &str = "/run/provision/progress.sock";
