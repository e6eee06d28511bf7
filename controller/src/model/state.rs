//! The life of a job as a machine with named, total transitions. An input that makes no sense in a state is an
//! error value, never a panic and never silently accepted.
//!
//! ```text
//!   Queued ─▶ Provisioning(staging ▶ probing ▶ mounting ▶ booting ▶ installing) ─▶ Over(outcome, ending)
//!                                                       ending: cleaning_up | holding ─▶ … ─▶ released
//! ```
//! The outcome is decided once, when the job enters `Over`, and no input changes it afterwards.
//! The full table is printed by [`table`]; docs/architecture.md carries it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, durable, not begun.
    Queued,
    /// Being done.
    Provisioning(Phase),
    /// Decided. What follows is tidying.
    Over {
        /// How it ended; never changes again.
        outcome: Outcome,
        /// What is left to do.
        ending: Ending,
    },
}

/// Finer position inside `provisioning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The task medium is made and served.
    Staging,
    /// The BMC is asked who it is and what it can.
    Probing,
    /// Power off, media in, boot override set.
    Mounting,
    /// Power on, waiting for the host to ask.
    Booting,
    /// The host works.
    Installing,
    /// After the outcome: power, media and override are put right.
    CleaningUp,
    /// After the outcome: media and power stay until an operator ends it.
    Holding,
}

impl Phase {
    /// As written in the API, in timelines and in timeout codes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Probing => "probing",
            Self::Mounting => "mounting",
            Self::Booting => "booting",
            Self::Installing => "installing",
            Self::CleaningUp => "cleaning_up",
            Self::Holding => "holding",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything the recipe asked for is done.
    Succeeded,
    /// It is not, and this is why.
    Failed(Failure),
    /// Someone stopped it.
    Cancelled {
        /// Who.
        by: String,
    },
}

/// Why a job failed. The first failure wins and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The systemd unit that failed, or the phase when the controller itself could not go on.
    pub failed_step: String,
    /// Stable code: `step.failed`, `timeout.booting`, `bmc.credentials`, `lost_contact` …
    pub code: String,
    /// One sentence naming the thing and the remedy.
    pub reason: String,
}

/// What is left to do after the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Power, media and override are being put right.
    CleaningUp,
    /// Kept for an operator (`on_success: stay`, `on_failure: stay`).
    Holding,
    /// Nothing; the machine is free for the next job.
    Released,
}

/// What people see first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Queued,
    /// Being done.
    Provisioning,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Stopped.
    Cancelled,
}

impl Status {
    /// Every status, in the order a job may go through them.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Provisioning, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Provisioning => "provisioning",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no job status; use queued, provisioning, succeeded, failed or cancelled")
        })
    }
}

/// Something that happened or was asked for. The only thing that moves a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A driver took the job up.
    Taken,
    /// The task medium is served.
    Staged,
    /// The BMC answered and fits.
    Probed,
    /// Both media are in, the override is set, the machine is off.
    Mounted,
    /// The host asked to go on and may.
    Started,
    /// The host is done.
    Succeeded {
        /// Keep media and power for an operator.
        hold: bool,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        failure: Failure,
        /// Keep media and power for an operator.
        hold: bool,
    },
    /// Someone wants it stopped.
    Cancelled {
        /// Who.
        by: String,
    },
    /// An operator ends the holding.
    Unheld,
    /// Power, media and override were seen right.
    Cleaned,
    /// An administrator frees the machine although its BMC was not seen right.
    ForceReleased,
}

impl Input {
    /// Its name, for tables and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Staged => "staged",
            Self::Probed => "probed",
            Self::Mounted => "mounted",
            Self::Started => "started",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Unheld => "unheld",
            Self::Cleaned => "cleaned",
            Self::ForceReleased => "force_released",
        }
    }
}

/// An input that makes no sense in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} takes no {input:?}")]
pub struct Illegal {
    /// Name of the state.
    pub state: &'static str,
    /// Name of the input.
    pub input: &'static str,
}

