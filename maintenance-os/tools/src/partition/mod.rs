//! Step 2: clears the chosen disk, and it alone, and makes partitions and filesystems.
//!
//! ```text
//!   disk.json ─▶ confirm ─▶ plan(): stop holders ▸ boot sector ▸ ESPs ▸ old signatures ▸ both ends ▸
//!                                   GPT ▸ reread ▸ mkfs ─▶ run ─▶ read back ─▶ partitions.json
//! ```
//! Whatever interrupts it, the disk cannot boot what it held before, nor half of what is to come: boot
//! sector and ESP go first. A second run finds its own GUIDs and UUIDs and changes nothing.

mod make;
mod readback;
mod wipe;

pub(crate) use make::mkfs;
pub use make::{partition_path, small_esp};
pub use readback::{ReadBackError, read_back};

use schema::layout::{LayoutError, SolvedPartition};
use schema::recipe::{ImageKind, Wipe};

use crate::blkid;
use crate::disk::{self, ChooseError, Disk};
use crate::handoff::{Handoff, HandoffError, PartitionRecord, PartitionTable};
use crate::ids::Seed;
use crate::lsblk::{self, LsblkError};
use crate::plan::{Action, Command, Plan};
use crate::progress::Progress;
use crate::runner::{RunError, Runner};

/// A disk that was not, or not wholly, partitioned.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The hand-off.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The disks could not be listed.
    #[error(transparent)]
    Lsblk(#[from] LsblkError),
    /// The disk is not there.
    #[error(transparent)]
    Disk(#[from] ChooseError),
    /// The layout does not fit.
    #[error("laying out {disk}")]
    Layout {
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// Something did not work.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was made is not what was asked for.
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
}

/// The table to be made: everything named, nothing done.
pub fn table(disk: &Disk, solved: Vec<SolvedPartition>, seed: &Seed) -> PartitionTable {
    let partitions = solved.into_iter().map(|solved| PartitionRecord {
        partuuid: seed.partition(solved.number),
        uuid: seed.filesystem(solved.number, solved.format),
        solved,
    });
    let replaced = disk.all_nodes().into_iter().filter_map(|node| node.partuuid.clone()).collect();
    PartitionTable { disk_guid: seed.disk(), partitions: partitions.collect(), replaced }
}

/// Everything that is done to the disk, in order.
pub fn plan(disk: &Disk, table: &PartitionTable, wipe: Wipe) -> Plan {
    let mut actions = wipe::actions(disk, wipe);
    if table.partitions.is_empty() {
        actions.push(Action::Say("the image brings its own partitions".into()));
    } else {
        actions.extend(make::actions(disk, table));
    }
    actions.push(Action::Run(Command::new("blockdev").args(["--flushbufs", &disk.path])));
    Plan { actions, undo: Vec::new() }
}

/// `udevadm settle`: waits until udev has looked at what changed.
pub(crate) fn settle() -> Action {
    let command = Command::new("udevadm").args(["settle", "--timeout=30"]);
    Action::Run(command.tolerate("udev is slow or not there; device nodes are awaited by name"))
}

/// The plan for this hand-off, without running it.
pub fn prepare(
    handoff: &Handoff,
    runner: &mut dyn Runner,
) -> Result<(Disk, PartitionTable, Plan), PartitionError> {
    let mut disk = disk::confirm(lsblk::disks(runner)?, &handoff.disk()?)?;
    blkid::complete(runner, &mut disk);
    let whole_disk = handoff.job.image.as_ref().is_some_and(|image| image.kind == ImageKind::Disk);
    let solved = if whole_disk {
        Vec::new()
    } else {
        let refuse = |source| PartitionError::Layout { disk: disk.path.clone(), source };
        handoff.layout.solve(disk.geometry()).map_err(refuse)?
    };
    let seed = Seed::new(&handoff.job.job_id, handoff.job.attempt);
    let table = table(&disk, solved, &seed);
    let plan = plan(&disk, &table, handoff.recipe.wipe.unwrap_or_default());
    Ok((disk, table, plan))
}

/// Partitions the disk, reads back what came of it, and records it.
pub fn run(handoff: &Handoff, runner: &mut dyn Runner) -> Result<(), PartitionError> {
    let mut progress = Progress::new("partition", &handoff.progress_socket());
    let (disk, table, plan) = prepare(handoff, runner)?;
    if let Some(made) = handoff.partitions_if_made()?
        && made.disk_guid == table.disk_guid
    {
        let done = if made.partitions.is_empty() { Ok(made) } else { read_back(runner, &disk, &made) };
        if done.is_ok() {
            runner.say(&format!("{} is partitioned already; nothing changes", disk.path));
            return Ok(());
        }
    }
    progress.say(&format!("partitioning {}", disk.path));
    runner.run(&plan)?;
    let table = read_back(runner, &disk, &table)?;
    handoff.write_partitions(&table)?;
    progress.say("partitioned");
    Ok(())
}

#[cfg(test)]
mod tests;
