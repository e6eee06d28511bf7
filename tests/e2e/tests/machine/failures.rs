//! What fails, fails before anything is lost, says which unit it was, and leaves a machine that nobody mistakes for
//! a good one. And nothing is wiped twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mock_redfish::Power;
use mock_redfish::backend::qemu::Network;
use serde_json::{Value, json};

use crate::disk;
use crate::install::proving_recipe;
use crate::machine::Metal;
use crate::site::{Made, Site};

/// From POST to an end that is not a success, under TCG on two busy cores.
const ENDED_WITHIN: Duration = Duration::from_secs(20 * 60);
const PREFLIGHT: &str = "preflight.service";

async fn ended(site: &Site, job: &str) -> Result<Value> {
    site.wait_job(job, "complete", ENDED_WITHIN, |job| job["complete"] == true).await
}

fn nothing_left_behind(metal: &Metal) -> Result<()> {
    let machine = metal.machine();
    ensure!(machine.power() == Power::Off, "the machine is still on");
    ensure!(
        machine.slots().iter().all(|slot| slot.image.is_none()),
        "media are still in: {:?}",
        machine.slots()
    );
    ensure!(machine.open_sessions() == 0, "{} sessions are still open", machine.open_sessions());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_layer_stops_before_the_disk_a_corrupt_one_leaves_it_unbootable_and_no_boot_wipes_twice()
-> Result<()> {
    let site = Site::start(Made::find()?).await?;
    // Its BMC has one slot: the job's medium is laid over the maintenance disc.
    let metal =
        Metal::enrolled(&site, "SLIP-E2E-2", disk::make_a_mess, |_, quirks| quirks.single_slot = true)
            .await?;
    let before = disk::digest(&metal.disk)?;

    // A layer that is gone when the host looks: preflight, and not one byte of the disk is touched.
    site.push_os_image("images/debian:trixie")?;
    let job = site.submit(&metal.serial, &proving_recipe("never"), false).await?;
    let layer = site.layer_file("images/debian:trixie").await?;
    let aside = layer.with_extension("aside");
    std::fs::rename(&layer, &aside).with_context(|| format!("moving {} away", layer.display()))?;
    let done = ended(&site, &job).await?;
    ensure!(done["status"] == "failed" && done["failed_step"] == PREFLIGHT, "{done:#}");
    ensure!(done["transport"] == "composed", "{done:#}");
    ensure!(site.events_with_code(&job, "outcome.failed").await? == 1, "not exactly one failure: {done:#}");
    nothing_left_behind(&metal)?;
    ensure!(disk::digest(&metal.disk)? == before, "preflight failed, but the disk was written to");
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "free", "{known:#}");

    // A layer that lies: found while imaging, and what is on the disk then does not boot.
    std::fs::rename(&aside, &layer)?;
    disk::flip_a_byte(&layer)?;
    let job = site.submit(&metal.serial, &proving_recipe("never"), false).await?;
    let done = ended(&site, &job).await?;
    ensure!(done["status"] == "failed" && done["failed_step"] == "image-linux.service", "{done:#}");
    ensure!(site.events_with_code(&job, "outcome.failed").await? == 1, "not exactly one failure: {done:#}");
    nothing_left_behind(&metal)?;
    ensure!(!disk::looks_bootable(&metal.disk), "a disk with a corrupt image must not look bootable");
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "quarantined", "{known:#}");
    disk::flip_a_byte(&layer)?;

    // Power lost half way, media still in: the maintenance OS boots again, asks, is refused, and touches nothing.
    let (status, answer) =
        site.post(&format!("/api/v1/machines/{}/release", metal.serial), &json!({})).await?;
    ensure!(status == 200, "releasing the machine: {status} {answer}");
    let job = site.submit(&metal.serial, &proving_recipe("never"), false).await?;
    site.wait_step(&job, "image-linux", ENDED_WITHIN).await?;
    metal.off().await?;
    let interrupted = disk::digest(&metal.disk)?;
    metal.boots_to_login("not allowed to proceed", ENDED_WITHIN).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (status, answer) = site.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await?;
    ensure!(status == 200, "cancelling: {status} {answer}");
    let done = ended(&site, &job).await?;
    ensure!(done["status"] == "cancelled", "{done:#}");
    nothing_left_behind(&metal)?;
    ensure!(disk::digest(&metal.disk)? == interrupted, "the second boot wrote to the disk");
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "quarantined", "{known:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machines_medium_is_refused_under_secure_boot_and_without_dhcp() -> Result<()> {
    let site = Site::start(Made::find()?).await?;
    site.push_os_image("images/debian:trixie")?;
    // The BMC says one serial and the board another, as after a board swap: only the host can notice.
    let metal = Metal::enrolled(&site, "SLIP-E2E-3", disk::make_a_mess, |qemu, _| {
        qemu.secure_boot = true;
        qemu.network = Network::NoDhcp;
        qemu.extra_args = vec!["-smbios".into(), "type=1,serial=SOME-OTHER-BOARD".into()];
    })
    .await?;
    let before = disk::digest(&metal.disk)?;
    let mut recipe = proving_recipe("never");
    recipe["host_network"] = json!({
        "links": [{ "mac": metal.machine().config().macs[0], "addresses": ["10.0.2.15/24"], "gateway": "10.0.2.2" }]
    });
    let job = site.submit(&metal.serial, &recipe, false).await?;
    let done = ended(&site, &job).await?;
    ensure!(done["status"] == "failed" && done["failed_step"] == "slipway-dispatcher.service", "{done:#}");
    ensure!(done["reason"].as_str().is_some_and(|reason| reason.contains("SOME-OTHER-BOARD")), "{done:#}");
    nothing_left_behind(&metal)?;
    ensure!(disk::digest(&metal.disk)? == before, "a machine that was refused was written to");
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "free", "{known:#}");
    Ok(())
}
