//! A job and its timeline as the API tells them: the fields that people are shown. Fields a newer controller adds
//! are let pass.

use std::process::ExitCode;

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

use crate::cli::table::lasting;

/// A job.
#[derive(Debug, Clone, Deserialize)]
#[allow(clippy::struct_field_names)] // the API's names
pub struct Job {
    /// Its id.
    pub job_id: String,
    /// Serial of its machine.
    pub server_serial: String,
    /// `queued`, `provisioning`, `succeeded`, `failed`, `cancelled`.
    pub status: String,
    /// Where in its status it stands.
    #[serde(default)]
    pub phase: Option<String>,
    /// What it runs.
    #[serde(default)]
    pub task_target: String,
    /// Its steps in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Why it does not move.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// The unit that failed.
    #[serde(default)]
    pub failed_step: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who cancelled it.
    #[serde(default)]
    pub cancelled_by: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// When its machine was free again.
    #[serde(default)]
    pub released_at: Option<Timestamp>,
    /// Its image.
    #[serde(default)]
    pub image: Option<Image>,
    /// Who asked for it.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The recipe's notes.
    #[serde(default)]
    pub notes: Option<String>,
}

/// A step.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `waiting`, `running`, `finished`, `failed`.
    pub status: String,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// Amount done.
    #[serde(default)]
    pub done: Option<u64>,
    /// Amount in all.
    #[serde(default)]
    pub total: Option<u64>,
    /// A few words.
    #[serde(default)]
    pub message: Option<String>,
}

impl Step {
    /// Seconds it took, once it ended.
    pub fn seconds(&self) -> Option<i64> {
        Some(self.finished_at?.as_second() - self.started_at?.as_second())
    }

    /// Hundredths done, when the amount in all is known.
    pub fn percent(&self) -> Option<u64> {
        let (done, total) = (self.done?, self.total.filter(|total| *total > 0)?);
        Some(u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100))
    }
}

/// Why a job does not move.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Wait {
    /// In words.
    pub reason: String,
}

/// The image of a job.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// As the recipe wrote it.
    pub reference: String,
    /// What it was resolved to.
    pub digest: String,
}

/// An entry of the timeline.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who says so.
    pub source: String,
    /// In words.
    pub text: String,
}

/// How a job ended, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Succeeded,
    /// 1
    Failed,
    /// 2
    Cancelled,
    /// 3
    CannotTell,
}

impl Outcome {
    /// The outcome, once there is one.
    pub fn of(job: &Job) -> Option<Self> {
        match job.status.as_str() {
            "succeeded" => Some(Self::Succeeded),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// As an exit code.
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Cancelled => 2,
            Self::CannotTell => 3,
        })
    }
}

/// A time of day where the reader is.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

impl Event {
    /// As one line.
    pub fn line(&self, zone: &TimeZone) -> String {
        format!("{}  {:10}  {}", clock(self.at, zone), self.source, self.text)
    }
}

impl Job {
    /// The last word on a job that is over.
    pub fn verdict(&self) -> String {
        let end = self.released_at.or(self.updated_at).unwrap_or(self.created_at);
        let took = lasting(end.as_second() - self.created_at.as_second());
        let mut text = format!("job {} on {} {} after {took}", self.job_id, self.server_serial, self.status);
        let mut line = |line: String| {
            text.push_str("\n  ");
            text.push_str(&line);
        };
        if let Some(step) = &self.failed_step {
            line(format!("{step}: {}", self.reason.as_deref().unwrap_or("no reason was given")));
            line(format!("the host's log: slipway job logs {}", self.job_id));
        }
        if let Some(by) = &self.cancelled_by {
            line(format!("cancelled by {by}"));
        }
        if self.phase.as_deref() == Some("holding") {
            let release = format!("`slipway job release {}`", self.job_id);
            line(format!("the machine is kept as it is; end that with {release}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_verdict_says_what_failed_why_and_where_to_look() {
        let failed = job(
            r#"{"job_id":"j","server_serial":"S1","status":"failed","failed_step":"image-linux.service",
            "reason":"the layer is gone","created_at":"2026-11-21T10:00:00Z","released_at":"2026-11-21T10:12:05Z"}"#,
        );
        insta::assert_snapshot!(failed.verdict(), @r"
        job j on S1 failed after 12m 05s
          image-linux.service: the layer is gone
          the host's log: slipway job logs j
        ");
        let held = job(
            r#"{"job_id":"j","server_serial":"S1","status":"cancelled","phase":"holding","cancelled_by":"ci",
            "created_at":"2026-11-21T10:00:00Z","updated_at":"2026-11-21T10:00:05Z"}"#,
        );
        insta::assert_snapshot!(held.verdict(), @r"
        job j on S1 cancelled after 5s
          cancelled by ci
          the machine is kept as it is; end that with `slipway job release j`
        ");
    }

    #[test]
    fn progress_is_known_only_with_a_total() {
        for (text, percent) in [
            (r#"{"name":"a","status":"running"}"#, None),
            (r#"{"name":"a","status":"running","done":5}"#, None),
            (r#"{"name":"a","status":"running","done":5,"total":0}"#, None),
            (r#"{"name":"a","status":"running","done":5,"total":20}"#, Some(25)),
            (r#"{"name":"a","status":"running","done":50,"total":20}"#, Some(100)),
        ] {
            let step: Step = serde_json::from_str(text).unwrap();
            assert_eq!(step.percent(), percent, "{text}");
        }
    }

    #[test]
    fn an_outcome_is_an_exit_code() {
        for (status, outcome) in [
            ("queued", None),
            ("provisioning", None),
            ("succeeded", Some(Outcome::Succeeded)),
            ("failed", Some(Outcome::Failed)),
            ("cancelled", Some(Outcome::Cancelled)),
        ] {
            let text = format!(
                r#"{{"job_id":"j","server_serial":"S","status":"{status}","created_at":"2026-11-21T10:00:00Z"}}"#
            );
            assert_eq!(Outcome::of(&job(&text)), outcome);
        }
    }
}
