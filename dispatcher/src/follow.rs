//! Follows a started target to its end: sees steps begin and end, tells screen and controller, keeps the heartbeat
//! going. It decides nothing about outcomes: those are said by `report`, which systemd itself starts.
//!
//! ```text
//!   systemd ── JobRemoved, unit states ──▶ follow ──▶ screen
//!   steps ── datagrams ──▶ progress ──▶ Latest ─┐     │ step reports
//!                                               └▶ courier ──▶ controller ──▶ power_off?
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use schema::event::StepState;

use crate::controller::Token;
use crate::courier::Courier;
use crate::delivery::{Sender, Wire, chain};
use crate::handoff::Handoff;
use crate::progress::{self, Latest, step_words};
use crate::systemd::{EndedJob, Systemd, UnitState};

/// What is followed, and with what.
pub struct Follow<'a> {
    /// The target that was started.
    pub target: &'a str,
    /// Its steps in order.
    pub steps: &'a [String],
    /// Whose reports.
    pub sender: &'a Sender,
    /// Session token.
    pub token: &'a Token,
    /// The way to the controller.
    pub wire: Wire<'a>,
    /// PID 1.
    pub systemd: &'a dyn Systemd,
    /// The hand-off, for the progress socket and the outcome.
    pub handoff: &'a Handoff,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Ends the following, for tests; nobody sets it on a machine.
    pub stop: &'a AtomicBool,
}

/// Why following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The controller wants the machine off.
    PowerOff,
    /// The target did not come up, and no step is to blame.
    NotStarted {
        /// systemd's word for it.
        result: String,
    },
    /// It was told to stop.
    Stopped,
}

/// Name of the progress socket in the hand-off.
const SOCKET: &str = "progress.sock";
/// Longest time between two looks at the steps.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Follow<'_> {
    /// Follows until there is nothing more to follow.
    pub fn follow(&self) -> End {
        let (latest, power_off, over) = (Latest::default(), AtomicBool::new(false), AtomicBool::new(false));
        let (news, steps_news) = mpsc::channel();
        let socket = progress::bind(&self.handoff.path(SOCKET));
        if let Err(error) = &socket {
            self.wire
                .screen
                .line(&format!("no progress will be shown, its socket could not be opened: {error}"));
        }
        let courier = Courier {
            wire: self.wire,
            token: self.token,
            sender: self.sender,
            latest: &latest,
            heartbeat: self.heartbeat,
            power_off: &power_off,
            stop: &over,
        };
        thread::scope(|threads| {
            threads.spawn(move || courier.carry(&steps_news));
            if let Ok(socket) = &socket {
                threads.spawn(|| progress::listen(socket, self.steps, &latest, self.wire.screen, &over));
            }
            let end = self.watch(&news, &power_off);
            over.store(true, Ordering::Relaxed);
            end
        })
    }

    fn watch(&self, news: &mpsc::Sender<schema::event::Report>, power_off: &AtomicBool) -> End {
        let mut before = vec![UnitState::Idle; self.steps.len()];
        let mut said_outcome = false;
        loop {
            let ended = self.ended_jobs();
            match self.systemd.states(self.steps) {
                Ok(now) => {
                    for (unit, state) in changes(self.steps, &before, &now) {
                        self.tell(unit, state, news);
                    }
                    before = now;
                }
                Err(error) => self.wire.screen.line(&chain(&error)),
            }
            if let Some(outcome) = self.handoff.outcome().filter(|_| !said_outcome) {
                self.wire.screen.line(&format!("outcome: {outcome}"));
                said_outcome = true;
            }
            let fallen = ended.into_iter().find(|job| job.unit == self.target && job.result != "done");
            if let Some(job) = fallen.filter(|_| !before.contains(&UnitState::Failed) && !said_outcome) {
                return End::NotStarted { result: job.result };
            }
            if power_off.load(Ordering::Relaxed) {
                return End::PowerOff;
            }
            if self.stop.load(Ordering::Relaxed) {
                return End::Stopped;
            }
        }
    }

    fn ended_jobs(&self) -> Vec<EndedJob> {
        let mut ended: Vec<EndedJob> = self.systemd.next_job(LOOK_EVERY).into_iter().collect();
        while let Some(job) = self.systemd.next_job(Duration::ZERO) {
            ended.push(job);
        }
        ended
    }

    fn tell(&self, unit: &str, change: Change, news: &mpsc::Sender<schema::event::Report>) {
        let words = match change {
            Change::Started => "started",
            Change::Finished => "done",
            Change::Failed => "FAILED",
        };
        self.wire.screen.line(&format!("{}: {words}", step_words(unit, self.steps)));
        let state = match change {
            Change::Started => StepState::Started,
            Change::Finished => StepState::Finished,
            // Said by `report failed`, with the log.
            Change::Failed => return,
        };
        // The courier lives as long as this function's caller.
        let _heard = news.send(self.sender.step(unit, state));
    }
}

/// What happened to a step between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It runs.
    Started,
    /// It ended well.
    Finished,
    /// It failed.
    Failed,
}

/// The changes between two looks, in the order of the steps. A step that began and ended in between did both.
pub fn changes<'a>(steps: &'a [String], before: &[UnitState], now: &[UnitState]) -> Vec<(&'a str, Change)> {
    let mut changes = Vec::new();
    for ((unit, before), now) in steps.iter().zip(before).zip(now) {
        let ran = matches!(now, UnitState::Running | UnitState::Done | UnitState::Failed);
        if ran && matches!(before, UnitState::Idle | UnitState::Missing) {
            changes.push((unit.as_str(), Change::Started));
        }
        match now {
            UnitState::Done if before != now => changes.push((unit, Change::Finished)),
            UnitState::Failed if before != now => changes.push((unit, Change::Failed)),
            _ => {}
        }
    }
    changes
}
