//! The controller dies at any moment, and the job is done once all the same.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::disk;
use crate::install::{INSTALLED_WITHIN, check_greeting, check_success, proving_recipe};
use crate::layers;
use crate::machine::Metal;
use crate::site::{Made, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_image_is_installed_once_though_the_controller_is_killed_in_every_phase() -> Result<()> {
    let mut site = Site::start(Made::find()?).await?;
    let metal = Metal::enrolled(&site, "SLIP-E2E-4", disk::make_a_mess, |_, _| {}).await?;
    let layout = metal.folder().join("layout");
    layers::write(site.os_image(), &layout)?;
    site.cli_ok(&["image", "push", layout.to_str().context("text")?, "images/layered:1"])?;
    std::fs::remove_dir_all(&layout)?;
    metal.slow_bmc();
    let mut recipe = proving_recipe("slipway-kill");
    recipe["oci_url"] = json!("images/layered:1");
    let job = site.submit(&metal.serial, &recipe, false).await?;

    // At once, which is `staging` or what comes next …
    site.kill_and_restart().await?;
    // … and then in every phase, in `installing` also while the disk is being written.
    for phase in ["probing", "mounting", "booting", "installing"] {
        site.kill_in(&job, phase, INSTALLED_WITHIN).await?;
    }
    site.wait_step(&job, "image-linux", INSTALLED_WITHIN).await?;
    site.kill_and_restart().await?;
    site.kill_in(&job, "cleaning_up", INSTALLED_WITHIN).await?;

    check_success(&site, &metal, &job).await?;
    // Who is killed cannot log out: its session ends at the BMC by itself. All others are closed.
    let (left, kills) = (metal.machine().open_sessions(), site.kills());
    ensure!(left <= kills, "{left} sessions are open after {kills} kills");
    let console = check_greeting(&metal, "slipway-kill").await?;
    let said = |text: &str| console.lines().any(|line| line.trim() == text);
    ensure!(said(layers::ADDED), "the second layer's file is not there: {console}");
    ensure!(!said(layers::GONE), "the second layer took {} away, and it is there: {console}", layers::GONE);
    site.print_times(&job).await
}
