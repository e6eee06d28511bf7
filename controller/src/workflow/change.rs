//! What a transition means beyond the state itself: times, timeline, tellings, and what becomes of the machine.
//! Pure: from a job and an input to the [`Change`] that the store shall write.

use jiff::Timestamp;
use serde_json::json;

use super::redact::without_media;
use crate::model::{
    Announcement, Ending, Illegal, Input, Job, JobState, Lifecycle, NewEvent, Outcome, Phase, Source,
};
use crate::store::Change;

/// Moves a job, or says why it cannot move so.
pub fn transition(mut job: Job, input: Input, now: Timestamp) -> Result<Change, Illegal> {
    let forced = matches!(input, Input::ForceReleased);
    let before = std::mem::replace(&mut job.state, JobState::Queued);
    job.state = before.next(input)?;
    job.updated_at = now;
    if job.state.name() != before.name() {
        job.phase_since = now;
    }
    let mut change = Change::of(job);
    if before == JobState::Queued {
        tell(&mut change, "job.started");
    }
    if before.outcome().is_none() && change.job.state.outcome().is_some() {
        decided(&mut change, now);
    }
    if let Some(phase) = change.job.state.phase() {
        let event = NewEvent::new(now, Source::Controller, format!("phase.{phase}"), phase_text(phase));
        change.events.push(event.step(phase.as_str()));
    }
    if change.job.state.is_released() {
        change.job.released_at = Some(now);
        let text = if forced {
            "released by force: its BMC was not seen right"
        } else {
            "complete: media are out and the machine is free"
        };
        change.events.push(NewEvent::new(now, Source::Controller, "complete", text));
        if forced && change.job.touched {
            quarantine(
                &mut change,
                now,
                "its last job was released by force; check its BMC, media and power first",
            );
        }
        tell(&mut change, "job.complete");
    }
    Ok(change)
}

fn decided(change: &mut Change, now: Timestamp) {
    let Some(outcome) = change.job.state.outcome().cloned() else { return };
    let (code, kind, text, step) = match &outcome {
        Outcome::Succeeded => ("outcome.succeeded", "job.succeeded", "succeeded".to_owned(), None),
        Outcome::Failed(failure) => (
            "outcome.failed",
            "job.failed",
            format!("failed at {}: {}", failure.failed_step, failure.reason),
            Some(failure.failed_step.clone()),
        ),
        Outcome::Cancelled { by } => {
            ("outcome.cancelled", "job.cancelled", format!("cancelled by {by}"), None)
        }
    };
    if let Outcome::Failed(failure) = &outcome {
        fail_step(&mut change.job, &failure.failed_step, now);
    }
    let mut event = NewEvent::new(now, Source::Controller, code, text);
    event.step = step;
    change.events.push(event);
    tell(change, kind);
    if outcome == Outcome::Succeeded {
        if change.job.installs() {
            change.lifecycle = Some(Lifecycle::InService { since: now });
            tell(change, "machine.in_service");
        } else if change.job.destructive {
            change.lifecycle = Some(Lifecycle::Free);
        }
    } else if change.job.may_have_written() {
        let reason = format!(
            "job {} ended as {} after it was told to write; the disk may be half-written",
            change.job.id,
            change.job.state.status().as_str()
        );
        quarantine(change, now, &reason);
    }
}

fn quarantine(change: &mut Change, now: Timestamp, reason: &str) {
    change.lifecycle = Some(Lifecycle::Quarantined { since: now, reason: reason.to_owned() });
    change.events.push(NewEvent::new(now, Source::Controller, "machine.quarantined", reason));
    tell(change, "machine.quarantined");
}

fn fail_step(job: &mut Job, unit: &str, now: Timestamp) {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    if let Some(step) = job.steps.iter_mut().find(|step| step.name == name) {
        step.status = crate::model::StepStatus::Failed;
        step.finished_at = Some(now);
    }
}

/// Adds an announcement about the job as it is after the change.
pub fn tell(change: &mut Change, kind: &str) {
    change.announcements.push(announcement(&change.job, kind));
}

/// What the user's systems hear about a job.
pub fn announcement(job: &Job, kind: &str) -> Announcement {
    let mut data = json!({
        "job_id": job.id,
        "machine_id": job.machine_id,
        "serial": job.serial,
        "attempt": job.attempt,
        "task_target": job.task_target,
        "status": job.state.status(),
        "complete": job.state.is_released(),
    });
    if let Some(phase) = job.state.phase() {
        data["phase"] = json!(phase);
    }
    if let Some(Outcome::Failed(failure)) = job.state.outcome() {
        data["failed_step"] = json!(failure.failed_step);
        data["code"] = json!(failure.code);
        data["reason"] = json!(without_media(&failure.reason)); // also of jobs that failed under an older version
    }
    Announcement { kind: kind.to_owned(), data }
}

fn phase_text(phase: Phase) -> &'static str {
    match phase {
        Phase::Staging => "making the task medium",
        Phase::Probing => "asking the BMC who it is and what it can",
        Phase::Mounting => "switching off, inserting media, setting the one-time boot",
        Phase::Booting => "switching on and waiting for the host to ask",
        Phase::Installing => "the host works",
        Phase::CleaningUp => "putting power, media and boot override right",
        Phase::Holding => "keeping media and power for an operator",
    }
}

/// What the machine's power shall be when cleanup ends.
pub fn ends_on(job: &Job) -> bool {
    use schema::recipe::OnSuccess;
    match &job.state {
        JobState::Over { outcome: Outcome::Succeeded, ending: Ending::CleaningUp } => {
            // An operator who ends a `stay` is done with it: the machine goes on to its system.
            matches!(job.on_success, OnSuccess::Boot | OnSuccess::Stay)
        }
        // Nothing was written: what ran before may run again.
        JobState::Over { outcome: Outcome::Failed(_) | Outcome::Cancelled { .. }, .. } => {
            !job.may_have_written() && job.was_on == Some(true)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
