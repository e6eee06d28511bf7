//! The whole way on a BMC that we did not write: sushy-tools' emulator, as it comes from PyPI. `cargo xtask test`
//! installs it.
#![allow(clippy::unwrap_used)] // the helpers of tests, too

use std::path::PathBuf;
use std::time::Duration;

use controller::redfish::Waits;
use e2e::sim::{PASSWORD, Setup, Site};
use e2e::sushy::{Emulator, REST_TARGET};
use serde_json::{Value, json};

/// Folder of the programs, as `cargo xtask test` sets it.
const TOOLS: &str = "SLIPWAY_REDFISH_TOOLS";

async fn site() -> (Site, Emulator) {
    let Some(tools) = std::env::var_os(TOOLS).map(PathBuf::from) else {
        panic!(
            "{TOOLS} is not set: `cargo xtask test` installs sushy-tools from tests/redfish-models/requirements.txt \
             with python3-venv and sets it to their folder"
        )
    };
    let mut setup = Setup::with(vec![]);
    // Power takes it up to 11 seconds.
    setup.pace.waits = Waits {
        power_total: Duration::from_secs(60),
        power_poll: Duration::from_millis(500),
        media_total: Duration::from_secs(30),
        read: Duration::from_secs(30),
        ..Waits::fast()
    };
    let site = setup.start().await.unwrap();
    site.push().await.unwrap();
    let folder = site.folder().join("sushy");
    let emulator = Emulator::start(&tools, &folder, 2).unwrap();
    (site, emulator)
}

/// The check that says no, and its code.
fn no(fitness: &Value) -> (&str, &str) {
    let checks = fitness["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["verdict"] == "no").unwrap();
    (check["name"].as_str().unwrap(), check["code"].as_str().unwrap())
}

async fn slot(emulator: &Emulator, n: usize, slot: &str) -> (bool, String) {
    let found = emulator.read(&emulator.path(n, &format!("/VirtualMedia/{slot}"))).await.unwrap();
    (found["Inserted"].as_bool().unwrap(), found["Image"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_up_to_power_on_with_both_media_in_and_leaves_nothing_behind() {
    let (site, emulator) = site().await;
    site.add(emulator.description(1)).await.unwrap();
    let serial = emulator.serial(1);

    let probe = site.api().post(&format!("/api/v1/machines/{serial}/probe"), json!({})).await.unwrap();
    assert_eq!(probe.status, 200, "{}", probe.text);
    assert_eq!(probe.body["bootable"], true, "{}", probe.text);
    let probe = &probe.body["bmc"];
    assert_eq!(probe["family"], "sushy-tools emulator");
    assert_eq!((&probe["vendor"], &probe["power"]), (&json!("Sushy Emulator"), &json!("off")), "{probe:#}");
    assert_eq!(probe["uuid"], emulator.description(1)["uuid"], "the second of two systems: {probe:#}");
    assert_eq!(probe["slots"].as_array().unwrap().len(), 2, "{probe:#}");

    let job = site.api().submit(&serial, site.recipe()).await.unwrap();
    let on = |job: &Value| {
        let timeline = job["timeline"].as_array().unwrap();
        timeline
            .iter()
            .any(|event| event["text"].as_str().unwrap_or_default().contains("shows PowerState On"))
    };
    site.api().wait(&job, "powered on", on).await.unwrap();
    let shown = emulator.read(&emulator.path(1, "")).await.unwrap();
    assert_eq!(
        (&shown["PowerState"], &shown["Boot"]["BootSourceOverrideTarget"]),
        (&json!("On"), &json!("Cd"))
    );
    for (name, file) in [("Cd", "/maintenance.iso"), ("Floppy", "/task.img")] {
        let (inserted, image) = slot(&emulator, 1, name).await;
        assert!(inserted && image.ends_with(file), "{name}: {image}");
    }
    let other = emulator.read(&emulator.path(0, "")).await.unwrap();
    assert_eq!(other["PowerState"], "Off", "the other system was touched");

    // No host will ever ask: that is as far as a machine without hardware goes.
    site.api().cancel(&job).await.unwrap();
    let job = site.api().wait_complete(&job).await.unwrap();
    assert_eq!(job["status"], "cancelled", "{job:#}");
    for name in ["Cd", "Floppy"] {
        assert_eq!(slot(&emulator, 1, name).await, (false, String::new()), "{name}");
    }
    let shown = emulator.read(&emulator.path(1, "")).await.unwrap();
    let (power, target) = (&shown["PowerState"], &shown["Boot"]["BootSourceOverrideTarget"]);
    assert_eq!((power, target), (&json!("Off"), &json!(REST_TARGET)));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_after_one_try_and_never_shown() {
    let (site, emulator) = site().await;
    let mut description = emulator.description(0);
    description["bmc"]["password"] = json!("wr0ng-but-Secret-all-the-same");
    site.add(description).await.unwrap();
    let path = format!("/api/v1/machines/{}/probe", emulator.serial(0));
    let probe = site.api().post(&path, json!({})).await.unwrap();
    assert_eq!(no(&probe.body), ("credentials", "bmc.credentials"), "{}", probe.text);
    assert!(!probe.text.contains("wr0ng") && !probe.text.contains(PASSWORD));
    let asked = emulator.requests().unwrap();
    let guarded = asked.iter().filter(|request| request.contains("/redfish/v1/Systems")).count();
    assert_eq!(guarded, 1, "{asked:#?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_systems_behind_one_bmc_have_to_be_told_apart() {
    let (site, emulator) = site().await;
    let mut description = emulator.description(0);
    description["bmc"].as_object_mut().unwrap().remove("system");
    site.add(description).await.unwrap();
    let path = format!("/api/v1/machines/{}/probe", emulator.serial(0));
    let probe = site.api().post(&path, json!({})).await.unwrap();
    assert_eq!(no(&probe.body), ("system", "bmc.missing"), "{}", probe.text);
    site.end().await;
}
