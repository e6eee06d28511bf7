//! What is on a block device right now, as `blkid --probe` reads it from the device itself; not from a cache,
//! and without udev.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::plan::Command;
use crate::runner::{RunError, Runner};

/// Probes one device. A device with nothing on it is an error of blkid's (exit code 2).
pub fn probe(runner: &mut dyn Runner, path: &str) -> Result<BTreeMap<String, String>, RunError> {
    let command = Command::new("blkid").args(["--probe", "--output", "export", path]).tries(3);
    runner.output(&command).map(|answer| parse(&answer))
}

/// `KEY=value` lines; values are escaped like for a shell where needed, which ours never are.
fn parse(answer: &str) -> BTreeMap<String, String> {
    answer
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Fills in the GUIDs and types of a disk's partitions where lsblk, which asks udev, does not know them.
pub fn complete(runner: &mut dyn Runner, disk: &mut Disk) {
    for node in disk.nodes.iter_mut().filter(|node| node.kind == "part") {
        if node.partuuid.is_some() && node.parttype.is_some() {
            continue;
        }
        // A partition that cannot be read is wiped all the same; it only has no name to be known by.
        let command = Command::new("blkid").args(["--probe", "--output", "export", &node.path]);
        let Ok(found) = runner.output(&command).map(|answer| parse(&answer)) else { continue };
        let get = |name: &str| found.get(name).map(|value| value.to_ascii_lowercase());
        node.partuuid = node.partuuid.take().or_else(|| get("PART_ENTRY_UUID"));
        node.parttype = node.parttype.take().or_else(|| get("PART_ENTRY_TYPE"));
    }
}
