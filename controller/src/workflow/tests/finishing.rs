//! Lives that end well, and what is left behind them.

use schema::event::{ReportStatus, StepState};

use super::world::{World, report, step};
use crate::model::{Lifecycle, Status, StepStatus};

#[tokio::test]
async fn a_recipe_becomes_an_installed_machine_and_nothing_stays_behind() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    assert_eq!(world.images.pins.lock().unwrap().as_slice(), std::slice::from_ref(&job.id));

    let booting = world.until_booted(&job.id).await;
    assert_eq!(booting.media.len(), 2);
    assert!(world.bmc.images()[0].as_ref().unwrap().ends_with("/maintenance.iso"));
    assert!(world.bmc.images()[1].as_ref().unwrap().ends_with("/task.img"));
    // The override is looked at once more after the last look at the media.
    let calls = ["power Off", "insert Cd", "insert Usb", "once Cd", "once Cd", "power On"];
    assert_eq!(world.bmc.state().calls, calls);

    let token = world.start_host(&job.id, "aa11").await.unwrap();
    let installing = world.until_name(&job.id, "installing").await;
    assert!(installing.destructive_started.is_some());
    for unit in ["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"] {
        for state in [StepState::Started, StepState::Finished] {
            world.say(&token, step(&format!("{unit}.service"), state)).await.unwrap();
        }
    }
    let answer = world.say(&token, report(ReportStatus::Success)).await.unwrap();
    assert!(answer.received && answer.power_off);
    assert_eq!(world.job(&job.id).state.status(), Status::Succeeded);

    world.bmc.state().power_on = false; // the host goes off by itself
    let done = world.until_name(&job.id, "released").await;
    assert!(done.steps.iter().all(|step| step.status == StepStatus::Finished));
    assert!(done.released_at.is_some() && done.off_seen);
    assert!(matches!(world.lifecycle(), Lifecycle::InService { .. }));
    {
        let state = world.bmc.state();
        assert!(state.power_on && !state.once && state.slots.iter().all(|(_, image)| image.is_none()));
        assert_eq!((state.boots, state.disk_boots), (1, 1));
        let calls: Vec<&str> = state.calls.iter().map(String::as_str).collect();
        // The override is looked at once more as the last thing before power.
        let mounting = ["power Off", "insert Cd", "insert Usb", "once Cd", "once Cd", "power On"];
        let cleaning = ["power Off", "eject Cd", "eject Usb", "clear ", "power On"];
        assert_eq!(calls, [&mounting[..], &cleaning[..]].concat());
        assert!(state.passwords.iter().all(|password| password == "calvin"));
    }
    let started = std::time::Instant::now();
    while !world.images.pins.lock().unwrap().is_empty() || world.bmc.state().open != 0 {
        assert!(started.elapsed().as_secs() < 30, "pins or sessions stay behind");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(world.shelf.staged.lock().unwrap().is_empty());
    let mut codes = world.codes(&job.id);
    codes.retain(|code| !code.starts_with("bmc.") && !code.starts_with("step."));
    assert_eq!(
        codes,
        [
            "job.queued",
            "phase.staging",
            "phase.probing",
            "media.transport",
            "phase.mounting",
            "phase.booting",
            "host.started",
            "phase.installing",
            "outcome.succeeded",
            "phase.cleaning_up",
            "complete"
        ]
    );
}

#[tokio::test]
async fn a_host_that_does_not_go_off_is_switched_off_after_a_minute() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    let decided = world.job(&job.id).phase_since;
    let done = world.until_name(&job.id, "released").await;
    let took = done.released_at.unwrap().duration_since(decided).as_secs();
    assert!((60..90).contains(&took), "{took}");
    assert_eq!(world.bmc.state().disk_boots, 1);
}

#[tokio::test]
async fn stay_keeps_media_and_power_until_an_operator_ends_it() {
    let world = World::new().await;
    let job = world.accept(|recipe| recipe["on_success"] = "stay".into()).await;
    let token = world.until_installing(&job.id).await;
    let answer = world.say(&token, report(ReportStatus::Success)).await.unwrap();
    assert!(!answer.power_off);
    world.until_name(&job.id, "holding").await;
    world.settle(&job.id).await;
    assert!(world.bmc.state().power_on && world.bmc.images().iter().all(Option::is_some));
    assert_eq!(world.job(&job.id).state.status(), Status::Succeeded);

    world.workflow.release(&job.id, false, "ops").await.unwrap();
    world.until_name(&job.id, "released").await;
    assert!(world.bmc.images().iter().all(Option::is_none));
    assert!(world.workflow.release(&job.id, false, "ops").await.unwrap().state.is_released());
}

#[tokio::test]
async fn power_off_leaves_the_installed_machine_off() {
    let world = World::new().await;
    let job = world.accept(|recipe| recipe["on_success"] = "power-off".into()).await;
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert!(!world.bmc.state().power_on);
    assert!(matches!(world.lifecycle(), Lifecycle::InService { .. }));
}

#[tokio::test]
async fn an_inventory_changes_nothing_about_the_machine() {
    let world = World::new().await;
    world.bmc.state().power_on = true;
    let job = world.accept(|recipe| *recipe = serde_json::json!({"task_target": "inventory.target"})).await;
    let token = world.until_installing(&job.id).await;
    assert_eq!(world.job(&job.id).destructive_started, None);
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert_eq!(world.lifecycle(), Lifecycle::Free);
    assert!(world.bmc.state().power_on);
}

#[tokio::test]
async fn a_machine_with_one_slot_gets_both_media_in_one() {
    let world = World::new().await;
    world.bmc.state().slots.truncate(1);
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    assert!(world.bmc.images()[0].as_ref().unwrap().ends_with("/composed.iso"));
}

#[tokio::test]
async fn a_second_slot_that_refuses_is_done_without() {
    let world = World::new().await;
    world.bmc.fault("insert second", super::bmc::media_unreachable);
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    assert!(world.bmc.images()[0].as_ref().unwrap().ends_with("/composed.iso"));
    assert!(world.codes(&job.id).contains(&"media.transport".to_owned()));
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert!(world.bmc.images().iter().all(Option::is_none));
}

#[tokio::test]
async fn booting_gets_more_time_while_the_bmc_reads() {
    use crate::workflow::LastRead;
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let booting = world.until_booted(&job.id).await;
    let minutes = |minutes: i64| booting.phase_since + jiff::SignedDuration::from_mins(minutes);
    for minute in 0..45 {
        world.clock.advance_to(minutes(minute));
        *world.shelf.read.lock().unwrap() =
            Some(LastRead { at: minutes(minute), bytes: 1 << 20, from: None });
        world.settle(&job.id).await;
    }
    assert_eq!(world.job(&job.id).state.name(), "booting");
    let live = world.workflow.view(&job.id).await.unwrap().unwrap().1;
    assert!(live.wait.unwrap().reason.contains("has read 1 MiB of media"));
    // It stops reading: two minutes later the time is up.
    let over = world.until(&job.id, "failed", |job| job.state.outcome().is_some()).await;
    assert_eq!(world.failure(&job.id).code, "timeout.booting");
    assert!(over.phase_since <= minutes(48), "{}", over.phase_since);
}
