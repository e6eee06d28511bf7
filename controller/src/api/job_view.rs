//! How a job looks from outside: [`Job`] and what is live of it, without tokens, nonces and leases.

use serde_json::{Value, json};

use crate::model::{Ending, Event, Job, JobState, Live, Outcome};
use crate::workflow::without_media;

/// A job as the API shows it, without its timeline.
pub fn job(job: &Job, live: &Live) -> Value {
    let failure = match job.state.outcome() {
        Some(Outcome::Failed(failure)) => Some(failure),
        _ => None,
    };
    let cancelled_by = match job.state.outcome() {
        Some(Outcome::Cancelled { by }) => Some(by),
        _ => None,
    };
    let steps: Vec<Value> = job
        .steps
        .iter()
        .map(|step| {
            let mut value = json!(step);
            if let Some(progress) = live.progress.get(&step.name) {
                value["done"] = json!(progress.done);
                value["total"] = json!(progress.total);
                value["message"] = json!(progress.message);
            }
            value
        })
        .collect();
    let mut view = json!({
        "job_id": job.id,
        "server_serial": job.serial,
        "status": job.state.status().as_str(),
        "phase": job.state.phase().map(crate::model::Phase::as_str),
        "complete": matches!(job.state, JobState::Over { ending: Ending::Released, .. }),
        "attempt": job.attempt,
        "task_target": job.task_target,
        "destructive": job.destructive,
        "touched": job.touched,
        "transport": job.transport.as_ref().map(|chosen| chosen.transport),
        "transport_why": job.transport.as_ref().map(|chosen| &chosen.why),
        "steps": steps,
        "image": job.image,
        "recipe_sha256": job.recipe_sha256,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "phase_since": job.phase_since,
        "released_at": job.released_at,
        "wait": live.wait.as_ref().filter(|_| !job.state.is_released()),
        "heard_at": live.heard_at,
        "failed_step": failure.map(|failure| &failure.failed_step),
        "reason_code": failure.map(|failure| &failure.code),
        "reason": failure.map(|failure| &failure.reason),
        "cancelled_by": cancelled_by,
        "retry_of": job.retry_of,
        "requested_by": job.requested_by,
        "notes": job.notes,
    });
    drop_nulls(&mut view);
    hide_media(&mut view);
    view
}

/// A job with its timeline so far.
pub fn job_with_timeline(shown: &Job, live: &Live, timeline: &[Event]) -> Value {
    let mut view = job(shown, live);
    view["timeline"] = timeline.iter().map(event).collect();
    view
}

/// An entry of the timeline. Names of media are left out: whoever knows one can read the medium, and with it the
/// recipe's secrets and the job's token.
pub fn event(event: &Event) -> Value {
    let mut view = json!(event);
    hide_media(&mut view);
    view
}

/// Replaces names of media in every text of a value.
pub fn hide_media(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_media(text),
        Value::Array(items) => items.iter_mut().for_each(hide_media),
        Value::Object(fields) => fields.values_mut().for_each(hide_media),
        _ => {}
    }
}

fn drop_nulls(view: &mut Value) {
    if let Value::Object(fields) = view {
        fields.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_media_are_shown_nowhere() {
        let mut value = json!({ "text": "slot Cd holds http://10.0.0.5/m/abcdefghijklmnopqrstuvwxyz/task.iso (x), or /m/",
            "data": [{ "url": "http://10.0.0.5/m/a1/b.iso" }], "n": 1 });
        hide_media(&mut value);
        assert_eq!(
            value,
            json!({ "text": "slot Cd holds http://10.0.0.5/m/…/task.iso (x), or /m/…",
                "data": [{ "url": "http://10.0.0.5/m/…/b.iso" }], "n": 1 })
        );
    }
}
