//! What hosts may say, once and never twice.

use schema::event::{ReportStatus, StepState};

use super::world::{SERIAL, World, failed, report, step};
use crate::model::{JobId, Secret, Status};
use crate::store::Store;
use crate::workflow::{Answer, ReportError, tokens};

#[tokio::test]
async fn the_same_boot_may_ask_again_and_any_other_is_refused() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    let first = world.start_host(&job.id, "aa11").await.unwrap();
    let again = world.start_host(&job.id, "aa11").await.unwrap();
    assert_eq!(first, again);
    for _ in 0..2 {
        let error = world.start_host(&job.id, "bb22").await.unwrap_err();
        assert_eq!(error.code(), "report.second_boot");
    }
    // Neither may the second boot end the job of the first.
    let mut refused = failed("slipway-dispatcher.service");
    refused.boot_nonce = Some("bb22".to_owned());
    assert_eq!(world.say(&world.bootstrap(&job.id), refused).await.unwrap_err().code(), "report.second_boot");
    assert_eq!(world.job(&job.id).state.name(), "installing");
    let codes = world.codes(&job.id);
    assert_eq!(codes.iter().filter(|code| *code == "host.started").count(), 1);
    assert_eq!(codes.iter().filter(|code| *code == "alarm.second_boot").count(), 1);
    // And after a restart of the controller it is still so.
    let mut world = world;
    world.restart().await;
    assert_eq!(world.start_host(&job.id, "aa11").await.unwrap(), first);
    assert!(world.start_host(&job.id, "bb22").await.is_err());
}

#[tokio::test]
async fn two_boots_that_ask_at_once_do_not_both_proceed() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    let nonces: Vec<String> = (0..16).map(|n| format!("boot-{n}")).collect();
    let asked = nonces.iter().map(|nonce| world.start_host(&job.id, nonce));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_host_that_asks_before_it_was_switched_on_is_told_to_wait() {
    let world = World::new().await;
    world.bmc.state().hang = Some((0, super::bmc::Hang::Before));
    let job = world.accept(|_| {}).await;
    world.until_name(&job.id, "mounting").await;
    assert_eq!(world.start_host(&job.id, "aa11").await.unwrap_err().code(), "report.early");
    assert_eq!(world.job(&job.id).boot_nonce, None);
}

#[tokio::test]
async fn a_repeated_webhook_changes_nothing() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let mut said = step("partition.service", StepState::Started);
    said.delivery_id = Some("d-1".to_owned());
    world.say(&token, said.clone()).await.unwrap();
    let (before, events) = (world.job(&job.id), world.events(&job.id).len());
    for _ in 0..3 {
        assert!(world.say(&token, said.clone()).await.unwrap().received);
    }
    assert_eq!((world.job(&job.id), world.events(&job.id).len()), (before, events));

    let mut end = report(ReportStatus::Success);
    end.delivery_id = Some("d-2".to_owned());
    world.say(&token, end.clone()).await.unwrap();
    let version = world.job(&job.id).version;
    let again = world.say(&token, end).await.unwrap();
    assert!(again.received && again.power_off, "a repeat of the outcome is answered like the first");
    assert!(world.job(&job.id).version >= version);
    assert_eq!(world.job(&job.id).state.status(), Status::Succeeded);
}

#[tokio::test]
async fn the_first_failure_wins_and_its_words_are_cleaned() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, step("partition.service", StepState::Started)).await.unwrap();
    assert!(world.say(&token, failed("partition.service")).await.unwrap().power_off);
    for late in
        [failed("image-linux.service"), report(ReportStatus::Success), step("x.service", StepState::Started)]
    {
        let error = world.say(&token, late).await.unwrap_err();
        assert_eq!(error.code(), "report.late");
    }
    let failure = world.failure(&job.id);
    assert_eq!((failure.failed_step.as_str(), failure.code.as_str()), ("partition.service", "step.failed"));
    assert_eq!(failure.reason, "no space left on device, said *** (exit code 1)");
    let logs = world.store.logs(&job.id).unwrap();
    assert_eq!((logs.len(), logs[0].text.as_str()), (1, "mkfs: ***\nmkfs: no space\n"));
}

#[tokio::test]
async fn tokens_that_are_wrong_foreign_or_dead_open_nothing() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let before = world.job(&job.id);
    let beat = || report(ReportStatus::Heartbeat);
    let other = JobId::fresh();
    let forged = [
        Secret::new("nonsense".to_owned()),
        tokens::session(&world.keys, &other, 1, "aa11"),
        tokens::session(&world.keys, &job.id, 1, "bb22"),
        tokens::session(&crate::workflow::SiteKeys::new([9; 32]), &job.id, 1, "aa11"),
    ];
    for forged in &forged {
        let error = world.say(forged, beat()).await.unwrap_err();
        assert!(matches!(error, ReportError::Unauthorized), "{error:?}");
    }
    // Genuine, but for something else.
    let error = world.say(&tokens::session(&world.keys, &job.id, 2, "aa11"), beat()).await.unwrap_err();
    assert!(matches!(error, ReportError::Forbidden { .. }), "{error:?}");
    let error = world.workflow.report("OTHER", token.expose(), beat()).await.unwrap_err();
    assert!(matches!(error, ReportError::Forbidden { .. }), "{error:?}");
    let mut foreign = beat();
    foreign.job_id = Some(other.to_string());
    assert!(matches!(world.say(&token, foreign).await.unwrap_err(), ReportError::Forbidden { .. }));
    assert!(matches!(
        world.say(&world.bootstrap(&job.id), beat()).await.unwrap_err(),
        ReportError::Forbidden { .. }
    ));
    let success = report(ReportStatus::Success);
    assert!(matches!(
        world.say(&world.bootstrap(&job.id), success.clone()).await.unwrap_err(),
        ReportError::Forbidden { .. }
    ));
    assert_eq!(world.job(&job.id), before);

    world.say(&token, success).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert_eq!(world.say(&token, beat()).await.unwrap_err().code(), "report.late");
    assert!(world.workflow.session(token.expose()).await.is_err());
}

