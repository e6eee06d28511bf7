//! Every phase has a deadline; passing it ends the job with what was awaited. (Booting, mounting and probing are
//! passed by BMCs that misbehave, in misbehaving.rs; here is the rest.)

use std::time::Duration;

use e2e::sim::{Deed, Moment, WITHIN};
use mock_redfish::Power;
use serde_json::json;

use super::support::{assert_power, assert_tidy, lifecycle, site};

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_takes_too_long_ends_with_its_machine_off_and_quarantined() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Step("image-linux"));
    let recipe = site.recipe_with("timeouts", json!({ "installing": "2s" }));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(
        (&job["status"], &job["reason_code"]),
        (&json!("failed"), &json!("timeout.installing")),
        "{job:#}"
    );
    assert_eq!(site.stage(0).deeds().last(), Some(&Deed::PoweredOff), "the host was told to power off");
    assert_tidy(&site, 0);
    assert_power(&site, 0, Power::Off);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_asks_too_late_is_refused_and_nothing_is_wiped() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Asking);
    let recipe = site.recipe_with("timeouts", json!({ "booting": "2s" }));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["reason_code"], "timeout.booting", "{job:#}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("has read") && reason.contains("not asked to go on"), "{reason}");
    assert_eq!(site.stage(0).times(&Deed::Wiped), 0);
    assert_eq!(lifecycle(&site, 0).await, "free");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_job_may_have_a_deadline_of_its_own() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Step("image-linux"));
    let recipe = site.recipe_with("timeouts", json!({ "job": "2s" }));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert!(job["reason_code"].as_str().unwrap().starts_with("timeout."), "{job:#}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_own_deadline_holds_where_the_recipe_says_nothing() {
    let site = site().await;
    site.describe(0, |machine| machine["deadlines"] = json!({ "booting": 1 })).await.unwrap();
    site.stage(0).hold_at(Moment::Booted);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["reason_code"], "timeout.booting", "{job:#}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("1 s") && reason.contains("the machine is on"), "{reason}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_counts_on_while_the_controller_is_dead() {
    let mut site = site().await;
    site.stage(0).hold_at(Moment::Booted);
    let recipe = site.recipe_with("timeouts", json!({ "booting": "2s" }));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.kill().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    site.machine(0).forget_sessions();
    site.start_again().await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["reason_code"], "timeout.booting", "{job:#}");
    assert_tidy(&site, 0);
    site.end().await;
}
