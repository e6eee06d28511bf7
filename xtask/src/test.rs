//! `cargo xtask test`: everything a change must pass, in the order that says no soonest.

use anyhow::Result;

use crate::cache;
use crate::packages;
use crate::redfish_tools;
use crate::run::Run;
use crate::space;
use crate::stage::Stages;
use crate::tools;

/// What to leave out while working; CI leaves out nothing.
#[derive(clap::Args)]
pub struct Options {
    /// Skip the whole-machine tests.
    #[arg(long)]
    no_machine: bool,
}

/// Runs it all.
pub fn run(options: &Options) -> Result<()> {
    let mut stages = Stages::default();
    stages.run("packages", || {
        space::ensure(&cache::cargo_target(), space::TEST)?;
        packages::ensure(packages::EVERYTHING)?;
        tools::ensure()
    })?;
    stages.run("format", || Run::new("cargo").args(["fmt", "--all", "--check"]).loud())?;
    stages.run("lints", || {
        Run::new("cargo")
            .args([
                "clippy",
                "--locked",
                "--workspace",
                "--features",
                "e2e/machine,e2e/sushy",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])
            .loud()
    })?;
    stages.run("tests", || {
        // All of them, so that one run tells of every failure.
        Run::new("cargo").args(["test", "--locked", "--workspace", "--no-fail-fast", "--quiet"]).loud()
    })?;
    let redfish_tools = stages.run("Redfish programs", redfish_tools::ensure)?;
    stages.run("Redfish conformance", || {
        // The whole workspace, so that the features of what it shares, and so its builds, stay those of "tests".
        Run::new("cargo")
            .args(["test", "--locked", "--quiet", "--workspace"])
            .args(["--features", "redfish-models/models,redfish-models/validators,e2e/sushy"])
            .args(["--test", "models", "--test", "validators", "--test", "sushy"])
            .env("SLIPWAY_REDFISH_TOOLS", &redfish_tools)
            .loud()
    })?;
    if !options.no_machine {
        let built = stages.run("maintenance.iso", crate::maintenance::build)?;
        let os_image = stages.run("OS image", crate::os_image::build)?;
        stages.run("controller binary", || {
            Run::new("cargo").args(["build", "--locked", "--quiet", "-p", "controller"]).loud()
        })?;
        stages.run("whole-machine tests", || {
            Run::new("cargo")
                .args([
                    "test",
                    "--locked",
                    "--quiet",
                    "-p",
                    "e2e",
                    "--features",
                    "machine",
                    "--test",
                    "machine",
                ])
                .args(["--", "--test-threads=1", "--nocapture"])
                .env("SLIPWAY_BIN", cache::cargo_target().join("debug/slipway"))
                .env("SLIPWAY_MAINTENANCE_ISO", &built.iso)
                .env("SLIPWAY_NETBOOT", &built.netboot)
                .env("SLIPWAY_OS_IMAGE", &os_image)
                .loud()
        })?;
    }
    stages.print();
    Ok(())
}