impl JobState {
    /// The state after `input`, or why there is none. Total: every pair is answered.
    pub fn next(&self, input: Input) -> Result<Self, Illegal> {
        use JobState::{Over, Provisioning, Queued};
        use Phase::{Booting, Installing, Mounting, Probing, Staging};
        let next = match (self, input) {
            (Queued, Input::Taken) => Provisioning(Staging),
            (Provisioning(Staging), Input::Staged) => Provisioning(Probing),
            (Provisioning(Probing), Input::Probed) => Provisioning(Mounting),
            (Provisioning(Mounting), Input::Mounted) => Provisioning(Booting),
            (Provisioning(Booting), Input::Started) => Provisioning(Installing),
            (Provisioning(Installing), Input::Succeeded { hold }) => {
                Over { outcome: Outcome::Succeeded, ending: ending(hold) }
            }
            (Queued | Provisioning(_), Input::Failed { failure, hold }) => {
                Over { outcome: Outcome::Failed(failure), ending: ending(hold) }
            }
            (Queued | Provisioning(_), Input::Cancelled { by }) => {
                Over { outcome: Outcome::Cancelled { by }, ending: Ending::CleaningUp }
            }
            (Over { outcome, ending: Ending::Holding }, Input::Unheld) => {
                Over { outcome: outcome.clone(), ending: Ending::CleaningUp }
            }
            (Over { outcome, ending: Ending::CleaningUp }, Input::Cleaned)
            | (Over { outcome, ending: Ending::CleaningUp | Ending::Holding }, Input::ForceReleased) => {
                Over { outcome: outcome.clone(), ending: Ending::Released }
            }
            (state, input) => return Err(Illegal { state: state.name(), input: input.name() }),
        };
        Ok(next)
    }

    /// The finest word for it: `queued`, a phase, or `released`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Over { ending: Ending::Released, .. } => "released",
            _ => self.phase().map_or("queued", Phase::as_str),
        }
    }

    /// What people see first.
    pub fn status(&self) -> Status {
        match self {
            Self::Queued => Status::Queued,
            Self::Provisioning(_) => Status::Provisioning,
            Self::Over { outcome: Outcome::Succeeded, .. } => Status::Succeeded,
            Self::Over { outcome: Outcome::Failed(_), .. } => Status::Failed,
            Self::Over { outcome: Outcome::Cancelled { .. }, .. } => Status::Cancelled,
        }
    }

    /// The finer position, also after the outcome.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Provisioning(phase) => Some(*phase),
            Self::Over { ending: Ending::CleaningUp, .. } => Some(Phase::CleaningUp),
            Self::Over { ending: Ending::Holding, .. } => Some(Phase::Holding),
            Self::Queued | Self::Over { ending: Ending::Released, .. } => None,
        }
    }

    /// The outcome once it is decided.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Over { outcome, .. } => Some(outcome),
            Self::Queued | Self::Provisioning(_) => None,
        }
    }

    /// Nothing is left to do.
    pub fn is_released(&self) -> bool {
        matches!(self, Self::Over { ending: Ending::Released, .. })
    }
}

fn ending(hold: bool) -> Ending {
    if hold { Ending::Holding } else { Ending::CleaningUp }
}

/// One state of each kind, with an outcome where one is needed. Every rule in [`JobState::next`] is blind to
/// which outcome it is.
pub fn every_state() -> Vec<JobState> {
    use Phase::{Booting, Installing, Mounting, Probing, Staging};
    let mut states = vec![JobState::Queued];
    states.extend([Staging, Probing, Mounting, Booting, Installing].map(JobState::Provisioning));
    states.extend(
        [Ending::CleaningUp, Ending::Holding, Ending::Released]
            .map(|ending| JobState::Over { outcome: Outcome::Succeeded, ending }),
    );
    states
}

/// One input of each kind; the two that can hold appear twice.
pub fn every_input() -> Vec<Input> {
    let failure = || Failure {
        failed_step: "partition.service".to_owned(),
        code: "step.failed".to_owned(),
        reason: "the disk went away".to_owned(),
    };
    vec![
        Input::Taken,
        Input::Staged,
        Input::Probed,
        Input::Mounted,
        Input::Started,
        Input::Succeeded { hold: false },
        Input::Succeeded { hold: true },
        Input::Failed { failure: failure(), hold: false },
        Input::Failed { failure: failure(), hold: true },
        Input::Cancelled { by: "ops".to_owned() },
        Input::Unheld,
        Input::Cleaned,
        Input::ForceReleased,
    ]
}

