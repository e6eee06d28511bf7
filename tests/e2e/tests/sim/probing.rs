//! Whether a BMC can boot a job, asked before any job.

use e2e::sim::{Moment, Site, WITHIN};
use mock_redfish::{Fault, Injection};
use serde_json::{Value, json};

use super::support::{assert_no_session, assert_tidy, site, site_with};

async fn probed(site: &Site, media: bool) -> Value {
    let query = if media { "?media=true" } else { "" };
    let path = format!("/api/v1/machines/{}/probe{query}", site.serial(0));
    let answer = site.api().post(&path, json!({})).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

fn check<'a>(fitness: &'a Value, name: &str) -> &'a Value {
    let found = fitness["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_only_reads_and_leaves_nothing() {
    let site = site().await;
    site.machine(0).clear_requests();
    let fitness = probed(&site, false).await;
    assert_eq!(fitness["bootable"], true, "{fitness:#}");
    assert!(check(&fitness, "fetch").is_null());
    let requests = site.machine(0).requests();
    let changes =
        |line: &&mock_redfish::RequestRecord| line.method != "GET" && !line.path.contains("/Sessions");
    assert!(requests.iter().find(changes).is_none(), "{requests:#?}");
    assert_no_session(&site, 0).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_disc_tells_whether_the_bmc_really_fetches_and_is_taken_out_again() {
    // One whose emulated drive reads the image, one that takes any URL unseen, one that refuses.
    let reads = site().await;
    let fitness = probed(&reads, true).await;
    let fetch = check(&fitness, "fetch");
    assert_eq!((&fetch["verdict"], &fitness["bootable"]), (&json!("yes"), &json!(true)), "{fitness:#}");
    assert!(fetch["seen"].as_str().unwrap().contains("of a trial disc"), "{fetch}");

    let blind = site_with(|machine| machine.quirks.blind_insert = true).await;
    let fitness = probed(&blind, true).await;
    assert_eq!(check(&fitness, "fetch")["verdict"], "warn", "{fitness:#}");
    assert_eq!(fitness["bootable"], true);

    let refuses = site().await;
    let refusal = Fault::message(403, "LicenseKeyRequired");
    refuses.machine(0).inject(Injection::always(refusal).on("POST", "/redfish/v1/Managers/1/VirtualMedia"));
    let fitness = probed(&refuses, true).await;
    let fetch = check(&fitness, "fetch");
    assert_eq!((&fetch["verdict"], &fitness["bootable"]), (&json!("no"), &json!(false)), "{fitness:#}");
    assert!(fetch["seen"].as_str().unwrap().contains("licence"), "{fetch}");
    for site in [reads, blind, refuses] {
        assert_tidy(&site, 0);
        assert_no_session(&site, 0).await;
        site.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trial_disc_goes_into_a_machine_that_a_job_has() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let path = format!("/api/v1/machines/{}/probe?media=true", site.serial(0));
    let refused = site.api().post(&path, json!({})).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "conflict.active_job"), "{}", refused.text);
    site.stage(0).go_on();
    site.api().wait_complete(&id).await.unwrap();
    site.end().await;
}
