//! A recipe POSTed, and a machine that boots its new Linux with no hand in between.

use std::time::Duration;

use anyhow::{Result, ensure};
use mock_redfish::Power;
use serde_json::{Value, json};

use crate::disk;
use crate::machine::Metal;
use crate::site::{Made, Site};

/// An installation under TCG on two busy cores; seconds on hardware.
const INSTALLED_WITHIN: Duration = Duration::from_secs(30 * 60);
/// From power-on to a login prompt, the same way.
const LOGIN_WITHIN: Duration = Duration::from_secs(10 * 60);
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f proof@slipway";

/// A recipe whose installed system says on its serial console what it is.
pub fn proving_recipe(hostname: &str) -> Value {
    let user_data = format!(
        "#cloud-config\nhostname: {hostname}\nssh_authorized_keys:\n  - {KEY}\nwrite_files:\n  \
         - path: /etc/slipway-proof\n    content: written by user-data of {hostname}\nruncmd:\n  \
         - [sh, -c, '{{ echo PROOF-BEGIN; hostname; cat /home/debian/.ssh/authorized_keys; cat /etc/slipway-proof; echo; \
         cat /etc/fstab; echo ROOT $(findmnt -no UUID /); echo SOURCE $(findmnt -no SOURCE /); echo PROOF-END; }} > /dev/ttyS0']\n"
    );
    json!({
        "task_target": "install-linux.target",
        "target_disk": { "min_size": "4G" },
        "oci_url": "images/debian:trixie",
        "partition_layout": [
            { "size": "256M", "type_guid": "ef00", "format": "vfat", "label": "EFI", "mountpoint": "/boot/efi" },
            { "size": "256M", "type_guid": "8200", "format": "swap", "label": "swap" },
            { "size": "rest", "type_guid": "8304", "format": "ext4", "label": "root", "mountpoint": "/" }
        ],
        "user_data": user_data,
        "timeouts": { "booting": "30m", "image-linux": "60m", "job": "3h" }
    })
}

/// What the installed system must have said between PROOF-BEGIN and PROOF-END.
pub fn check_proof(console: &str, hostname: &str) -> Result<()> {
    let proof = console
        .rsplit_once("PROOF-BEGIN")
        .and_then(|(_, rest)| rest.split_once("PROOF-END"))
        .map(|(proof, _)| proof.replace('\r', ""))
        .unwrap_or_default();
    let has = |line: &str| proof.lines().any(|said| said.trim() == line);
    ensure!(has(hostname), "the hostname is not {hostname}: {proof}");
    ensure!(has(KEY), "the authorized key is not there: {proof}");
    ensure!(
        has(&format!("written by user-data of {hostname}")),
        "the file of user-data is not there: {proof}"
    );
    let root = proof.lines().find_map(|line| line.strip_prefix("ROOT ")).unwrap_or_default().trim();
    ensure!(!root.is_empty(), "the root has no UUID: {proof}");
    ensure!(
        proof.lines().any(|line| line.starts_with(&format!("UUID={root}")) && line.contains(" / ")),
        "fstab does not mount / by its UUID {root}: {proof}"
    );
    let by_uuid = proof
        .lines()
        .filter(|line| {
            !line.starts_with('#')
                && [" / ", " /boot/efi ", " swap "].iter().any(|mount| line.contains(mount))
        })
        .all(|line| line.starts_with("UUID="));
    ensure!(by_uuid, "an entry of fstab is not by UUID: {proof}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_recipe_ends_in_a_machine_that_boots_its_new_linux_though_its_disk_was_a_mess() -> Result<()>
{
    let site = Site::start(Made::find()?).await?;
    site.push_os_image("images/debian:trixie")?;
    let metal = Metal::enrolled(&site, "SLIP-E2E-1", disk::make_a_mess, |_| {}).await?;
    let image = site.get("/v2/images/debian/manifests/trixie").await?;
    let job = site.submit(&metal.serial, &proving_recipe("slipway-e2e"), false).await?;
    // The tag moves away at once: what is installed is the digest that was pinned.
    site.move_tag_to_something_else("images/debian:trixie").await?;
    let done = site.wait_job(&job, "complete", INSTALLED_WITHIN, |job| job["complete"] == true).await?;
    ensure!(done["status"] == "succeeded", "the job did not succeed: {done:#}");
    ensure!(done["image"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{done:#}");
    ensure!(image["layers"].is_array(), "{image:#}");
    ensure!(
        site.events_with_code(&job, "outcome.succeeded").await? == 1,
        "not exactly one outcome: {done:#}"
    );
    ensure!(
        site.events_with_code(&job, "host.started").await? == 1,
        "the host was told to proceed more than once"
    );
    let machine = metal.machine();
    ensure!(
        machine.slots().iter().all(|slot| slot.image.is_none()),
        "media are still in: {:?}",
        machine.slots()
    );
    ensure!(machine.open_sessions() == 0, "the controller left {} sessions open", machine.open_sessions());
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "in_service", "{known:#}");

    // The controller switched it on: nobody else touches it until it greets.
    let console = metal.wait_console("PROOF-END", LOGIN_WITHIN).await?;
    check_proof(&console, "slipway-e2e")?;
    metal.wait_console("slipway-e2e login:", LOGIN_WITHIN).await?;
    site.print_times(&job).await?;

    // By the entry in NVRAM alone …
    metal.off().await?;
    let kept = metal.folder().join("BOOTX64.EFI");
    disk::take_removable_path(&metal.disk, &kept)?;
    metal.boots_to_login("slipway-e2e login:", LOGIN_WITHIN).await?;
    // … and by the removable path alone.
    metal.off().await?;
    disk::put_removable_path(&metal.disk, &kept)?;
    metal.machine().wipe_nvram().await?;
    metal.boots_to_login("slipway-e2e login:", LOGIN_WITHIN).await?;
    ensure!(metal.machine().power() == Power::On, "the machine runs its new system");
    Ok(())
}
