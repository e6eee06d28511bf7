//! Everything that can go wrong, each with its code, its words, and nothing half-done behind it.

use std::time::Duration;

use schema::event::ReportStatus;

use super::bmc::{Hang, media_unreachable, unreachable_bmc, wrong_password};
use super::world::{World, failed, report};
use crate::model::{JobId, Lifecycle, Status};
use crate::redfish::BmcError;

/// What a failed job leaves: nothing mounted, nothing pinned, power as it was.
async fn left_clean(world: &World, id: &JobId, was_on: bool) {
    world.until_name(id, "released").await;
    assert!(world.bmc.images().iter().all(Option::is_none));
    assert_eq!(world.bmc.state().power_on, was_on);
    assert_eq!(world.lifecycle(), Lifecycle::Free);
}

#[tokio::test]
async fn a_bmc_that_is_down_is_tried_until_the_deadline_and_named() {
    let world = World::new().await;
    world.bmc.state().dead = Some(unreachable_bmc);
    let job = world.accept(|_| {}).await;
    let over = world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    let failure = world.failure(&job.id);
    assert_eq!((failure.failed_step.as_str(), failure.code.as_str()), ("probing", "timeout.probing"));
    assert!(failure.reason.contains("BMC https://10.0.0.20 does not answer"), "{}", failure.reason);
    assert!(failure.reason.contains("connection refused"), "{}", failure.reason);
    let took = over.updated_at.duration_since(job.created_at).as_secs();
    assert!((300..330).contains(&took), "{took}");
    // It was never touched, so there is nothing to clean, dead BMC or not.
    left_clean(&world, &job.id, false).await;
}

#[tokio::test]
async fn a_bmc_that_comes_back_in_time_is_no_failure() {
    let world = World::new().await;
    for _ in 0..5 {
        world.bmc.fault("probe", unreachable_bmc);
    }
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
}

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_says_where_to_set_it() {
    let world = World::new().await;
    world.bmc.state().power_on = true;
    world.bmc.state().dead = Some(wrong_password);
    let job = world.accept(|_| {}).await;
    world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    let failure = world.failure(&job.id);
    assert_eq!(failure.code, "bmc.credentials");
    assert!(failure.reason.contains("machine add"), "{}", failure.reason);
    assert_eq!(world.job(&job.id).updated_at, job.created_at, "no time was lost");
    left_clean(&world, &job.id, true).await;
    assert!(world.bmc.state().calls.is_empty());
}

#[tokio::test]
async fn the_bmc_of_another_machine_is_never_touched() {
    let world = World::new().await;
    world.bmc.state().serial = "XYZ789".to_owned();
    world.bmc.state().power_on = true;
    let job = world.accept(|_| {}).await;
    world.until_name(&job.id, "released").await;
    assert_eq!(world.failure(&job.id).code, "bmc.wrong_machine");
    assert!(world.bmc.state().calls.is_empty());
}

#[tokio::test]
async fn media_the_bmc_cannot_reach_fail_in_its_own_words_and_power_comes_back() {
    let world = World::new().await;
    world.bmc.state().power_on = true;
    world.bmc.fault("insert", media_unreachable);
    let job = world.accept(|_| {}).await;
    world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    let failure = world.failure(&job.id);
    assert_eq!((failure.failed_step.as_str(), failure.code.as_str()), ("mounting", "bmc.refused"));
    assert!(failure.reason.contains("could not be reached from the BMC"), "{}", failure.reason);
    left_clean(&world, &job.id, true).await;
}

#[tokio::test]
async fn a_medium_that_drops_out_is_put_in_again() {
    let world = World::new().await;
    world.bmc.fault("insert", || BmcError::NotObserved {
        endpoint: "https://10.0.0.20".to_owned(),
        what: "inserting".to_owned(),
        seen: "Inserted=false".to_owned(),
        seconds: 120,
    });
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    assert!(world.bmc.images().iter().all(Option::is_some));
}

