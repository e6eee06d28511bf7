//! What happened, as a timeline of facts. Events are added, never changed; `seq` orders all of them and is the
//! cursor of every reader (SSE's `Last-Event-ID` included).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{JobId, MachineId};

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The workflow.
    Controller,
    /// The maintenance OS.
    Host,
    /// The BMC, as observed.
    Bmc,
    /// A person or CI through the API.
    Operator,
}

/// Something that is about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened.
    pub at: Timestamp,
    /// Who says so.
    pub source: Source,
    /// The step or phase it belongs to.
    pub step: Option<String>,
    /// Stable code for programs: `phase.mounting`, `step.started`, `bmc.evidence`, `alarm.second_boot` …
    pub code: String,
    /// One sentence for people.
    pub text: String,
    /// Details for programs. Never a secret.
    pub data: Option<serde_json::Value>,
}

impl NewEvent {
    /// An event without step and details.
    pub fn new(at: Timestamp, source: Source, code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { at, source, step: None, code: code.into(), text: text.into(), data: None }
    }

    /// The same, belonging to a step or phase.
    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.step = Some(step.into());
        self
    }

    /// The same, with details.
    #[must_use]
    pub fn data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }
}

/// Something that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the timeline of everything; grows, has gaps when filtered.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The job, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<MachineId>,
    /// Who says so.
    pub source: Source,
    /// The step or phase it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Stable code for programs.
    pub code: String,
    /// One sentence for people.
    pub text: String,
    /// Details for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
