//! Carries what happens while steps run: their beginnings and ends in order and for certain, progress and heartbeats
//! as they come. One thread, so that the controller sees one story.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use schema::event::{Received, Report, ReportStatus};

use crate::controller::Token;
use crate::delivery::{Sender, Wire};
use crate::progress::Latest;

/// How often progress goes to the controller.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How often the courier looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The courier's task.
pub struct Courier<'a> {
    /// The way to the controller.
    pub wire: Wire<'a>,
    /// Session token.
    pub token: &'a Token,
    /// Whose reports.
    pub sender: &'a Sender,
    /// Progress to be taken.
    pub latest: &'a Latest,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Set when the controller wants the machine off.
    pub power_off: &'a AtomicBool,
    /// Ends the courier.
    pub stop: &'a AtomicBool,
}

impl Courier<'_> {
    /// Carries until told to stop, or until nobody can send any more.
    pub fn carry(&self, steps: &Receiver<Report>) {
        let (mut last_progress, mut last_beat) = (None::<Instant>, None::<Instant>);
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        while !self.stop.load(Ordering::Relaxed) {
            match steps.recv_timeout(LOOK_EVERY.min(self.heartbeat)) {
                Ok(report) => self.step(&report),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if is_due(last_progress, PROGRESS_EVERY) {
                let news = self.latest.take();
                if !news.is_empty() {
                    last_progress = Some(Instant::now());
                }
                for progress in news {
                    let report = Report {
                        step: Some(format!("{}.service", progress.step)),
                        done: Some(progress.done),
                        total: progress.total,
                        message: progress.message,
                        ..self.passing(ReportStatus::Progress)
                    };
                    self.heard(self.wire.mention(self.token, &report));
                }
            }
            if is_due(last_beat, self.heartbeat) {
                last_beat = Some(Instant::now());
                self.heard(self.wire.mention(self.token, &self.passing(ReportStatus::Heartbeat)));
            }
        }
    }

    fn step(&self, report: &Report) {
        match self.wire.deliver(self.token, report) {
            Ok(received) => self.heard(Some(received)),
            // The job is over for the controller; heartbeats will bring the order to power off.
            Err(refusal) => self.wire.screen.line(&refusal.to_string()),
        }
    }

    /// A report whose like comes again; it needs an id of its own.
    fn passing(&self, status: ReportStatus) -> Report {
        Report {
            delivery_id: Some(uuid::Uuid::now_v7().simple().to_string()),
            ..self.sender.report(status, "")
        }
    }

    fn heard(&self, answer: Option<Received>) {
        if answer.is_some_and(|answer| answer.power_off) {
            self.power_off.store(true, Ordering::Relaxed);
        }
    }
}
