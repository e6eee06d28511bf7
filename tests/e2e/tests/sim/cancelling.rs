//! Cancel, retry and release, whatever the job is doing.

use std::time::Duration;

use e2e::sim::{Deed, Disk, Moment, Site, WITHIN};
use mock_redfish::{Fault, Injection, Power};
use serde_json::json;

use super::support::{assert_no_session, assert_power, assert_tidy, count, lifecycle, site};

/// Long enough that the job stays where the test wants it, short enough that a broken test ends.
const HELD: u64 = 20_000;

/// How a job is kept in a phase.
fn hold(site: &Site, phase: &str) {
    let delayed = |method: &str, path: &str| {
        let fault = Injection::always(Fault::Delay { ms: HELD }).on(method, path);
        site.machine(0).inject(fault);
    };
    match phase {
        "probing" => delayed("GET", "/redfish/v1/Systems"),
        "mounting" => {
            delayed("POST", "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia");
        }
        "booting" => site.stage(0).hold_at(Moment::Asking),
        _ => site.stage(0).hold_at(Moment::Step("image-linux")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_in_any_phase_and_leaves_the_machine_as_it_may_be() {
    for (phase, lifecycle_after) in
        [("probing", "free"), ("mounting", "free"), ("booting", "free"), ("installing", "quarantined")]
    {
        let site = site().await;
        hold(&site, phase);
        let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
        site.api().wait_phase(&id, phase).await.unwrap();
        if matches!(phase, "booting" | "installing") {
            site.stage(0).reached(WITHIN).await.unwrap();
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await; // into the request that is held
        }
        let cancelled = site.api().cancel(&id).await.unwrap();
        assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("cancelled")), "{phase}");
        site.machine(0).clear_faults();
        let job = site.api().wait_complete(&id).await.unwrap();
        assert_eq!(
            (&job["status"], &job["cancelled_by"]),
            (&json!("cancelled"), &json!("first admin")),
            "{phase}"
        );
        assert_eq!((count(&job, "intent.cancel"), count(&job, "outcome.cancelled")), (1, 1), "{phase}");
        assert_eq!(lifecycle(&site, 0).await, lifecycle_after, "{phase}");
        assert_tidy(&site, 0);
        assert_no_session(&site, 0).await;
        assert_power(&site, 0, Power::Off);
        let wiped = usize::from(phase == "installing");
        assert_eq!(site.stage(0).times(&Deed::Wiped), wiped, "{phase}");

        let again = site.api().cancel(&id).await.unwrap();
        assert_eq!((again.status, &again.body["status"]), (200, &json!("cancelled")), "{phase}: asked again");
        site.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_machine_that_was_on_is_on_again_when_nothing_was_written() {
    let site = site().await;
    site.machine(0).power_on().await.unwrap();
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.api().cancel(&id).await.unwrap();
    site.api().wait_complete(&id).await.unwrap();
    assert_power(&site, 0, Power::On);
    assert_eq!(site.stage(0).deeds().last(), Some(&Deed::OldSystem));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_outcome_changes_nothing() {
    let site = site().await;
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.api().wait_complete(&id).await.unwrap();
    let answer = site.api().cancel(&id).await.unwrap();
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("succeeded")));
    assert_eq!(lifecycle(&site, 0).await, "in_service");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_repeated_as_a_new_one_once_its_machine_is_released() {
    let site = site().await;
    site.stage(0).script(|script| script.fails_at = Some(("image-linux", 1)));
    let first = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.api().wait_complete(&first).await.unwrap();
    let retry = format!("/api/v1/jobs/{first}/retry");
    let refused = site.api().post(&retry, json!({})).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "machine.quarantined"), "{}", refused.text);

    let path = format!("/api/v1/machines/{}/release", site.serial(0));
    let released = site.api().post(&path, json!({})).await.unwrap();
    assert_eq!((released.status, &released.body["lifecycle"]["state"]), (200, &json!("free")));
    site.stage(0).script(|script| script.fails_at = None);
    let accepted = site.api().post(&retry, json!({})).await.unwrap();
    assert_eq!((accepted.status, &accepted.body["retry_of"]), (202, &json!(first)), "{}", accepted.text);
    let second = accepted.body["job_id"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    let again = site.api().post(&retry, json!({})).await.unwrap();
    assert_eq!((again.status, &again.body["job_id"]), (200, &json!(second)), "asked again");
    let job = site.api().wait_complete(&second).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(site.stage(0).disk(), Disk::Installed);
    assert_eq!(site.api().job(&first).await.unwrap()["status"], "failed", "its outcome was changed");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_bmc_died_is_freed_by_force_and_quarantined() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Step("image-linux"));
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.machine(0).inject(Injection::always(Fault::Reset));
    let early = site.api().post(&format!("/api/v1/jobs/{id}/release"), json!({})).await.unwrap();
    assert_eq!((early.status, early.code()), (409, "job.not_over"), "{}", early.text);
    let forced = site.api().post(&format!("/api/v1/jobs/{id}/release?force=true"), json!({})).await.unwrap();
    assert_eq!((forced.status, &forced.body["complete"]), (200, &json!(true)), "{}", forced.text);
    assert_eq!(lifecycle(&site, 0).await, "quarantined");
    site.end().await;
}
