//! `cargo xtask test`: everything a change must pass, in the order that says no soonest.

use anyhow::Result;

use crate::packages;
use crate::run::Run;
use crate::stage::Stages;

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
    stages.run("packages", || packages::ensure(packages::EVERYTHING))?;
    stages.run("format", || Run::new("cargo").args(["fmt", "--all", "--check"]).loud())?;
    stages.run("lints", || {
        Run::new("cargo")
            .args(["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
            .loud()
    })?;
    stages.run("tests", || Run::new("cargo").args(["test", "--locked", "--workspace", "--quiet"]).loud())?;
    if !options.no_machine {
        stages.run("maintenance.iso", || crate::maintenance::build().map(|_| ()))?;
    }
    stages.print();
    Ok(())
}
