//! What a push to the registry may start: rules, the machines that they pick, and the record of what came of each push.
//! Pure; who acts on it is the workflow.
//!
//! ```text
//!   push ─▶ rule fits repository and tag? ─▶ mode: off | dry_run | on ─▶ machines by labels and serials ─▶ run
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use glob::Pattern;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::PushRuleId;
use super::machine::{Machine, serial_key};

/// A tag of the registry that was made or moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// One for each request; never shown.
    pub id: String,
    /// Where.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The manifest it points to.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Who pushed, such as `token ci`.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Push {
    /// What was pushed, as recipes name it for good.
    pub fn image(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// Names of repositories or tags: `*` stands for anything, slashes included; `?` and `[…]` for one character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Pattern);

/// Text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no pattern: {problem}")]
pub struct NotAPattern {
    text: String,
    problem: &'static str,
}

/// Longest pattern, in bytes; repositories have at most 255 characters.
const PATTERN_MAX: usize = 255;

impl NamePattern {
    /// Whether the name fits.
    pub fn fits(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

impl FromStr for NamePattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let fault =
            |problem| NotAPattern { text: text.chars().take(PATTERN_MAX).collect::<String>(), problem };
        if text.is_empty() || text.len() > PATTERN_MAX {
            return Err(fault("give 1 to 255 characters, such as images/* or v*"));
        }
        Pattern::new(text).map(Self).map_err(|error| fault(error.msg))
    }
}

impl TryFrom<String> for NamePattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0.to_string()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a rule does. Each does more than the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushMode {
    /// Nothing.
    Off,
    /// Finds out and records what it would do.
    DryRun,
    /// Makes jobs.
    On,
}

impl PushMode {
    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry_run",
            Self::On => "on",
        }
    }
}

/// Which machines: those with all of the labels and, where serials are named, with one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSelector {
    /// Labels, by name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Serials, compared without case.
    #[serde(default)]
    pub serials: Vec<String>,
}

impl MachineSelector {
    /// Whether it says nothing, which would be every machine there is.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.serials.is_empty()
    }

    /// Whether that machine is meant.
    pub fn picks(&self, machine: &Machine) -> bool {
        let serial = serial_key(&machine.serial);
        !self.is_empty()
            && self.labels.iter().all(|(name, value)| machine.labels.get(name) == Some(value))
            && (self.serials.is_empty() || self.serials.iter().any(|wanted| serial_key(wanted) == serial))
    }
}

/// A rule. Its recipe and the secret of its callbacks stay sealed in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRule {
    /// Its identity.
    pub id: PushRuleId,
    /// What people call it; unique.
    pub name: String,
    /// Which repositories.
    pub repository: NamePattern,
    /// Which tags.
    pub tag: NamePattern,
    /// Which machines.
    pub machines: MachineSelector,
    /// Most machines of one push; more of them, and none gets a job.
    pub max_machines: u32,
    /// Machines in service may be overwritten.
    pub reinstall: bool,
    /// What it does.
    pub mode: PushMode,
    /// Since when.
    pub mode_since: Timestamp,
    /// The target that its recipe names.
    pub task_target: String,
    /// SHA-256 of its recipe as it was given, hex.
    pub recipe_sha256: String,
    /// Where its runs and the events of its jobs are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it: name of a token.
    pub created_by: String,
}

impl PushRule {
    /// What this rule does about a push. Pushes before a rule are none of its business, and one before it was switched
    /// on is no reason to write to a machine, however late it is looked at.
    pub fn mode_for(&self, push: &Push) -> PushMode {
        // The registry keeps milliseconds.
        let before = |at: Timestamp| push.at.as_millisecond() < at.as_millisecond();
        if !self.fits(&push.repository, &push.tag) || before(self.created_at) {
            PushMode::Off
        } else if before(self.mode_since) {
            self.mode.min(PushMode::DryRun)
        } else {
            self.mode
        }
    }

    /// Whether repository and tag are its.
    pub fn fits(&self, repository: &str, tag: &str) -> bool {
        self.repository.fits(repository) && self.tag.fits(tag)
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
