//! What happens when all is well.

use std::time::Duration;

use controller::redfish::Waits;
use controller::server::Pace;
use e2e::sim::{Deed, Disk, Moment, Setup, Site, WITHIN};
use mock_redfish::{BootSource, Power};
use serde_json::json;

use super::support::{
    assert_no_session, assert_power, assert_tidy, codes, count, lifecycle, phases, site, site_with, start,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_ends_in_a_machine_in_service_that_boots_its_new_system() {
    let site = site().await;
    let pushed = site.push().await.unwrap();
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(phases(&job), ["staging", "probing", "mounting", "booting", "installing", "cleaning_up"]);
    assert_eq!((count(&job, "outcome.succeeded"), count(&job, "complete")), (1, 1));
    assert!((1..=12).contains(&count(&job, "bmc.fetched")), "{job:#}");
    assert_eq!(codes(&job).last(), Some(&"complete"));
    assert!(job["steps"].as_array().unwrap().iter().all(|step| step["status"] == "finished"), "{job:#}");
    assert_eq!(job["image"]["digest"], pushed.digest.as_str());

    site.stage(0).wait_deed(&Deed::NewSystem, e2e::sim::WITHIN).await.unwrap();
    let steps = ["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"];
    let mut expected = vec![Deed::Maintenance, Deed::Proceeds];
    for step in steps {
        if step == "partition" {
            expected.push(Deed::Wiped);
        }
        if step == "image-linux" {
            expected.push(Deed::Pulled(pushed.digest.clone()));
        }
        expected.push(Deed::Step(step.to_owned()));
    }
    expected.extend([Deed::Succeeded, Deed::PoweredOff, Deed::NewSystem]);
    assert_eq!(site.stage(0).deeds(), expected);
    assert_eq!(site.stage(0).disk(), Disk::Installed);

    assert_tidy(&site, 0);
    assert_no_session(&site, 0).await;
    assert_power(&site, 0, Power::On);
    assert_eq!(site.machine(0).last_source(), Some(BootSource::Order));
    assert_eq!(site.machine(0).boots(), 2);
    assert_eq!(lifecycle(&site, 0).await, "in_service");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_one_slot_gets_both_media_in_one() {
    let site = site_with(|machine| machine.quirks.single_slot = true).await;
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["status"], &job["transport"]), (&json!("succeeded"), &json!("composed")), "{job:#}");
    assert_eq!(site.stage(0).times(&Deed::Wiped), 1);
    assert_tidy(&site, 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transport_that_a_record_asks_for_installs_and_is_known_to_work_from_then_on() {
    let site = site().await;
    for (n, transport) in ["virtual-media", "composed", "http-boot"].into_iter().enumerate() {
        site.describe(0, |machine| machine["transport"] = json!(transport)).await.unwrap();
        site.machine(0).clear_requests();
        let body = json!({ "server_serial": site.serial(0), "recipe": site.recipe(), "reinstall": true });
        let id = site.api().submit_with(body).await.unwrap();
        let job = site.api().wait_complete(&id).await.unwrap();
        assert_eq!((&job["status"], &job["transport"]), (&json!("succeeded"), &json!(transport)), "{job:#}");
        assert_eq!((count(&job, "media.transport"), site.stage(0).times(&Deed::Wiped)), (1, n + 1));
        let inserts = site.machine(0).requests();
        let inserts = inserts.iter().filter(|request| request.path.ends_with("InsertMedia")).count();
        assert_eq!(inserts, 2 - n, "{transport}");
        assert_tidy(&site, 0);
        assert_eq!(site.machine(0).boot_override().http_boot_uri, "");
        assert_no_session(&site, 0).await;
    }
    let machine = site.api().machine(site.serial(0)).await.unwrap();
    for feature in ["second_slot", "composed", "http_boot"] {
        assert_eq!(machine["capability"][feature]["works"], true, "{feature}: {machine:#}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_that_asks_for_it_leaves_the_machine_off() {
    let site = site().await;
    let recipe = site.recipe_with("on_success", json!("power-off"));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_power(&site, 0, Power::Off);
    assert_eq!(site.machine(0).boots(), 1);
    assert_eq!(lifecycle(&site, 0).await, "in_service");
    site.end().await;
}

/// BMC requests, login included, from the submission to a machine that is on, with its media and its override seen after
/// the last of them was set: two more where the BMC was not met lately, such as by the probe of who added the machine.
const BUDGET: usize = 16;
const FIRST_BUDGET: usize = 18;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_probed_is_on_with_both_media_seen_after_sixteen_requests() {
    let site = unhurried().await;
    let probed =
        site.api().post(&format!("/api/v1/machines/{}/probe", site.serial(0)), json!({})).await.unwrap();
    assert_eq!(probed.status, 200, "{}", probed.text);
    counted(&site, BUDGET).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_was_never_met_costs_two_requests_more() {
    let site = unhurried().await;
    counted(&site, FIRST_BUDGET).await;
    site.end().await;
}

/// A site that looks at power so seldom that what a probe saw of it still counts when the job needs it, however busy this
/// host is.
async fn unhurried() -> Site {
    let setup = Setup::of(1);
    let waits = Waits { power_poll: Duration::from_secs(2), ..setup.pace.waits.clone() };
    start(Setup { pace: Pace { waits, ..setup.pace.clone() }, ..setup }).await
}

/// The requests so far, once the machine was seen on; which of them switched it on, and which saw it.
async fn powered_on(site: &Site) -> (Vec<String>, usize, usize) {
    loop {
        let requests = site.machine(0).requests();
        let lines: Vec<String> =
            requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
        let resets = lines.iter().filter(|line| line.ends_with("ComputerSystem.Reset")).count();
        assert_eq!(resets, 1, "it was off: {lines:#?}");
        let on = lines.iter().position(|line| line.ends_with("ComputerSystem.Reset")).unwrap();
        if let Some(after) = lines[on + 1..].iter().position(|line| line.starts_with("GET")) {
            return (lines, on, on + 1 + after);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn counted(site: &Site, budget: usize) {
    site.machine(0).clear_requests();
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let (lines, on, seen_on) = tokio::time::timeout(WITHIN, powered_on(site)).await.unwrap();
    for slot in ["Cd", "Usb"] {
        let read = format!("/VirtualMedia/{slot}");
        let insert = lines.iter().rposition(|line| line.contains(&format!("{read}/Actions"))).unwrap();
        let seen = lines[insert..on].iter().any(|line| line.starts_with("GET") && line.ends_with(&read));
        assert!(seen, "slot {slot} was not looked at after the insert: {lines:#?}");
    }
    assert_eq!(seen_on + 1, budget, "{lines:#?}");
    site.stage(0).go_on();
    site.api().wait_complete(&id).await.unwrap();
}