#[tokio::test]
async fn every_phase_has_its_deadline() {
    for (phase, hang) in [("mounting", Some((0, Hang::Before))), ("booting", None), ("installing", None)] {
        let world = World::with(|settings| {
            settings.silence = Duration::from_secs(100_000);
            settings.lost = Duration::from_secs(200_000);
        })
        .await;
        world.bmc.state().hang = hang;
        let job = world.accept(|_| {}).await;
        match phase {
            "mounting" => {
                let hung = world.until_name(&job.id, phase).await;
                let calls = world.bmc.clone();
                while calls.state().calls.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                world.clock.advance_to(hung.phase_since + jiff::SignedDuration::from_mins(20));
                world.bmc.state().hang = None;
            }
            "installing" => drop(world.until_installing(&job.id).await),
            _ => {}
        }
        world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
        let failure = world.failure(&job.id);
        assert_eq!(failure.code, format!("timeout.{phase}"));
        assert_eq!(failure.failed_step, phase);
        assert!(failure.reason.contains("what was awaited"), "{}", failure.reason);
        world.until_name(&job.id, "released").await;
        assert!(world.bmc.images().iter().all(Option::is_none), "{phase}");
        assert_eq!(matches!(world.lifecycle(), Lifecycle::Quarantined { .. }), phase == "installing");
    }
}

#[tokio::test]
async fn a_maintenance_medium_that_goes_missing_after_acceptance_fails_staging() {
    let world = World::new().await;
    *world.shelf.fault.lock().unwrap() = Some(crate::workflow::EdgeError {
        code: "media.no_maintenance",
        message: "there is no maintenance medium; build it".to_owned(),
        transient: false,
    });
    let job = world.accept(|_| {}).await;
    world.until_name(&job.id, "released").await;
    let failure = world.failure(&job.id);
    assert_eq!((failure.failed_step.as_str(), failure.code.as_str()), ("staging", "media.no_maintenance"));
}

#[tokio::test]
async fn a_recipe_s_own_deadline_is_kept() {
    let world = World::new().await;
    let job = world.accept(|recipe| recipe["timeouts"] = serde_json::json!({"booting": "2m"})).await;
    let over = world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    assert_eq!(world.failure(&job.id).code, "timeout.booting");
    assert!(over.updated_at.duration_since(job.created_at).as_secs() < 200);
}

#[tokio::test]
async fn a_silent_host_is_looked_at_and_then_given_up() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Heartbeat)).await.unwrap();
    let heard = world.now();
    let over = world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    let failure = world.failure(&job.id);
    assert_eq!(failure.code, "lost_contact");
    assert_eq!(over.updated_at.duration_since(heard).as_secs(), 600);
    let silent: Vec<_> = world.events(&job.id).into_iter().filter(|e| e.code == "host.silent").collect();
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].at.duration_since(heard).as_secs(), 180);
    assert!(silent[0].text.contains("power is on, boot progress OSRunning"), "{}", silent[0].text);
    world.until_name(&job.id, "released").await;
    assert!(!world.bmc.state().power_on);
    assert!(matches!(world.lifecycle(), Lifecycle::Quarantined { .. }));
}

#[tokio::test]
async fn a_host_that_is_heard_is_not_given_up() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    for _ in 0..30 {
        world.clock.advance(Duration::from_secs(120));
        world.say(&token, report(ReportStatus::Heartbeat)).await.unwrap();
        world.settle(&job.id).await;
    }
    assert_eq!(world.job(&job.id).state.name(), "installing");
    assert!(!world.codes(&job.id).contains(&"host.silent".to_owned()));
}

