//! Slots that somebody else's image is in.

use e2e::sim::{PASSWORD, Site};
use mock_redfish::Power;
use serde_json::json;

use super::support::{assert_no_session, assert_power, assert_tidy, site_with};

const RESCUE: &str = "http://127.0.0.1:9/rescue.iso";

/// Somebody puts a rescue image in by hand.
async fn occupy(site: &Site, slot: &str) {
    let url = format!(
        "{}/redfish/v1/Managers/1/VirtualMedia/{slot}/Actions/VirtualMedia.InsertMedia",
        site.machine(0).base_url()
    );
    let request = reqwest::Client::new().post(url).basic_auth("admin", Some(PASSWORD));
    let answer = request.json(&json!({"Image": RESCUE})).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

fn images(site: &Site) -> Vec<Option<String>> {
    site.machine(0).slots().into_iter().map(|slot| slot.image).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_image_is_left_in_its_slot_unless_it_may_be_evicted() {
    let site =
        site_with(|machine| (machine.quirks.single_slot, machine.quirks.blind_insert) = (true, true)).await;
    occupy(&site, "Cd").await;
    let recipe = site.recipe_with("on_success", json!("power-off"));
    let id = site.api().submit(site.serial(0), recipe.clone()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["reason_code"]), (&json!("failed"), &json!("slot.occupied")), "{job:#}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains(RESCUE) && reason.contains("evict"), "{reason}");
    assert_eq!(images(&site), [Some(RESCUE.to_owned())]);
    assert_eq!(site.machine(0).boots(), 0);

    let plan = json!({ "server_serial": site.serial(0), "recipe": recipe });
    let planned = site.api().post("/api/v1/jobs?dry_run=true", plan).await.unwrap();
    assert!(planned.body["problems"][0].as_str().unwrap().contains(RESCUE), "{}", planned.text);

    let body = json!({ "server_serial": site.serial(0), "recipe": recipe, "evict": true });
    let id = site.api().submit_with(body).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_tidy(&site, 0);
    assert_no_session(&site, 0).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_second_slot_is_taken_puts_both_media_into_the_first() {
    let site = site_with(|machine| machine.quirks.blind_insert = true).await;
    occupy(&site, "Usb").await;
    let recipe = site.recipe_with("on_success", json!("power-off"));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(images(&site), [None, Some(RESCUE.to_owned())]);
    assert_power(&site, 0, Power::Off);
    site.end().await;
}