#[tokio::test]
async fn a_wrong_machine_is_named_and_stays_untouched() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    let mut said = failed("slipway-dispatcher.service");
    said.exit_code = Some(21);
    said.message = Some("this is another machine".to_owned());
    said.found_serial = Some("XYZ789".to_owned());
    world.say(&world.bootstrap(&job.id), said).await.unwrap();
    let failure = world.failure(&job.id);
    assert_eq!(
        (failure.failed_step.as_str(), failure.code.as_str()),
        ("slipway-dispatcher.service", "host.wrong_machine")
    );
    assert!(
        failure.reason.contains("\"XYZ789\"") && failure.reason.contains("\"ABC123\""),
        "{}",
        failure.reason
    );
    world.until_name(&job.id, "released").await;
    assert_eq!(world.lifecycle(), crate::model::Lifecycle::Free);
    assert_eq!(world.job(&job.id).destructive_started, None);
}

#[tokio::test]
async fn heartbeats_and_progress_are_seen_at_once_and_written_seldom() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let mut signals = world.workflow.subscribe(&job.id);
    let version = world.job(&job.id).version;
    for done in 1..=50 {
        let mut said = report(ReportStatus::Progress);
        said.step = Some("image-linux.service".to_owned());
        said.done = Some(done);
        said.total = Some(50);
        world.say(&token, said).await.unwrap();
    }
    assert_eq!(signals.recv().await.unwrap(), crate::workflow::Signal::Live);
    let (seen, live) = world.workflow.view(&job.id).await.unwrap().unwrap();
    assert_eq!(seen.version, version, "progress is no new version");
    assert_eq!(live.progress["image-linux"].done, 50);
    let flushed = world.store.live(&job.id).unwrap();
    assert!(flushed.is_none_or(|live| live.progress.get("image-linux").is_none_or(|p| p.done < 50)));
    world.clock.advance(std::time::Duration::from_secs(10));
    let started = std::time::Instant::now();
    loop {
        if let Some(live) = world.store.live(&job.id).unwrap()
            && live.progress.get("image-linux").is_some_and(|progress| progress.done == 50)
        {
            break;
        }
        assert!(started.elapsed().as_secs() < 30, "never flushed");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_cancelled_host_is_told_to_go_off_with_its_next_heartbeat() {
    let world = World::with(|settings| settings.power_off_grace = std::time::Duration::from_secs(3600)).await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    assert!(!world.say(&token, report(ReportStatus::Heartbeat)).await.unwrap().power_off);
    world.workflow.cancel(&job.id, "ops").await.unwrap();
    assert!(world.say(&token, report(ReportStatus::Heartbeat)).await.unwrap().power_off);
    world.bmc.state().power_on = false;
    world.until_name(&job.id, "released").await;
}

#[tokio::test]
async fn a_session_pulls_its_own_images_and_no_others() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let session = world.workflow.session(token.expose()).await.unwrap();
    assert!(session.may_pull("images/debian") && !session.may_pull("images/other"));
    assert!(world.workflow.session(world.bootstrap(&job.id).expose()).await.is_err());
    world.workflow.keep_log(&session, "journal", "hello correct-horse".to_owned()).await.unwrap();
    assert_eq!(world.store.logs(&job.id).unwrap()[0].text, "hello ***");
}

#[tokio::test]
async fn malformed_reports_are_refused_by_name() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    let no_nonce = report(ReportStatus::Started);
    let error = world.workflow.report(SERIAL, world.bootstrap(&job.id).expose(), no_nonce).await;
    assert!(matches!(error, Err(ReportError::Malformed { .. })), "{error:?}");
    let token = world.until_installing(&job.id).await;
    let mut nameless = report(ReportStatus::Failed);
    nameless.message = Some("?".to_owned());
    let mut long = step(&"x".repeat(200), StepState::Started);
    let mut stateless = step("partition.service", StepState::Started);
    stateless.step_state = None;
    for wrong in [nameless, long.clone(), stateless] {
        let error = world.say(&token, wrong).await.unwrap_err();
        assert!(matches!(error, ReportError::Malformed { .. }), "{error:?}");
    }
    for n in 0..100 {
        long.step = Some(format!("step-{n}.service"));
        let _ = world.say(&token, long.clone()).await; // refused from some number on
    }
    assert!(world.job(&job.id).steps.len() <= 64);
    assert!(matches!(
        world.workflow.report(SERIAL, token.expose(), report(ReportStatus::Heartbeat)).await,
        Ok(Answer::Received(_))
    ));
}
