//! /etc/fstab of the installed system: its filesystems by UUID, swap too. Lines of the image that name no
//! block device (tmpfs, network filesystems) are kept; the others speak of the disk the image was built on.

use std::fmt::Write as _;

use schema::recipe::Format;

use crate::handoff::{PartitionRecord, PartitionTable};
use crate::target;

/// The file.
pub fn text(table: &PartitionTable, kept: &[String]) -> String {
    let mut text = "# Written by Slipway. <what> <where> <type> <options> <dump> <pass>\n".to_owned();
    let mut places: Vec<String> = Vec::new();
    let mut records: Vec<&PartitionRecord> = table.partitions.iter().collect();
    // `mount -a` goes from top to bottom: `/` first, swap last.
    records.sort_by_key(|record| {
        let place = record.solved.mountpoint.as_deref().unwrap_or_default();
        (record.solved.format == Format::Swap, place.trim_end_matches('/').matches('/').count())
    });
    for record in records {
        if let (Some(uuid), Some(line)) = (&record.uuid, line(record)) {
            let _ = writeln!(text, "UUID={uuid} {line}");
            places.extend(line.split(' ').next().map(str::to_owned));
        }
    }
    for line in kept {
        if line.split_whitespace().nth(1).is_some_and(|place| !places.iter().any(|other| other == place)) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Everything behind the UUID; `None` for what is not mounted.
fn line(record: &PartitionRecord) -> Option<String> {
    let solved = &record.solved;
    if solved.format == Format::Swap {
        return Some("none swap sw 0 0".to_owned());
    }
    let place = match &solved.mountpoint {
        Some(place) => place.as_str(),
        None if solved.role == schema::layout::Role::Esp => target::esp_mountpoint(record),
        None => return None,
    };
    let (kind, options, checked) = match solved.format {
        Format::Ext4 => ("ext4", "errors=remount-ro", true),
        Format::Xfs => ("xfs", "defaults", false),
        Format::Btrfs => ("btrfs", "defaults", false),
        Format::Vfat => ("vfat", "umask=0077", true),
        Format::Ntfs => ("ntfs3", "defaults", false),
        Format::Swap | Format::Raw => return None,
    };
    let pass = match (checked, place) {
        (false, _) => 0,
        (true, "/") => 1,
        (true, _) => 2,
    };
    // fstab(5): spaces and tabs in a place are written as octal escapes.
    let place = place.replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011");
    Some(format!("{place} {kind} {options} 0 {pass}"))
}

/// Lines of the image's own fstab that stay true on another disk.
pub fn kept(old: &str) -> Vec<String> {
    let of_a_disk = |what: &str| {
        what.starts_with("/dev/")
            || ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="].iter().any(|name| what.starts_with(name))
    };
    old.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| line.split_whitespace().next().is_some_and(|what| !of_a_disk(what)))
        .map(str::to_owned)
        .collect()
}
