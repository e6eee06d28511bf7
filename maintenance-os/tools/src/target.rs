//! The installed system as a folder: which filesystems are mounted where, in which order, in a mount
//! namespace of our own. Every step mounts for itself and unmounts again; nothing passes between steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use schema::layout::Role;
use schema::recipe::Format;

use crate::disk::Disk;
use crate::handoff::{PartitionRecord, PartitionTable};
use crate::partition::partition_path;
use crate::plan::{Action, Command, run};

/// Where the installed system is mounted while a step works on it.
pub const TARGET: &str = "/mnt/slipway-target";
/// Where its EFI system partition is mounted when the layout says nothing.
pub const ESP_DEFAULT: &str = "/boot/efi";

/// A namespace that could not be made, or a file of the image that is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No namespace.
    #[error("making a mount namespace: the tool container must be privileged")]
    Namespace(#[source] nix::errno::Errno),
    /// A folder of the image that we write to.
    #[error("{path} of the image is no folder; what is written there would go elsewhere")]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of the image cannot be looked at.
    #[error("looking at {path}")]
    Look {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Gives this process mounts of its own, which nobody else sees and which go when it ends.
pub fn own_namespace() -> Result<(), TargetError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(TargetError::Namespace)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(TargetError::Namespace)
}

/// The partition that holds `/`.
pub fn root(table: &PartitionTable) -> Option<&PartitionRecord> {
    table.partitions.iter().find(|record| record.solved.role == Role::Root)
}

/// The EFI system partition.
pub fn esp(table: &PartitionTable) -> Option<&PartitionRecord> {
    table.partitions.iter().find(|record| record.solved.role == Role::Esp)
}

/// Mountpoint of the EFI system partition inside the installed system.
pub fn esp_mountpoint(esp: &PartitionRecord) -> &str {
    esp.solved.mountpoint.as_deref().unwrap_or(ESP_DEFAULT)
}

/// Mounts every filesystem of the installed system but the ESP, upper folders first.
pub fn mount_all(disk: &Disk, table: &PartitionTable) -> Vec<Action> {
    let mut records: Vec<(&str, &PartitionRecord)> = table
        .partitions
        .iter()
        .filter(|record| record.solved.role != Role::Esp)
        .filter(|record| !matches!(record.solved.format, Format::Swap | Format::Raw))
        .filter_map(|record| Some((record.solved.mountpoint.as_deref()?, record)))
        .collect();
    records.sort_by_key(|(place, _)| (place.trim_end_matches('/').matches('/').count(), *place));
    records.iter().flat_map(|(place, record)| mount_one(disk, record, place)).collect()
}

/// Mounts one filesystem of the installed system at its place.
pub fn mount_one(disk: &Disk, record: &PartitionRecord, place: &str) -> Vec<Action> {
    let folder = inside(place);
    let device = partition_path(&disk.path, record.solved.number);
    vec![
        run("mkdir", &["--parents", &folder]),
        Action::Run(
            Command::new("mount")
                .args(["-t", kernel_type(record.solved.format), "-o", "nodev,nosuid", &device, &folder])
                .tries(3),
        ),
    ]
}

/// Flushes and unmounts everything below [`TARGET`].
pub fn unmount_all() -> Vec<Action> {
    vec![
        run("sync", &["--file-system", TARGET]),
        Action::Run(Command::new("umount").args(["--recursive", TARGET]).tries(5)),
    ]
}

/// A path of the installed system as seen from here.
pub fn inside(place: &str) -> String {
    format!("{TARGET}{}", place.trim_end_matches('/'))
}

/// What the kernel calls a filesystem.
pub fn kernel_type(format: Format) -> &'static str {
    match format {
        Format::Vfat => "vfat",
        Format::Ext4 => "ext4",
        Format::Xfs => "xfs",
        Format::Btrfs => "btrfs",
        Format::Ntfs => "ntfs3",
        Format::Swap => "swap",
        Format::Raw => "auto",
    }
}

/// Refuses an image in which a folder that we are going to write to is a link or a file.
pub fn check_folders(root: &Path, folders: &[&str]) -> Result<(), TargetError> {
    for folder in folders {
        let mut path = root.to_owned();
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(TargetError::NoFolder { path }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(source) => return Err(TargetError::Look { path, source }),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_where_we_write_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        check_folders(root.path(), &["etc/slipway", "boot"]).unwrap();
        std::os::unix::fs::symlink("/tmp", root.path().join("boot")).unwrap();
        let error = check_folders(root.path(), &["etc", "boot/grub"]).unwrap_err().to_string();
        assert!(error.contains("/boot of the image is no folder"), "{error}");
    }
}
