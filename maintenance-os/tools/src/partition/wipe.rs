//! Destroying what a disk held, so that nothing finds it again: not firmware, not md, not LVM, not blkid.

use schema::layout::type_guid;
use schema::recipe::Wipe;

use super::settle;
use crate::disk::{Disk, Node};
use crate::plan::{Action, Command, LONG, run};

/// Boot code in the boot sector; the old partition table behind it is needed until the partitions are wiped.
const BOOT_CODE: u64 = 440;
/// Bytes cleared at both ends: primary and backup GPT (also on 4Kn), md 0.90 and 1.0 at the tail, LVM and
/// filesystem headers at the head.
const END: u64 = 1 << 20;
/// Device-mapper kinds as lsblk names them.
const MAPPED: [&str; 6] = ["lvm", "crypt", "mpath", "dm", "dmraid", "part-mpath"];

/// Everything up to an empty disk.
pub fn actions(disk: &Disk, wipe: Wipe) -> Vec<Action> {
    let mut actions = stop(disk);
    let partitions: Vec<&Node> = disk.nodes.iter().filter(|node| node.kind == "part").collect();

    actions.push(Action::Say("from here on the disk cannot boot until the last step is done".into()));
    actions.push(zero(&disk.path, 0, BOOT_CODE.min(disk.size_bytes)));
    actions.push(settle());
    let is_esp = |node: &&&Node| node.parttype.as_deref() == Some(&type_guid::ESP.to_ascii_lowercase());
    for esp in partitions.iter().filter(is_esp) {
        actions.push(zero(&esp.path, 0, END.min(esp.size_bytes)));
    }
    if wipe != Wipe::None {
        for partition in &partitions {
            actions.push(wipefs(&partition.path));
        }
    }
    if !partitions.is_empty() {
        let command = Command::new("partx").args(["--delete", &disk.path]).tries(3);
        actions.push(Action::Run(command.tolerate("udev may have dropped the old partitions already")));
    }
    if wipe != Wipe::None {
        actions.push(wipefs(&disk.path));
    }
    actions.push(zero(&disk.path, 0, END.min(disk.size_bytes)));
    let tail = disk.size_bytes.saturating_sub(END);
    actions.push(zero(&disk.path, tail, disk.size_bytes - tail));
    match wipe {
        Wipe::None | Wipe::Metadata => {}
        Wipe::Discard => {
            actions.push(Action::Run(Command::new("blkdiscard").args(["--force", &disk.path]).within(LONG)));
        }
        Wipe::SecureErase => actions.push(Action::Run(
            Command::new("nvme").args(["format", "--force", "--ses=1", &disk.path]).within(LONG),
        )),
    }
    actions.push(settle());
    actions
}

fn zero(device: &str, offset: u64, length: u64) -> Action {
    Action::Zero { device: device.to_owned(), offset, length }
}

fn wipefs(device: &str) -> Action {
    Action::Run(Command::new("wipefs").args(["--all", "--force", "--quiet", device]).tries(3))
}

/// Stops what stands on this disk, the uppermost first, each thing once.
fn stop(disk: &Disk) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    let swap_on = |mountpoints: &[String]| mountpoints.iter().any(|place| place == "[SWAP]");
    if swap_on(&disk.mountpoints) {
        actions.push(run("swapoff", &[&disk.path]));
    }
    for node in disk.all_nodes() {
        let mut add = |action: Action| {
            if !actions.contains(&action) {
                actions.push(action);
            }
        };
        if swap_on(&node.mountpoints) {
            add(run("swapoff", &[&node.path]));
        }
        if node.kind.starts_with("raid") || matches!(node.kind.as_str(), "md" | "linear" | "container") {
            add(run("mdadm", &["--stop", &node.path]));
        } else if MAPPED.contains(&node.kind.as_str()) {
            add(run("dmsetup", &["remove", "--retry", &node.path]));
        }
    }
    actions
}
