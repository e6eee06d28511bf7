//! What came of one push by one rule. Written before anything is done, so that what a crash cuts off is taken up where
//! it was: the machines are those that were picked then.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{JobId, MachineId, PushRuleId};
use super::machine::Machine;
use super::push::{Push, PushMode, PushRule};

/// Why something was not done, or would not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Stable code, such as `conflict.active_job`.
    pub code: String,
    /// One sentence, with the remedy.
    pub message: String,
}

impl Why {
    /// From its parts.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What became of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Fate {
    /// Nothing yet.
    Pending,
    /// It has a job.
    Accepted {
        /// That job.
        job_id: JobId,
    },
    /// It would have had a job.
    WouldAccept {
        /// Whether the job would write to disks.
        destructive: bool,
        /// What its BMC said that would make the job fail.
        problems: Vec<String>,
    },
    /// It has no job, or would have none.
    Refused(Why),
}

/// A machine that a rule picked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picked {
    /// The machine.
    pub machine_id: MachineId,
    /// Its serial then.
    pub serial: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRun {
    /// The rule.
    pub rule_id: PushRuleId,
    /// Its name.
    pub rule: String,
    /// What the rule was to do.
    pub mode: PushMode,
    /// The push.
    pub push: Push,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it was done with; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why nothing was done at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Why>,
    /// The machines that the rule picked, by serial.
    pub machines: Vec<Picked>,
}

impl PushRun {
    /// A run that has begun: with the machines it is about, or refused as a whole.
    pub fn begin(rule: &PushRule, mode: PushMode, push: Push, all: &[Machine], now: Timestamp) -> Self {
        let (machines, refused) = match pick(rule, all) {
            Ok(machines) => (machines, None),
            Err(why) => (vec![], Some(why)),
        };
        let (rule_id, name) = (rule.id.clone(), rule.name.clone());
        Self { rule_id, rule: name, mode, push, started_at: now, ended_at: None, refused, machines }
    }

    /// In a few words, for logs and the audit log.
    pub fn summary(&self) -> String {
        if let Some(why) = &self.refused {
            return format!("refused: {}", why.code);
        }
        let count = |wanted: fn(&Fate) -> bool| self.machines.iter().filter(|one| wanted(&one.fate)).count();
        let parts = [
            (count(|fate| matches!(fate, Fate::Accepted { .. })), "accepted"),
            (count(|fate| matches!(fate, Fate::WouldAccept { .. })), "would be accepted"),
            (count(|fate| matches!(fate, Fate::Refused(_))), "refused"),
            (count(|fate| matches!(fate, Fate::Pending)), "pending"),
        ];
        let said: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        said.join(", ")
    }
}

/// The machines of a rule, by serial; never only some of them.
fn pick(rule: &PushRule, all: &[Machine]) -> Result<Vec<Picked>, Why> {
    let mut picked: Vec<Picked> = all
        .iter()
        .filter(|machine| rule.machines.picks(machine))
        .map(|machine| Picked {
            machine_id: machine.id.clone(),
            serial: machine.serial.clone(),
            fate: Fate::Pending,
        })
        .collect();
    picked.sort_by(|one, other| one.serial.cmp(&other.serial));
    if picked.is_empty() {
        let message = format!(
            "push rule {} picks no machine; see its labels and serials, and `slipway machine list`",
            rule.name
        );
        return Err(Why::new("push_rule.no_machine", message));
    }
    if picked.len() > rule.max_machines as usize {
        let message = format!(
            "push rule {} picks {} machines and may write to {}; nothing is done. Give it a narrower selector or a \
             larger max_machines",
            rule.name,
            picked.len(),
            rule.max_machines
        );
        return Err(Why::new("push_rule.too_many_machines", message));
    }
    Ok(picked)
}
