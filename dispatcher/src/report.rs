//! `slipway-dispatcher report …`: the outcome, said by units of systemd and so also when `run` is dead.
//!
//! The first outcome of a boot wins: a lock in the hand-off lets one reporter speak at a time, and the outcome file
//! silences the others. Then the machine powers itself off, unless the recipe wants it to stay.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use schema::event::{JOURNAL, Received, Report, ReportStatus, StepState};
use schema::recipe::{OnFailure, OnSuccess};
use serde::Deserialize;

use crate::clock::Clock;
use crate::console::{Screen, printable};
use crate::controller::{Controller, Refusal, Verdict, judge};
use crate::delivery::{Wire, chain};
use crate::exit::Exit;
use crate::handoff::{HandedOver, Handoff, HandoffError, OUTCOME_LOCK};
use crate::power::Power;
use crate::programs::Programs;
use crate::run::Connect;
use crate::systemd::{Ending, Systemd, SystemdError, UnitState};
use crate::targets;

/// What reporting needs.
pub struct Reporting<'a> {
    /// The hand-off.
    pub handoff: &'a Handoff,
    /// PID 1.
    pub systemd: &'a dyn Systemd,
    /// Folder of the targets' unit files.
    pub target_dir: &'a Path,
    /// Makes the way to the controller.
    pub connect: Connect<'a>,
    /// Runs `journalctl`.
    pub programs: &'a dyn Programs,
    /// Buffers and power.
    pub power: &'a dyn Power,
    /// Waits and time stamps.
    pub clock: &'a dyn Clock,
    /// Status lines.
    pub screen: &'a dyn Screen,
}

/// Largest log sent along, in bytes (schema/src/event.rs).
const LOG_TAIL_MAX: usize = 16 << 10;
/// Lines of the journal asked for.
const LOG_LINES: &str = "50";
/// For `journalctl`; a report without log is better than none.
const JOURNAL_DEADLINE: Duration = Duration::from_secs(20);
/// Most of the journal that is sent after a failure: its end. Half of what the controller keeps of a job.
const JOURNAL_MAX: usize = 4 << 20;
/// Before the journal is sent once more.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);
/// Unit that reports success, to blame when it must not.
const SUCCESS_UNIT: &str = "provision-success.service";

/// Answer to a log.
#[derive(Deserialize)]
struct LogAnswer {}

