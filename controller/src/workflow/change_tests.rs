//! The rules of [`super::transition`], as a table of lives.

use super::*;
use crate::model::{Deadlines, Failure, JobId, MachineId, StepRecord, StepStatus};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn job(target: &str, destructive: bool) -> Job {
    Job {
        id: JobId::fresh(),
        machine_id: MachineId::fresh(),
        serial: "ABC123".to_owned(),
        attempt: 1,
        state: JobState::Queued,
        version: 1,
        created_at: at(0),
        updated_at: at(0),
        phase_since: at(0),
        released_at: None,
        task_target: target.to_owned(),
        destructive,
        reinstall: false,
        evict: false,
        steps: ["preflight", "partition"].map(StepRecord::waiting).to_vec(),
        image: None,
        extra_images: vec![],
        recipe_sha256: String::new(),
        on_success: schema::recipe::OnSuccess::Boot,
        on_failure: schema::recipe::OnFailure::PowerOff,
        deadlines: Deadlines::default(),
        callback_url: None,
        boot_nonce: None,
        destructive_started: None,
        touched: false,
        was_on: Some(true),
        off_seen: false,
        transport: None,
        media: vec![],
        retry_of: None,
        notes: None,
        requested_by: "ops".to_owned(),
    }
}

fn live(mut job: Job, inputs: &[Input]) -> (Job, Vec<Change>) {
    let mut changes = Vec::new();
    for (n, input) in (1..).zip(inputs) {
        if *input == Input::Started && job.destructive {
            job.destructive_started = Some(at(n));
        }
        let change = transition(job, input.clone(), at(n)).unwrap();
        job = change.job.clone();
        changes.push(change);
    }
    (job, changes)
}

fn failed(step: &str) -> Input {
    let failure = Failure {
        failed_step: step.to_owned(),
        code: "step.failed".to_owned(),
        reason: "no space".to_owned(),
    };
    Input::Failed { failure, hold: false }
}

fn installing() -> Vec<Input> {
    vec![Input::Taken, Input::Staged, Input::Probed, Input::Mounted, Input::Started]
}

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().flat_map(|change| &change.announcements).map(|a| a.kind.clone()).collect()
}

#[test]
fn a_good_install_is_told_in_order_and_puts_the_machine_in_service() {
    let mut inputs = installing();
    inputs.extend([Input::Succeeded { hold: false }, Input::Cleaned]);
    let (job, changes) = live(job("install-linux.target", true), &inputs);
    assert_eq!(told(&changes), ["job.started", "job.succeeded", "machine.in_service", "job.complete"]);
    assert_eq!(changes[5].lifecycle, Some(Lifecycle::InService { since: at(6) }));
    assert_eq!(job.released_at, Some(at(7)));
    assert_eq!(job.phase_since, at(7));
    assert_eq!(changes[6].announcements[0].data["complete"], true);
}

#[test]
fn only_what_may_have_written_is_quarantined() {
    let mut seen = job("install-linux.target", true);
    seen.steps[1].status = StepStatus::Running;
    let cases: [(&str, Job, Input, bool); 6] = [
        ("a failed partition", job("install-linux.target", true), failed("partition.service"), true),
        ("a failed preflight", job("install-linux.target", true), failed("preflight.service"), false),
        ("a preflight that fails after partition ran", seen, failed("preflight.service"), true),
        ("a cancelled install", job("install-linux.target", true), Input::Cancelled { by: "x".into() }, true),
        ("a failed inventory", job("inventory.target", false), failed("inventory.service"), false),
        ("a site's own target", job("burn-in.target", true), failed("burn.service"), true),
    ];
    for (what, job, end, quarantined) in cases {
        let mut inputs = installing();
        inputs.push(end.clone());
        let (job, changes) = live(job, &inputs);
        let lifecycle = changes.last().unwrap().lifecycle.clone();
        assert_eq!(matches!(lifecycle, Some(Lifecycle::Quarantined { .. })), quarantined, "{what}");
        assert_eq!(ends_on(&job), !quarantined, "{what}: what was on and untouched goes on again");
    }
    for inputs in [&installing()[..4], &[]] {
        let mut inputs = inputs.to_vec();
        inputs.push(failed("booting"));
        let (_, changes) = live(job("install-linux.target", true), &inputs);
        assert_eq!(changes.last().unwrap().lifecycle, None, "nothing was told to write");
    }
}

#[test]
fn a_failure_marks_its_step_and_names_it_in_the_telling() {
    let mut inputs = installing();
    inputs.push(failed("partition.service"));
    let (job, changes) = live(job("install-linux.target", true), &inputs);
    assert_eq!(job.steps[1].status, StepStatus::Failed);
    let telling = &changes.last().unwrap().announcements[0];
    assert_eq!(
        (telling.kind.as_str(), &telling.data["failed_step"]),
        ("job.failed", &json!("partition.service"))
    );
    assert!(!ends_on(&job));
}

#[test]
fn a_job_that_was_touched_and_released_by_force_leaves_a_quarantined_machine() {
    for touched in [true, false] {
        let mut inputs = installing();
        inputs.extend([Input::Cancelled { by: "ops".into() }, Input::ForceReleased]);
        let mut job = job("inventory.target", false);
        job.touched = touched;
        let (job, changes) = live(job, &inputs);
        assert!(job.state.is_released());
        assert_eq!(changes.last().unwrap().lifecycle.is_some(), touched);
    }
}
