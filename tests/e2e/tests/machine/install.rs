//! A recipe POSTed, and a machine that boots its new Linux with no hand in between.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mock_redfish::Power;
use serde_json::{Value, json};

use crate::disk;
use crate::machine::{HTTP_BOOT_MEMORY_MIB, Metal};
use crate::site::{Made, Site};

/// An installation under TCG on two busy cores; seconds on hardware.
pub const INSTALLED_WITHIN: Duration = Duration::from_secs(30 * 60);
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
         ls /etc/motd /etc/slipway-layer 2>&1; \
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

/// What the installed system must have said between PROOF-BEGIN and PROOF-END. The login prompt of the same console may have
/// come in front of any of it.
pub fn check_proof(console: &str, hostname: &str) -> Result<()> {
    let prompt = format!("{hostname} login: ");
    let proof = console
        .rsplit_once("PROOF-BEGIN")
        .and_then(|(_, rest)| rest.split_once("PROOF-END"))
        .map(|(proof, _)| proof.replace('\r', "").replace(&prompt, ""))
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

/// What holds after every installation that succeeded.
pub async fn check_success(site: &Site, metal: &Metal, job: &str) -> Result<()> {
    let done = site.wait_job(job, "complete", INSTALLED_WITHIN, |job| job["complete"] == true).await?;
    ensure!(done["status"] == "succeeded", "the job did not succeed: {done:#}");
    for code in ["outcome.succeeded", "host.started"] {
        let count = site.events_with_code(job, code).await?;
        ensure!(count == 1, "{code} is {count} times in the timeline: {done:#}");
    }
    let machine = metal.machine();
    ensure!(
        machine.slots().iter().all(|slot| slot.image.is_none()),
        "media are still in: {:?}",
        machine.slots()
    );
    let known = site.get(&format!("/api/v1/machines/{}", metal.serial)).await?;
    ensure!(known["lifecycle"]["state"] == "in_service", "{known:#}");
    Ok(())
}

/// Waits for the greeting of a system that nobody but the controller switched on; what it says of itself.
pub async fn check_greeting(metal: &Metal, hostname: &str) -> Result<String> {
    let console = metal.wait_console("PROOF-END", LOGIN_WITHIN).await?;
    check_proof(&console, hostname)?;
    metal.wait_console(&format!("{hostname} login:"), LOGIN_WITHIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_recipe_ends_in_a_machine_that_boots_its_new_linux_though_its_disk_was_a_mess() -> Result<()>
{
    let site = Site::start(Made::find()?).await?;
    site.push_os_image("images/debian:trixie")?;
    let metal = Metal::enrolled(&site, "SLIP-E2E-1", disk::make_a_mess, |qemu, _| {
        qemu.memory_mib = HTTP_BOOT_MEMORY_MIB;
    })
    .await?;
    let pinned = site.digest("images/debian:trixie").await?;
    let job = site.submit(&metal.serial, &proving_recipe("slipway-e2e"), false).await?;
    // The tag moves away at once: what is installed is the digest that was pinned.
    site.move_tag_to_something_else("images/debian:trixie").await?;
    check_success(&site, &metal, &job).await?;
    ensure!(metal.machine().open_sessions() == 0, "the controller left sessions open");
    let done = site.get(&format!("/api/v1/jobs/{job}")).await?;
    ensure!(done["image"]["digest"] == pinned.as_str(), "not the digest that the tag meant: {done:#}");
    ensure!(done["transport"] == "virtual-media", "{done:#}");

    // The controller switched it on: nobody else touches it until it greets.
    check_greeting(&metal, "slipway-e2e").await?;
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

    // That disk, as an image of a whole disk, put back in its place, and this time the firmware itself fetches the
    // disc. Now the machine is in service.
    metal.off().await?;
    let image = metal.folder().join("golden.raw.zst");
    disk::compress(&metal.disk, &image)?;
    site.cli_ok(&["image", "push", image.to_str().context("text")?, "images/golden:1"])?;
    disk::make_a_mess(&metal.disk)?;
    let mut recipe = proving_recipe("slipway-again");
    recipe["oci_url"] = json!("images/golden:1");
    recipe["image_kind"] = json!("disk");
    recipe.as_object_mut().context("an object")?.remove("partition_layout");
    let refused = json!({ "server_serial": metal.serial, "recipe": recipe });
    let (status, answer) = site.post("/api/v1/jobs", &refused).await?;
    ensure!(status == 409 && answer["error"] == "machine.in_service", "{status} {answer}");
    metal.boots_over_http(&site).await?;
    let job = site.submit(&metal.serial, &recipe, true).await?;
    check_success(&site, &metal, &job).await?;
    let done = site.get(&format!("/api/v1/jobs/{job}")).await?;
    ensure!(done["transport"] == "http-boot", "{done:#}");
    metal.wait_console("slipway-again login:", LOGIN_WITHIN).await?;
    site.print_times(&job).await?;
    Ok(())
}
