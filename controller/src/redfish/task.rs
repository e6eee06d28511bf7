//! What became of a change: done, refused, or to be found out by looking.
//!
//! A 202 hands out something to poll: a task monitor (202 until the final answer), a task resource, or nothing
//! at all. Tasks vanish, some before anybody looked. So a task can prove a refusal, never a success: whoever made
//! the change observes the resource either way.

use std::time::Duration;

use tokio::time::Instant;

use super::classify::{Kind, Refusal};
use super::error::BmcError;
use super::http::{Answer, Ask, Verb};
use super::session::Session;
use super::wire::{Body, Node};

/// What a change came to, as far as the BMC says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It says done, or says nothing more: look.
    Look,
    /// It says no.
    Refused(Refusal),
}

/// What a task resource says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Running,
    Ended,
    Failed(Refusal),
    NotATask,
}

/// Reads the answer to a change, and waits for the task behind a 202.
pub async fn settle(session: &Session, answer: Answer) -> Result<Verdict, BmcError> {
    if answer.status != 202 {
        return Ok(judge(answer.status, &answer.body));
    }
    let waits = session.endpoint.waits();
    let link = answer.location.or_else(|| task_link(answer.body.node()).map(str::to_owned));
    let Some(link) = link else { return Ok(Verdict::Look) };
    let path = session.endpoint.path(&link)?;
    let until = Instant::now() + waits.task_total;
    let mut pause = waits.task_poll;
    let mut asked = answer.retry_after;
    loop {
        tokio::time::sleep(asked.take().unwrap_or(pause).min(waits.task_poll_most)).await;
        let answer = session.send(Ask::bare(Verb::Get, &path)).await?;
        if matches!(answer.status, 404 | 410) {
            return Ok(Verdict::Look);
        }
        match progress(&answer.body) {
            Progress::Failed(refusal) => return Ok(Verdict::Refused(refusal)),
            Progress::Ended => return Ok(Verdict::Look),
            Progress::NotATask if answer.status != 202 => return Ok(judge(answer.status, &answer.body)),
            Progress::Running | Progress::NotATask => {}
        }
        // An unfinished task is no verdict either: the resource may show the change before the task ends.
        if Instant::now() >= until {
            return Ok(Verdict::Look);
        }
        asked = answer.retry_after;
        pause = (pause * 2).min(waits.task_poll_most).max(Duration::from_millis(1));
    }
}

/// Judges a final answer. A 2xx can carry a refusal of single properties.
fn judge(status: u16, body: &Body) -> Verdict {
    let refusal = Refusal::read(status, body);
    let refused = match status {
        200..300 => {
            matches!(refusal.kind, Kind::Parameter | Kind::Licence | Kind::Image | Kind::DuringPost)
                && refusal.message_id.is_some()
        }
        _ => true,
    };
    if refused { Verdict::Refused(refusal) } else { Verdict::Look }
}

/// A task named only in the body of a 202.
fn task_link(body: Node<'_>) -> Option<&str> {
    let kind = body.get("@odata.type").text()?;
    if kind.contains("Task.") || kind.contains("Job.") { body.link() } else { None }
}

/// Reads a task resource.
fn progress(body: &Body) -> Progress {
    let node = body.node();
    let Some(state) = node.get("TaskState").text().or_else(|| node.get("JobState").text()) else {
        return Progress::NotATask;
    };
    match state {
        "Exception" | "Killed" | "Cancelled" | "Interrupted" | "Failed" | "CompletedWithErrors" => {
            // `Messages` carries what an error body would carry in its extended info.
            let messages = node.get("Messages").0.clone();
            let body = Body::Json(serde_json::json!({"@Message.ExtendedInfo": messages}));
            let mut refusal = Refusal::read(500, &body);
            if refusal.message_id.is_none() {
                refusal.text = format!("its task ended as {state}");
            }
            Progress::Failed(refusal)
        }
        "Completed" => Progress::Ended,
        // `New` is what iDRAC calls a task that has not begun; anything unheard of is not an end either.
        _ => Progress::Running,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::wire::tests::any_json;
    use super::*;

    #[test]
    fn task_states_are_running_ended_or_failed() {
        for (state, running) in [
            ("New", true),
            ("Starting", true),
            ("Running", true),
            ("Pending", true),
            ("Suspended", true),
            ("Service", true),
            ("Completed", false),
        ] {
            let got = progress(&Body::Json(json!({"TaskState": state})));
            assert_eq!(got, if running { Progress::Running } else { Progress::Ended }, "{state}");
        }
        for state in ["Exception", "Killed", "Cancelled", "Interrupted"] {
            let got = progress(&Body::Json(json!({"TaskState": state, "Messages": null})));
            let Progress::Failed(refusal) = got else { panic!("{state} is a failure") };
            assert_eq!(refusal.text, format!("its task ended as {state}"));
        }
        assert_eq!(progress(&Body::Json(json!({"Id": "1"}))), Progress::NotATask);
    }

    #[test]
    fn a_failed_task_speaks_in_the_bmcs_words() {
        let task = json!({"TaskState": "Exception", "Messages": [{"MessageId": "IDRAC.2.8.RAC0904",
            "Message": "Unable to locate the image.", "Resolution": "Check it."}]});
        let Progress::Failed(refusal) = progress(&Body::Json(task)) else { panic!() };
        assert_eq!(
            (refusal.kind, refusal.text.as_str()),
            (Kind::Image, "Unable to locate the image. Check it.")
        );
    }

    #[test]
    fn a_success_that_refuses_a_property_is_a_refusal() {
        let odd = Body::Json(
            json!({"Image@Message.ExtendedInfo": [{"MessageId": "Base.1.1.PropertyNotWritable"}]}),
        );
        assert!(matches!(judge(200, &odd), Verdict::Refused(_)));
        let huawei =
            Body::Json(json!({"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.0.Success"}]}}));
        assert_eq!(judge(200, &huawei), Verdict::Look);
        assert_eq!(judge(204, &Body::Empty), Verdict::Look);
        assert!(matches!(judge(400, &Body::Empty), Verdict::Refused(_)));
    }

    proptest! {
        #[test]
        fn no_body_makes_a_task_panic(json in any_json()) {
            let _ = (task_link(Node(&json)), progress(&Body::Json(json.clone())), judge(200, &Body::Json(json.clone())));
        }
    }
}
