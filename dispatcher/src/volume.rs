//! Whose disc is this? Reads the volume label of an ISO9660 filesystem from a device or a file, and lists the block
//! devices worth asking. Reading only: a disk that is no disc of ours is looked at once, 2 KiB, and left alone.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Where the primary volume descriptor begins (ECMA-119 §6.2.1: sector 16).
const DESCRIPTOR_OFFSET: u64 = 16 * 2048;
/// Where the volume identifier stands in it (ECMA-119 §8.4.7).
const LABEL: std::ops::Range<usize> = 40..72;
/// Block devices of the running kernel.
const BLOCK_CLASS: &str = "/sys/class/block";

/// The label in a primary volume descriptor; `None` when it is none.
pub fn label_of(descriptor: &[u8]) -> Option<String> {
    let is_primary = descriptor.starts_with(b"\x01CD001\x01");
    let label = descriptor.get(LABEL).filter(|_| is_primary)?;
    std::str::from_utf8(label).ok().map(|label| label.trim_end().to_owned())
}

/// The label of the disc in a drive, on a stick or in a file. An empty drive has none.
pub fn label(path: &Path) -> Option<String> {
    // O_NONBLOCK: opening a CD drive without it waits for the drive, and pulls in an open tray.
    let mut device = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)
        .ok()?;
    device.seek(SeekFrom::Start(DESCRIPTOR_OFFSET)).ok()?;
    let mut descriptor = [0; LABEL.end];
    device.read_exact(&mut descriptor).ok()?;
    label_of(&descriptor)
}

/// Every block device that could hold a disc of ours, the likeliest first: CD drives, RAM disks of an HTTP boot, then
/// sticks and disks with their partitions.
pub fn candidates() -> Vec<PathBuf> {
    let names = fs::read_dir(BLOCK_CLASS)
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    in_order(names).into_iter().map(|name| Path::new("/dev").join(name)).collect()
}

fn in_order(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| rank(name).is_some());
    names.sort_by(|a, b| (rank(a), a.as_str()).cmp(&(rank(b), b.as_str())));
    names
}

fn rank(name: &str) -> Option<u8> {
    const RANKS: &[(&str, u8)] = &[("sr", 0), ("pmem", 1), ("sd", 2), ("vd", 3), ("mmcblk", 3), ("nvme", 4)];
    RANKS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, rank)| *rank)
}

#[cfg(test)]
mod tests {
    use super::{in_order, label_of};

    fn descriptor(label: &str) -> Vec<u8> {
        let mut bytes = b"\x01CD001\x01\x00".to_vec();
        bytes.resize(40, b' ');
        bytes.extend(format!("{label:<32}").bytes());
        bytes
    }

    #[test]
    fn the_label_of_a_disc_is_read_and_anything_else_has_none() {
        assert_eq!(label_of(&descriptor("SLIPWAY_TASK")).as_deref(), Some("SLIPWAY_TASK"));
        let mut boot_record = descriptor("SLIPWAY_TASK");
        boot_record[0] = 0;
        assert_eq!(label_of(&boot_record), None);
        assert_eq!(label_of(&[0; 72]), None);
        assert_eq!(label_of(b"\x01CD001\x01"), None);
    }

    #[test]
    fn cd_drives_are_asked_before_disks_and_loop_devices_never() {
        let names =
            ["sda1", "loop0", "nvme0n1", "sr1", "dm-0", "sda", "pmem0", "sr0", "md0"].map(str::to_owned);
        assert_eq!(in_order(names.to_vec()), ["sr0", "sr1", "pmem0", "sda", "sda1", "nvme0n1"]);
    }
}