#[tokio::test]
async fn a_failed_preflight_leaves_the_machine_free_and_a_failed_image_does_not() {
    for (unit, free) in [("preflight.service", true), ("image-linux.service", false)] {
        let world = World::new().await;
        let job = world.accept(|_| {}).await;
        let token = world.until_installing(&job.id).await;
        world.say(&token, failed(unit)).await.unwrap();
        world.until_name(&job.id, "released").await;
        assert_eq!(world.lifecycle() == Lifecycle::Free, free, "{unit}");
        assert!(!world.bmc.state().power_on && world.bmc.images().iter().all(Option::is_none));
        assert_eq!(world.failure(&job.id).failed_step, unit);
        let next = world.workflow.accept(world.submission()).await;
        match next {
            Ok(_) => assert!(free),
            Err(error) => {
                assert_eq!((error.code(), free), ("machine.quarantined", false));
                assert!(error.to_string().contains("slipway machine release ABC123"), "{error}");
                world.workflow.release_machine("abc123", "ops").await.unwrap();
                world.workflow.accept(world.submission()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn on_failure_stay_keeps_a_failed_host_for_its_operator() {
    let world = World::new().await;
    let job = world.accept(|recipe| recipe["on_failure"] = "stay".into()).await;
    let token = world.until_installing(&job.id).await;
    assert!(!world.say(&token, failed("partition.service")).await.unwrap().power_off);
    world.until_name(&job.id, "holding").await;
    assert!(world.bmc.state().power_on);
    world.workflow.release(&job.id, false, "ops").await.unwrap();
    world.until_name(&job.id, "released").await;
    assert!(!world.bmc.state().power_on);
}

#[tokio::test]
async fn cancelling_works_in_every_phase_and_cleans_up() {
    for phase in ["probing", "mounting", "booting", "installing"] {
        let world = World::new().await;
        world.bmc.state().power_on = true;
        match phase {
            "probing" => world.bmc.state().dead = Some(unreachable_bmc),
            "mounting" => world.bmc.state().hang = Some((2, Hang::After)),
            _ => {}
        }
        let job = world.accept(|_| {}).await;
        match phase {
            "booting" => drop(world.until_booted(&job.id).await),
            "installing" => drop(world.until_installing(&job.id).await),
            "mounting" => {
                let calls = world.bmc.clone();
                world.until(&job.id, "hung", |_| calls.state().calls.len() == 3).await;
            }
            _ => drop(world.until_name(&job.id, phase).await),
        }
        world.bmc.state().hang = None;
        let cancelled = world.workflow.cancel(&job.id, "ops").await.unwrap();
        assert_eq!(cancelled.state.status(), Status::Cancelled, "{phase}");
        let again = world.workflow.cancel(&job.id, "someone else").await.unwrap();
        assert_eq!(again.state.outcome(), cancelled.state.outcome(), "{phase}");
        world.until_name(&job.id, "released").await;
        assert!(world.bmc.images().iter().all(Option::is_none), "{phase}");
        let wrote = phase == "installing";
        assert_eq!(matches!(world.lifecycle(), Lifecycle::Quarantined { .. }), wrote, "{phase}");
        assert_eq!(world.bmc.state().power_on, !wrote, "{phase}: what was on and untouched is on again");
    }
}

#[tokio::test]
async fn a_step_that_was_cut_off_says_what_the_bmc_was_at() {
    let world = World::new().await;
    world.bmc.state().power_on = true;
    world.bmc.state().hang = Some((1, Hang::Before));
    world.bmc.state().at_work = Some("BMC b accepted power Off and still shows PowerState On".to_owned());
    let job = world.accept(|recipe| recipe["timeouts"] = serde_json::json!({ "mounting": "30s" })).await;
    let calls = world.bmc.clone();
    world.until(&job.id, "hung", |_| calls.state().calls.len() == 2).await;
    world.clock.advance(std::time::Duration::from_secs(31));
    world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    let failure = world.failure(&job.id);
    assert_eq!(failure.code, "timeout.mounting");
    assert!(
        failure.reason.contains("accepted power Off and still shows PowerState On"),
        "{}",
        failure.reason
    );
    world.bmc.state().hang = None;
}

#[tokio::test]
async fn cleaning_up_goes_on_past_its_deadline_with_an_alarm() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.bmc.state().dead = Some(unreachable_bmc);
    let codes = || world.codes(&job.id);
    world.until(&job.id, "alarmed", |_| codes().contains(&"alarm.cleanup".to_owned())).await;
    let stuck = world.job(&job.id);
    assert_eq!((stuck.state.name(), stuck.state.status()), ("cleaning_up", Status::Succeeded));
    world.bmc.state().dead = None;
    world.until_name(&job.id, "released").await;
    assert_eq!(codes().iter().filter(|code| *code == "alarm.cleanup").count(), 1);
    assert!(world.bmc.images().iter().all(Option::is_none));
}

#[tokio::test]
async fn a_machine_whose_bmc_is_dead_is_freed_by_force_and_quarantined() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.bmc.state().dead = Some(unreachable_bmc);
    let refused = world.workflow.release(&job.id, false, "ops").await.unwrap_err();
    assert_eq!(refused.code(), "job.not_over");
    let freed = world.workflow.release(&job.id, true, "ops").await.unwrap();
    assert!(freed.state.is_released());
    assert!(matches!(world.lifecycle(), Lifecycle::Quarantined { .. }));
    assert_eq!(world.workflow.release(&job.id, true, "ops").await.unwrap().state.name(), "released");
}

#[tokio::test]
async fn a_medium_of_someone_else_is_left_in() {
    let world = World::new().await;
    world.bmc.state().slots.push(("Usb2".to_owned(), Some("http://elsewhere/rescue.iso".to_owned())));
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert_eq!(world.bmc.images(), [None, None, Some("http://elsewhere/rescue.iso".to_owned())]);
}