impl Reporting<'_> {
    /// All steps are done, says the unit graph. It is said on only after every step was looked at.
    pub fn success(&self) -> Exit {
        self.speak(|handed, wire| {
            let steps = targets::steps(self.target_dir, &handed.recipe.task_target).unwrap_or_default();
            let states = self.systemd.states(&steps)?;
            let undone = steps.iter().zip(&states).find(|(_, state)| **state != UnitState::Done);
            if let Some((unit, state)) = undone {
                let message = format!("success was to be reported while {unit} is {state:?}");
                return Ok(handed.sender.failed(SUCCESS_UNIT, message));
            }
            if steps.is_empty() {
                let message = format!("the steps of {} cannot be read any more", handed.recipe.task_target);
                return Ok(handed.sender.failed(SUCCESS_UNIT, message));
            }
            for unit in &steps {
                // Has been said by `run`, unless it died; a repeat changes nothing.
                let _known = wire.deliver(&handed.token, &handed.sender.step(unit, StepState::Finished));
            }
            let units: Vec<&str> = steps.iter().map(String::as_str).collect();
            Ok(Report { log_tail: self.log_of(&units), ..handed.sender.report(ReportStatus::Success, "") })
        })
    }

    /// This unit is said to have failed. systemd says so of units as well that never ran because of another.
    pub fn failed(&self, unit: &str) -> Exit {
        match self.systemd.ending(unit) {
            Ok(ending) if ending.result == "success" => {
                self.screen.line(&format!("{unit} did not run, an earlier step failed"));
                Exit::Ok
            }
            Ok(ending) => self.speak(|handed, _wire| {
                let report = handed.sender.failed(unit, self.sentence(unit, &ending));
                Ok(Report { exit_code: Some(ending.exit_code), log_tail: self.log_of(&[unit]), ..report })
            }),
            Err(error) => {
                self.screen.line(&chain(&error));
                Exit::TargetNotStarted
            }
        }
    }

    /// Holds the lock, makes the report, delivers it, notes the outcome, powers off.
    fn speak(&self, make: impl FnOnce(&HandedOver, &Wire) -> Result<Report, SystemdError>) -> Exit {
        let handed = match self.handoff.read_back() {
            Ok(handed) => handed,
            Err(error) => return self.cannot(&error, Exit::HandoffFailed),
        };
        let _lock = match self.lock() {
            Ok(lock) => lock,
            Err(error) => return self.cannot(&error, Exit::HandoffFailed),
        };
        if let Some(outcome) = self.handoff.outcome() {
            self.screen.line(&format!("already reported: {outcome}"));
            return Exit::Ok;
        }
        let controller = match (self.connect)(&handed.job) {
            Ok(controller) => controller,
            Err(error) => return self.cannot(&error, Exit::HandoffFailed),
        };
        let wire = self.wire(&*controller);
        let report = match make(&handed, &wire) {
            Ok(report) => report,
            Err(error) => return self.cannot(&error, Exit::TargetNotStarted),
        };
        self.power.sync();
        let answer = wire.deliver(&handed.token, &report);
        if let Err(error) = self.handoff.note_outcome(&outcome_words(&report, &answer)) {
            self.screen.line(&chain(&error));
        }
        if report.failed_step.is_some() && answer.is_ok() {
            self.hand_in_journal(&handed, &*controller);
        }
        self.end(&handed, &report, answer)
    }

    /// Sends the journal of this boot after a failure. The outcome went first: it waits for nothing. The controller
    /// switches the machine off a minute after that, so this ends before.
    fn hand_in_journal(&self, handed: &HandedOver, controller: &dyn Controller) {
        let args = ["--boot", "--quiet", "--no-pager", "--output=short-precise"];
        let text = match self.programs.tail("journalctl", &args, JOURNAL_DEADLINE, JOURNAL_MAX) {
            Ok(output) => output.stdout,
            Err(error) => return self.screen.line(&format!("the journal is not sent: {}", chain(&error))),
        };
        let mut why = String::new();
        for pause in [Duration::ZERO, JOURNAL_PAUSE] {
            self.clock.sleep(pause);
            why = match controller.send_log(&handed.token, JOURNAL, &text).as_ref().map(judge::<LogAnswer>) {
                Ok(Verdict::Acknowledged(_)) => {
                    return self
                        .screen
                        .line(&format!("the journal is with the controller, {} bytes", text.len()));
                }
                Ok(Verdict::Refused(refusal)) => {
                    return self.screen.line(&format!("the journal is not kept: {refusal}"));
                }
                Ok(Verdict::Later(why)) => why,
                Err(unreachable) => chain(unreachable),
            };
        }
        self.screen.line(&format!("the journal is not sent: {why}"));
    }

    fn end(&self, handed: &HandedOver, report: &Report, answer: Result<Received, Refusal>) -> Exit {
        let stays = match report.status {
            ReportStatus::Success => handed.recipe.on_success == Some(OnSuccess::Stay),
            _ => handed.recipe.on_failure == Some(OnFailure::Stay),
        };
        match answer {
            Ok(answer) if stays && !answer.power_off => {
                self.screen.line("reported; the recipe asks the machine to stay as it is");
            }
            Ok(_) => {
                self.screen.line("reported; powering off");
                if let Err(error) = self.power.off() {
                    return self.cannot(&error, Exit::TargetNotStarted);
                }
            }
            Err(refusal) => self.screen.line(&format!("{refusal}; the machine waits for its BMC")),
        }
        Exit::Ok
    }

    fn wire<'a>(&'a self, controller: &'a dyn Controller) -> Wire<'a> {
        Wire { controller, clock: self.clock, screen: self.screen }
    }

    fn cannot(&self, error: &(dyn std::error::Error + 'static), exit: Exit) -> Exit {
        self.screen.line(&format!("the outcome is not reported: {}", chain(error)));
        exit
    }

    fn lock(&self) -> Result<Flock<File>, HandoffError> {
        let path = self.handoff.path(OUTCOME_LOCK);
        let write = |source| HandoffError::Write { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(write)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| write(errno.into()))
    }

    /// What happened, in one sentence: systemd's word and the last thing the step itself said.
    fn sentence(&self, unit: &str, ending: &Ending) -> String {
        let own = self.journal(&[&format!("_SYSTEMD_UNIT={unit}")]).unwrap_or_default();
        let last =
            own.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        format!("{unit} ended with {} ({}): {}", ending.result, ending.exit_code, printable(last))
    }

    fn log_of(&self, units: &[&str]) -> Option<String> {
        let units: Vec<String> = units.iter().map(|unit| format!("--unit={unit}")).collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        self.journal(&units)
    }

    fn journal(&self, what: &[&str]) -> Option<String> {
        let mut args =
            vec!["--boot", "--quiet", "--no-pager", "--output=short-precise", "--lines", LOG_LINES];
        if what.iter().any(|word| word.starts_with('_')) {
            args[3] = "--output=cat";
        }
        args.extend(what);
        let output = self.programs.run("journalctl", &args, JOURNAL_DEADLINE).ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(tail(&text, LOG_TAIL_MAX).to_owned()).filter(|text| !text.trim().is_empty())
    }
}

fn outcome_words(report: &Report, answer: &Result<Received, Refusal>) -> String {
    let outcome = match &report.failed_step {
        None => "success".to_owned(),
        Some(unit) => format!("failed {unit}"),
    };
    match answer {
        Ok(_) => outcome,
        Err(refusal) => format!("{outcome} (refused with {})", refusal.status),
    }
}

/// The end of a text, at most so many bytes, cut between characters.
fn tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_end_of_a_log_is_cut_between_characters() {
        assert_eq!(tail("abc", 16), "abc");
        assert_eq!(tail("a\u{e9}bc", 3), "bc");
        assert_eq!(tail("", 3), "");
    }
}