/// The whole table as Markdown: a row per state with what it takes and where that leads.
pub fn table() -> String {
    let mut out = String::from("| state | input → next state |\n|---|---|\n");
    for state in every_state() {
        let moves: Vec<String> = every_input()
            .into_iter()
            .filter_map(|input| {
                let held =
                    matches!(input, Input::Succeeded { hold: true } | Input::Failed { hold: true, .. });
                let name = format!("{}{}", input.name(), if held { " (stay)" } else { "" });
                state.next(input).ok().map(|next| format!("{name} → `{}`", next.name()))
            })
            .collect();
        let moves = if moves.is_empty() { "nothing; the end".to_owned() } else { moves.join(", ") };
        out.extend(["| `", state.name(), "` | ", &moves, " |\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every (state, input) pair, by name. `-` is a refusal.
    #[test]
    fn every_pair_of_state_and_input_is_settled() {
        #[rustfmt::skip]
        let expected: &[(&str, [&str; 13])] = &[
            //                taken      staged     probed      mounted    started       succ           succ hold  fail           fail hold  cancel         unheld         cleaned     force
            ("queued",      ["staging", "-",       "-",        "-",       "-",          "-",           "-",       "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("staging",     ["-",       "probing", "-",        "-",       "-",          "-",           "-",       "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("probing",     ["-",       "-",       "mounting", "-",       "-",          "-",           "-",       "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("mounting",    ["-",       "-",       "-",        "booting", "-",          "-",           "-",       "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("booting",     ["-",       "-",       "-",        "-",       "installing", "-",           "-",       "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("installing",  ["-",       "-",       "-",        "-",       "-",          "cleaning_up", "holding", "cleaning_up", "holding", "cleaning_up", "-",           "-",        "-"]),
            ("cleaning_up", ["-",       "-",       "-",        "-",       "-",          "-",           "-",       "-",           "-",       "-",           "-",           "released", "released"]),
            ("holding",     ["-",       "-",       "-",        "-",       "-",          "-",           "-",       "-",           "-",       "-",           "cleaning_up", "-",        "released"]),
            ("released",    ["-",       "-",       "-",        "-",       "-",          "-",           "-",       "-",           "-",       "-",           "-",           "-",        "-"]),
        ];
        let states = every_state();
        assert_eq!(states.len(), expected.len());
        for (state, (name, row)) in states.iter().zip(expected) {
            assert_eq!(state.name(), *name);
            for (input, wanted) in every_input().into_iter().zip(row) {
                let told = format!("{name} + {input:?}");
                let got = state.next(input).map_or("-", |next| next.name());
                assert_eq!(got, *wanted, "{told}");
            }
        }
    }

    #[test]
    fn the_table_in_the_architecture_page_is_the_one_the_code_follows() {
        let page = include_str!("../../../docs/architecture.md");
        assert!(page.contains(&table()), "put this into docs/architecture.md:\n\n{}", table());
    }

    proptest! {
        #[test]
        fn whatever_happens_the_outcome_never_changes_and_phases_never_go_back(
            picks in proptest::collection::vec(0usize..13, 0..60)
        ) {
            let mut state = JobState::Queued;
            let mut decided: Option<Outcome> = None;
            for pick in picks {
                let input = every_input().swap_remove(pick);
                let before = state.clone();
                match state.next(input) {
                    Ok(next) => {
                        prop_assert!(rank(&next) > rank(&before), "{before:?} -> {next:?}");
                        if let Some(first) = &decided {
                            prop_assert_eq!(next.outcome(), Some(first));
                        }
                        decided = next.outcome().cloned().or(decided);
                        state = next;
                    }
                    Err(refused) => prop_assert_eq!(refused.state, before.name()),
                }
            }
        }
    }

    fn rank(state: &JobState) -> u8 {
        match state.name() {
            "queued" => 0,
            "staging" => 1,
            "probing" => 2,
            "mounting" => 3,
            "booting" => 4,
            "installing" => 5,
            "holding" => 6,
            "cleaning_up" => 7,
            _ => 8,
        }
    }
}
