//! The controller dies at every point of a job and is started again on what it left: no job is lost, none runs twice.

use std::time::Duration;

use e2e::sim::{Deed, Disk, Moment, Site, WITHIN};
use mock_redfish::{Fault, Injection, Power};
use serde_json::{Value, json};

use super::support::{assert_no_session, assert_power, assert_tidy, count, lifecycle, phases, site};

const INSERT: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia";
const INSERT_SECOND: &str = "/redfish/v1/Managers/1/VirtualMedia/Usb/Actions/VirtualMedia.InsertMedia";
const EJECT: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia";
const RESET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

/// The job went through once, as if nothing had been.
async fn assert_done_once(site: &Site, id: &str, told: &str) {
    let job = site.api().wait_complete(id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{told}: {job:#}");
    assert_eq!(count(&job, "outcome.succeeded"), 1, "{told}");
    assert_eq!(count(&job, "host.started"), 1, "{told}");
    let expected = ["staging", "probing", "mounting", "booting", "installing", "cleaning_up"];
    assert_eq!(phases(&job), expected, "{told}");
    let stage = site.stage(0);
    stage.wait_deed(&Deed::NewSystem, WITHIN).await.unwrap();
    for (deed, times) in [(Deed::Proceeds, 1), (Deed::Wiped, 1), (Deed::Succeeded, 1), (Deed::NewSystem, 1)] {
        assert_eq!(stage.times(&deed), times, "{told}: {:?}", stage.deeds());
    }
    assert_eq!(stage.disk(), Disk::Installed, "{told}");
    assert_tidy(site, 0);
    assert_no_session(site, 0).await;
    assert_power(site, 0, Power::On);
    assert_eq!(lifecycle(site, 0).await, "in_service", "{told}");
    let jobs = site.api().get("/api/v1/jobs").await.unwrap();
    assert_eq!(jobs.body["jobs"].as_array().unwrap().len(), 1, "{told}");
}

/// Kills while that request of the controller is on its way to the BMC, before or after it is carried out.
async fn killed_at_request(phase: &str, path: &str, fault: Fault, after: u32) {
    let told = format!("killed in {phase} at {path} ({fault:?})");
    let mut site = site().await;
    let armed = site.machine(0).inject(Injection::always(fault).on("POST", path).after(after));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.api().wait_phase(&id, phase).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    site.kill().await;
    site.machine(0).remove_fault(armed);
    // The last controller's sessions are not put away: a BMC ends them by itself.
    site.machine(0).forget_sessions();
    site.start_again().await.unwrap();
    assert_done_once(&site, &id, &told).await;
    site.end().await;
}

/// Kills while the host is at that moment, lets the host go on into the void, and starts again.
async fn killed_at(moment: Moment, phase: &str) {
    let told = format!("killed in {phase} at {moment:?}");
    let mut site = site().await;
    site.stage(0).hold_at(moment);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.api().wait_phase(&id, phase).await.unwrap();
    site.kill().await;
    site.machine(0).forget_sessions();
    site.stage(0).go_on();
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.start_again().await.unwrap();
    assert_done_once(&site, &id, &told).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_acceptance_the_job_is_not_lost() {
    let mut site = site().await;
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.kill().await;
    site.machine(0).forget_sessions();
    site.start_again().await.unwrap();
    assert_done_once(&site, &id, "killed after 202").await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_probing_the_job_is_finished_once() {
    let mut site = site().await;
    let delay = Injection::always(Fault::Delay { ms: 20_000 }).on("GET", "/redfish/v1/Systems");
    let armed = site.machine(0).inject(delay);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.api().wait_phase(&id, "probing").await.unwrap();
    site.kill().await;
    site.machine(0).remove_fault(armed);
    site.machine(0).forget_sessions();
    site.start_again().await.unwrap();
    assert_done_once(&site, &id, "killed while probing").await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_first_medium_is_in_the_job_is_finished_once() {
    killed_at_request("mounting", INSERT, Fault::Delay { ms: 20_000 }, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_media_the_job_is_finished_once() {
    killed_at_request("mounting", INSERT_SECOND, Fault::Delay { ms: 20_000 }, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_machine_is_switched_on_the_job_is_finished_once() {
    killed_at_request("booting", RESET, Fault::Delay { ms: 20_000 }, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_machine_boots_the_job_is_finished_once() {
    killed_at(Moment::Booted, "booting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_host_asks_the_job_is_finished_once() {
    killed_at(Moment::Asking, "booting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_the_host_was_told_to_proceed_the_job_is_finished_once() {
    killed_at(Moment::Proceeding, "installing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_image_is_written_the_job_is_finished_once() {
    killed_at(Moment::Step("image-linux"), "installing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_success_is_reported_the_job_is_finished_once() {
    killed_at(Moment::Reporting, "installing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_a_medium_is_out_the_job_is_finished_once() {
    killed_at_request("cleaning_up", EJECT, Fault::Delay { ms: 20_000 }, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_failed_job_is_held_it_is_still_held_and_still_failed() {
    let mut site = site().await;
    site.stage(0).script(|script| script.fails_at = Some(("image-linux", 1)));
    let recipe = site.recipe_with("on_failure", json!("stay"));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    site.api().wait_phase(&id, "holding").await.unwrap();
    site.kill().await;
    site.machine(0).forget_sessions();
    site.start_again().await.unwrap();
    let job = site.api().wait_phase(&id, "holding").await.unwrap();
    assert_eq!((&job["status"], count(&job, "outcome.failed")), (&json!("failed"), 1));
    assert!(site.machine(0).image("Cd").is_some());
    site.api().post(&format!("/api/v1/jobs/{id}/release"), json!({})).await.unwrap();
    site.api().wait_complete(&id).await.unwrap();
    assert_tidy(&site, 0);
    site.end().await;
}

/// Not at a chosen point but at thirty arbitrary ones: whatever instant it is, the end is the same.
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_at_arbitrary_instants_the_job_is_finished_once() {
    let mut site = site().await;
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let mut kills = 0;
    for round in 0_u64..30 {
        // 5 to 105 ms, in an order without pattern, always the same: a fast host has done its job in half a second.
        tokio::time::sleep(Duration::from_millis(5 + (round * 37) % 100)).await;
        site.kill().await;
        kills += 1;
        site.machine(0).forget_sessions();
        site.start_again().await.unwrap();
        let job: Value = site.api().job(&id).await.unwrap();
        if job["complete"] == true {
            break;
        }
    }
    assert!(kills >= 3, "the job was too fast to be killed often: {kills}");
    assert_done_once(&site, &id, &format!("killed {kills} times")).await;
    site.end().await;
}

/// The number of boots shows that a restart does not restart the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_controller_does_not_restart_a_machine_that_works() {
    let mut site = site().await;
    site.stage(0).hold_at(Moment::Step("image-linux"));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.stop().await;
    site.start_again().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(site.machine(0).boots(), 1);
    site.stage(0).go_on();
    assert_done_once(&site, &id, "stopped in order").await;
    assert_eq!(site.machine(0).boots(), 2);
    site.end().await;
}
