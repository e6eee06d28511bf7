//! What the dispatcher wants of systemd, and no more. [`crate::manager`] speaks to the real one over D-Bus.

use std::time::Duration;

use thiserror::Error;

/// The edge: PID 1.
pub trait Systemd: Send + Sync {
    /// Reads all unit files again and runs the generators.
    fn reload(&self) -> Result<(), SystemdError>;
    /// Asks for a unit to be started, without waiting for it.
    fn start(&self, unit: &str) -> Result<(), SystemdError>;
    /// How these units are, in the same order.
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, SystemdError>;
    /// How a service ended.
    fn ending(&self, unit: &str) -> Result<Ending, SystemdError>;
    /// Waits for the end of the next start or stop job of any unit, at most so long.
    fn next_job(&self, wait: Duration) -> Option<EndedJob>;
}

/// State of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// Not started, or stopped.
    Idle,
    /// It runs.
    Running,
    /// A oneshot that ended well and is remembered so.
    Done,
    /// It failed.
    Failed,
    /// There is no such unit.
    Missing,
}

impl UnitState {
    /// From systemd's `LoadState` and `ActiveState`.
    pub fn from_words(load: &str, active: &str) -> Self {
        match (load, active) {
            ("not-found" | "bad-setting" | "error" | "masked", _) => Self::Missing,
            (_, "active") => Self::Done,
            (_, "activating" | "reloading" | "deactivating") => Self::Running,
            (_, "failed") => Self::Failed,
            _ => Self::Idle,
        }
    }
}

/// How a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// systemd's `Result`: `success`, `exit-code`, `timeout`, `signal`, `oom-kill` …
    pub result: String,
    /// Exit code of its main process.
    pub exit_code: i32,
}

/// A start or stop job that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedJob {
    /// Whose.
    pub unit: String,
    /// systemd's word: `done`, `failed`, `dependency`, `canceled`, `timeout` …
    pub result: String,
}

/// systemd did not do what it was asked.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// It could not be reached.
    #[error("connecting to systemd over D-Bus; is dbus.socket up?")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused.
    #[error("asking systemd to {what}")]
    Call {
        /// What it was asked.
        what: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
