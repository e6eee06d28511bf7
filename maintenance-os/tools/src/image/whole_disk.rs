//! What a whole-disk image needs besides its bytes: the backup GPT belongs at the end of this disk, not of
//! the one it was made on, and a config drive is added behind it where the recipe brings cloud-init data.
//! Growing the image's own partitions is left to the image (cloud-init's growpart), which knows what is in
//! them; the config drive at the very end leaves all other room to it.

use schema::layout::{CONFIG_DRIVE_BYTES, CONFIG_DRIVE_LABEL, Role, SolvedPartition, type_guid};
use schema::recipe::Format;

use super::pour::{self, Meter};
use super::raw::Onto;
use super::{ImageError, fetch};
use crate::blkid;
use crate::disk::Disk;
use crate::handoff::{Handoff, PartitionRecord, PartitionTable};
use crate::ids::Seed;
use crate::lsblk;
use crate::manifest::Manifest;
use crate::partition::{mkfs, partition_path, settle};
use crate::plan::{Action, Command};
use crate::runner::Runner;

/// Number that the config drive's names are derived from; its number in the image's table is known later.
const CONFIG_DRIVE_NAME: u32 = 0;

/// Writes the image to the disk and fits its table to the disk.
pub fn write(
    handoff: &Handoff,
    runner: &mut dyn Runner,
    source: &dyn fetch::Source,
    manifest: &Manifest,
    disk: &Disk,
    mut table: PartitionTable,
    meter: &mut Meter<'_>,
) -> Result<(), ImageError> {
    let Some(layer) = manifest.layers.first() else { return Ok(()) };
    let onto = Onto { device: &disk.path, size: disk.size_bytes, sector_bytes: disk.sector_bytes };
    let written = pour::onto_disk(source, layer, onto, meter)?;
    runner.say(&format!("{written} bytes written to {}", disk.path));

    let kind = blkid::probe(runner, &disk.path)?.get("PTTYPE").cloned().unwrap_or_default();
    let config_drive = handoff.layout.config_drive;
    if kind != "gpt" {
        return if config_drive { Err(ImageError::NotGpt { found: kind }) } else { Ok(()) };
    }
    runner.run_actions(&fit(disk))?;
    if config_drive {
        let seed = Seed::new(&handoff.job.job_id, handoff.job.attempt);
        let guid = match brought(runner, disk)? {
            Some(guid) => guid,
            None => add_config_drive(runner, disk, &seed)?,
        };
        let record = find(runner, disk, &guid, &seed)?;
        let path = partition_path(&disk.path, record.solved.number);
        let actions: Vec<Action> = mkfs(&record, &path, disk.sector_bytes).into_iter().collect();
        runner.run_actions(&actions)?;
        table.partitions = vec![record];
        handoff.write_partitions(&table)?;
    }
    Ok(())
}

/// Moves the backup GPT to the end of the disk.
fn fit(disk: &Disk) -> Vec<Action> {
    let move_backup = Command::new("sgdisk").args(["--move-second-header", &disk.path]).tries(3);
    [Action::Run(move_backup)].into_iter().chain(reread(disk)).collect()
}

/// Lets the kernel see what the table says now.
fn reread(disk: &Disk) -> [Action; 3] {
    [settle(), Action::Run(Command::new("partx").args(["--update", &disk.path]).tries(3)), settle()]
}

/// GUID of the config drive that the image brought, if it did.
fn brought(runner: &mut dyn Runner, disk: &Disk) -> Result<Option<String>, ImageError> {
    let now = lsblk::disks(runner)?.into_iter().find(|now| now.path == disk.path);
    for node in now.iter().flat_map(|now| &now.nodes).filter(|node| node.kind == "part") {
        let Ok(found) = blkid::probe(runner, &node.path) else { continue };
        let is = |key: &str| found.get(key).is_some_and(|text| text.eq_ignore_ascii_case(CONFIG_DRIVE_LABEL));
        if is("LABEL") || is("PART_ENTRY_NAME") {
            runner.say(&format!("{} is the image's own config drive; it is made anew", node.path));
            return Ok(found.get("PART_ENTRY_UUID").map(|guid| guid.to_ascii_lowercase()));
        }
    }
    Ok(None)
}

/// Adds a config drive at the very end of the disk; its GUID.
fn add_config_drive(runner: &mut dyn Runner, disk: &Disk, seed: &Seed) -> Result<String, ImageError> {
    let guid = seed.partition(CONFIG_DRIVE_NAME);
    let mib = CONFIG_DRIVE_BYTES >> 20;
    // Partition 0: the next free number, and then the one just made.
    let add = Command::new("sgdisk").args([
        format!("--new=0:-{mib}M:0"),
        format!("--typecode=0:{}", type_guid::BASIC_DATA),
        format!("--partition-guid=0:{guid}"),
        format!("--change-name=0:{CONFIG_DRIVE_LABEL}"),
        disk.path.clone(),
    ]);
    let no_room = |source| ImageError::NoRoom { disk: disk.path.clone(), mib, source };
    runner.run_actions(&[Action::Run(add)]).map_err(no_room)?;
    runner.run_actions(&reread(disk))?;
    Ok(guid)
}

/// The config drive among the partitions that the disk has now.
fn find(
    runner: &mut dyn Runner,
    disk: &Disk,
    guid: &str,
    seed: &Seed,
) -> Result<PartitionRecord, ImageError> {
    let missing = || ImageError::NoConfigDrive { disk: disk.path.clone() };
    let mut now = lsblk::disks(runner)?.into_iter().find(|now| now.path == disk.path).ok_or_else(missing)?;
    blkid::complete(runner, &mut now);
    let node = now.nodes.iter().find(|node| node.partuuid.as_deref() == Some(guid)).ok_or_else(missing)?;
    let digits = node.path.as_str();
    let at = digits.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let number = digits[at..].parse().map_err(|_| missing())?;
    Ok(PartitionRecord {
        partuuid: guid.to_owned(),
        uuid: seed.filesystem(CONFIG_DRIVE_NAME, Format::Vfat),
        solved: SolvedPartition {
            number,
            start_bytes: node.start_bytes.ok_or_else(missing)?,
            size_bytes: node.size_bytes,
            type_guid: type_guid::BASIC_DATA.to_owned(),
            name: CONFIG_DRIVE_LABEL.to_owned(),
            format: Format::Vfat,
            label: Some(CONFIG_DRIVE_LABEL.to_owned()),
            mountpoint: None,
            role: Role::ConfigDrive,
        },
    })
}
