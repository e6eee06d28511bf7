//! What a host reports when it cannot go on, and when it is never heard of again.

use std::time::Duration;

use e2e::sim::{Deed, Disk, Moment, Setup, WITHIN, fast};
use mock_redfish::Power;
use serde_json::json;

use super::support::{assert_power, assert_tidy, codes, count, lifecycle, site, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_reported_once_by_its_unit_and_quarantines_the_machine() {
    let site = site().await;
    site.stage(0).script(|script| script.fails_at = Some(("image-linux", 3)));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "failed");
    assert_eq!(job["failed_step"], "image-linux.service");
    assert_eq!(job["reason_code"], "step.failed");
    assert!(job["reason"].as_str().unwrap().contains("exit code 3"), "{job:#}");
    assert_eq!(count(&job, "outcome.failed"), 1);
    let states: Vec<&str> =
        job["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["finished", "finished", "failed", "waiting", "waiting"]);
    assert_eq!(site.stage(0).times(&Deed::Failed("image-linux.service".to_owned())), 1);
    assert_eq!(site.stage(0).disk(), Disk::Wiped);
    assert_tidy(&site, 0);
    assert_power(&site, 0, Power::Off);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");

    let logs = site.api().get(&format!("/api/v1/jobs/{id}/logs")).await.unwrap();
    assert_eq!(logs.body["logs"][0]["name"], "image-linux.service");
    assert_eq!(logs.body["logs"][0]["text"], "the last line of the journal");

    let again = json!({ "server_serial": site.serial(0), "recipe": site.recipe() });
    let refused = site.api().post("/api/v1/jobs", again).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "machine.quarantined"), "{}", refused.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_preflight_touched_nothing_and_leaves_the_machine_free() {
    let site = site().await;
    site.stage(0).script(|script| script.fails_at = Some(("preflight", 1)));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["failed_step"]), (&json!("failed"), &json!("preflight.service")));
    assert_eq!(site.stage(0).disk(), Disk::Old);
    assert_tidy(&site, 0);
    assert_eq!(lifecycle(&site, 0).await, "free");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_in_the_wrong_machine_is_refused_there_and_leaves_it_free() {
    let site = site().await;
    site.stage(0).script(|script| script.dmi_serial = Some("ANOTHER-1".to_owned()));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "failed");
    assert_eq!(job["failed_step"], "slipway-dispatcher.service");
    assert_eq!(job["reason_code"], "host.wrong_machine");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("ANOTHER-1") && reason.contains("exit code 21"), "{reason}");
    assert_eq!(site.stage(0).disk(), Disk::Old);
    assert_eq!(site.stage(0).times(&Deed::Proceeds), 0);
    assert_tidy(&site, 0);
    assert_eq!(lifecycle(&site, 0).await, "free");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_boot_may_ask_again_and_gets_the_same_answer() {
    let site = site().await;
    site.stage(0).script(|script| script.asks = 3);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(count(&job, "host.started"), 1);
    assert_eq!(site.stage(0).times(&Deed::Wiped), 1);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_boot_of_an_attempt_is_refused_and_nothing_is_wiped_twice() {
    let pace =
        controller::server::Pace { silence: Duration::from_secs(1), lost: Duration::from_secs(3), ..fast() };
    let site = start(Setup { pace, ..Setup::of(1) }).await;
    site.stage(0).script(|script| script.restarts_at = Some(Moment::Step("image-linux")));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).wait_deed(&Deed::Refused(409), WITHIN).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["reason_code"]), (&json!("failed"), &json!("lost_contact")), "{job:#}");
    assert_eq!(count(&job, "alarm.second_boot"), 1);
    let stage = site.stage(0);
    assert_eq!((stage.times(&Deed::Maintenance), stage.times(&Deed::Proceeds)), (2, 1));
    assert_eq!(stage.times(&Deed::Wiped), 1);
    assert_tidy(&site, 0);
    assert_power(&site, 0, Power::Off);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_asked_about_then_given_up() {
    let pace =
        controller::server::Pace { silence: Duration::from_secs(1), lost: Duration::from_secs(2), ..fast() };
    let site = start(Setup { pace, ..Setup::of(1) }).await;
    site.stage(0).script(|script| script.mute = true);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["reason_code"]), (&json!("failed"), &json!("lost_contact")), "{job:#}");
    let silent = job["timeline"].as_array().unwrap().iter().find(|event| event["code"] == "host.silent");
    assert!(silent.unwrap()["text"].as_str().unwrap().contains("power is on"), "{job:#}");
    assert_tidy(&site, 0);
    assert_power(&site, 0, Power::Off);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_power_itself_off_is_powered_off() {
    let site = site().await;
    site.stage(0).script(|script| script.stays_on = true);
    let recipe = site.recipe_with("on_success", json!("power-off"));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded");
    assert_power(&site, 0, Power::Off);
    assert_tidy(&site, 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_layer_that_vanished_after_acceptance_fails_where_it_is_pulled() {
    let site = site().await;
    let pushed = site.push().await.unwrap();
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let hex = pushed.layer.strip_prefix("sha256:").unwrap();
    let blobs = site.state().join("registry/blobs/sha256");
    let file = [blobs.join(hex), blobs.join(&hex[..2]).join(hex)].into_iter().find(|path| path.exists());
    std::fs::remove_file(file.expect("the layer is in the blob store")).unwrap();
    site.stage(0).go_on();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["failed_step"]), (&json!("failed"), &json!("image-linux.service")));
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_shall_be_looked_at_is_held_until_an_operator_ends_it() {
    let site = site().await;
    site.stage(0).script(|script| script.fails_at = Some(("image-linux", 1)));
    let recipe = site.recipe_with("on_failure", json!("stay"));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_phase(&id, "holding").await.unwrap();
    assert_eq!((&job["status"], &job["complete"]), (&json!("failed"), &json!(false)));
    assert_power(&site, 0, Power::On);
    assert!(site.machine(0).image("Cd").is_some(), "the medium was taken out while held");
    let released = site.api().post(&format!("/api/v1/jobs/{id}/release"), json!({})).await.unwrap();
    assert_eq!(released.status, 200, "{}", released.text);
    let job = site.api().wait_complete(&id).await.unwrap();
    assert!(codes(&job).contains(&"intent.release"));
    assert_tidy(&site, 0);
    assert_power(&site, 0, Power::Off);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}
