//! The command line: which step, in which folder, and whether to do it or only show it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use schema::recipe::ImageKind;

use crate::bootloader::{self, Installed};
use crate::handoff::Handoff;
use crate::hardware::Hardware;
use crate::plan::Plan;
use crate::runner::{ProcessRunner, Runner};
use crate::target::{self, TARGET};
use crate::{config_drive, image, lsblk, partition, preflight};

/// Runs one step of an installation on this machine.
#[derive(Debug, Parser)]
#[command(name = "slipway-tools", version, about)]
pub struct Args {
    /// The hand-off folder.
    #[arg(long, global = true, value_name = "DIR", default_value = schema::event::PROVISION_DIR)]
    pub provision: PathBuf,
    /// Print what would be done as a shell transcript, and do nothing.
    #[arg(long, global = true)]
    pub plan: bool,
    /// The step.
    #[command(subcommand)]
    pub step: Step,
}

/// A step, named as its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Step {
    /// Prove that the install can succeed, before anything is erased
    Preflight,
    /// Clear the chosen disk and make partitions and filesystems
    Partition,
    /// Write the operating system image
    ImageLinux,
    /// Make the disk bootable
    BootloaderLinux,
    /// Write the cloud-init config drive
    ConfigDrive,
}

/// Runs the step.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let handoff = Handoff::read(&args.provision)?;
    let runner = &mut ProcessRunner;
    if matches!(args.step, Step::ImageLinux | Step::BootloaderLinux | Step::ConfigDrive) {
        target::own_namespace()?;
    }
    if args.plan {
        let text = transcript(args.step, &handoff, runner)?;
        return std::io::stdout().write_all(text.as_bytes()).context("printing the plan");
    }
    let hardware = || Hardware::read(Path::new("/"));
    match args.step {
        Step::Preflight => preflight::run(&handoff, runner, &hardware())?,
        Step::Partition => partition::run(&handoff, runner)?,
        Step::ImageLinux => image::run(&handoff, runner)?,
        Step::BootloaderLinux => bootloader::run(&handoff, runner, hardware().firmware)?,
        Step::ConfigDrive => config_drive::run(&handoff, runner)?,
    }
    Ok(())
}

/// What the step would do. Reads the machine; the boot loader's plan mounts the target to look at it.
fn transcript(step: Step, handoff: &Handoff, runner: &mut dyn Runner) -> anyhow::Result<String> {
    let hardware = Hardware::read(Path::new("/"));
    Ok(match step {
        Step::Preflight => preflight::plan(handoff, lsblk::disks(runner)?, &hardware)?.transcript(handoff),
        Step::Partition => partition::prepare(handoff, runner)?.2.transcript(),
        Step::ImageLinux => {
            let (disk, table) = image::confirmed(handoff, runner)?;
            image::plan(handoff, &disk, &table)?.transcript()
        }
        Step::BootloaderLinux => {
            let (disk, table) = image::confirmed(handoff, runner)?;
            if handoff.image()?.kind == ImageKind::Disk {
                return Ok("# the image is a whole disk and brings its own boot loader\n".to_owned());
            }
            let mounts = target::mount_all(&disk, &table);
            let mounted = runner.run_actions(&mounts);
            let esp = target::esp(&table).map_or(target::ESP_DEFAULT, target::esp_mountpoint);
            let installed = mounted
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(Installed::read(Path::new(TARGET), esp)?));
            runner.run_undo(&target::unmount_all())?;
            let mut actions = mounts;
            actions.extend(bootloader::plan(&disk, &table, &installed?, hardware.firmware)?);
            Plan { actions, undo: target::unmount_all() }.transcript()
        }
        Step::ConfigDrive => {
            let Some(files) = config_drive::files(handoff)? else {
                return Ok("# the recipe brings no cloud-init data; there is nothing to do\n".to_owned());
            };
            let (disk, table) = image::confirmed(handoff, runner)?;
            let device = config_drive::device(&disk, &table)?;
            let folder = handoff.folder().join("config-drive");
            let actions = config_drive::plan(&device, &folder.to_string_lossy(), &files);
            Plan { actions, undo: Vec::new() }.transcript()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_linux_target_has_a_subcommand_of_its_name() {
        use clap::CommandFactory as _;
        let command = Args::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let target = schema::target::find("install-linux.target").unwrap();
        assert_eq!(names, target.steps);
    }

    #[test]
    fn help_reads_well() {
        use clap::CommandFactory as _;
        insta::assert_snapshot!(Args::command().term_width(100).render_help());
    }
}
