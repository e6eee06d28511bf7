//! Step 5: fills the `CIDATA` volume with the recipe's cloud-init data, as cloud-init's NoCloud source reads
//! it. Written with mtools, so the kernel needs no vfat and nothing is mounted. Without data it does nothing
//! and says so.

use std::path::Path;

use schema::layout::Role;
use schema::recipe::{CloudInit, ImageKind};

use crate::disk::Disk;
use crate::handoff::{Handoff, HandoffError, PAYLOADS, PartitionTable};
use crate::image::{ImageError, confirmed};
use crate::partition::partition_path;
use crate::plan::{Action, Command, run as program};
use crate::progress::Progress;
use crate::runner::{RunError, Runner};
use crate::target::{self, TARGET};

/// Where cloud-init's program may be in an image.
const CLOUD_INIT: [&str; 3] = ["usr/bin/cloud-init", "usr/local/bin/cloud-init", "bin/cloud-init"];

/// A config drive that was not written, or would not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDriveError {
    /// The hand-off.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The disk is not there, or not as recorded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something did not work.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no volume for it.
    #[error(
        "the recipe brings cloud-init data but the disk has no CIDATA partition; layout.json and the payloads do not belong together"
    )]
    NoVolume,
    /// Nobody would read it.
    #[error(
        "the recipe brings cloud-init data but the image has no cloud-init, so nobody would read it: add the package cloud-init to the image, or set cloud_init to ignore"
    )]
    NoCloudInit,
    /// meta-data is not text.
    #[error("meta-data is not UTF-8 text")]
    NotText,
    /// meta-data is broken JSON.
    #[error("meta-data begins like JSON but is none")]
    NotJson(#[source] serde_json::Error),
}

/// File names on the volume, with their contents.
pub type Files = Vec<(&'static str, Vec<u8>)>;

/// What is written, by name; `None` when the recipe brings no data.
pub fn files(handoff: &Handoff) -> Result<Option<Files>, ConfigDriveError> {
    let mut payloads = Vec::new();
    for name in PAYLOADS {
        payloads.push((name, handoff.payload(name)?));
    }
    if payloads.iter().all(|(_, payload)| payload.is_none()) {
        return Ok(None);
    }
    let mut files = Vec::new();
    for (name, payload) in payloads {
        match (name, payload) {
            ("meta-data", payload) => {
                files.push((name, meta_data(&payload.unwrap_or_default(), &handoff.job.job_id)?));
            }
            // NoCloud takes a volume only for one if user-data is there, empty or not.
            ("user-data", payload) => files.push((name, payload.unwrap_or_default())),
            (_, Some(payload)) => files.push((name, payload)),
            (_, None) => {}
        }
    }
    Ok(Some(files))
}

/// meta-data with an instance id: its own, or the job's.
pub fn meta_data(given: &[u8], job_id: &str) -> Result<Vec<u8>, ConfigDriveError> {
    let text = std::str::from_utf8(given).map_err(|_| ConfigDriveError::NotText)?;
    if text.trim_start().starts_with('{') {
        let mut value: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(ConfigDriveError::NotJson)?;
        value.entry("instance-id").or_insert_with(|| job_id.into());
        return Ok(format!("{:#}\n", serde_json::Value::Object(value)).into_bytes());
    }
    let has_id = text.lines().any(|line| {
        let key = line.split(':').next().unwrap_or_default();
        line.contains(':') && key.trim_end().trim_matches(['"', '\'']) == "instance-id"
    });
    if has_id { Ok(given.to_vec()) } else { Ok(format!("instance-id: {job_id}\n{text}").into_bytes()) }
}

/// The actions that put the files, which lie in `folder`, on the volume.
pub fn plan(device: &str, folder: &str, files: &[(&'static str, Vec<u8>)]) -> Vec<Action> {
    let mut actions: Vec<Action> = files
        .iter()
        .map(|(name, _)| {
            let from = format!("{folder}/{name}");
            // -o: a second run overwrites; -m would keep a time nobody needs.
            Action::Run(
                Command::new("mcopy").args(["-o", "-i", device, &from, &format!("::{name}")]).tries(3),
            )
        })
        .collect();
    actions.push(Action::Run(Command::new("blockdev").args(["--flushbufs", device])));
    actions
}

/// The volume's device node.
pub fn device(disk: &Disk, table: &PartitionTable) -> Result<String, ConfigDriveError> {
    let volume = table.partitions.iter().find(|record| record.solved.role == Role::ConfigDrive);
    let volume = volume.ok_or(ConfigDriveError::NoVolume)?;
    Ok(partition_path(&disk.path, volume.solved.number))
}

/// Whether an image at `root` has cloud-init.
pub fn has_cloud_init(root: &Path) -> bool {
    CLOUD_INIT.iter().any(|path| std::fs::symlink_metadata(root.join(path)).is_ok())
}

/// Writes the config drive.
pub fn run(handoff: &Handoff, runner: &mut dyn Runner) -> Result<(), ConfigDriveError> {
    let mut progress = Progress::new("config-drive", &handoff.progress_socket());
    let Some(files) = files(handoff)? else {
        runner.say("the recipe brings no cloud-init data; there is nothing to do");
        progress.say("no cloud-init data in the recipe");
        return Ok(());
    };
    let (disk, table) = confirmed(handoff, runner)?;
    let device = device(&disk, &table)?;
    if handoff.image()?.kind == ImageKind::Disk {
        runner.say("the image is a whole disk; whether it has cloud-init is not looked at");
    } else if handoff.recipe.cloud_init.unwrap_or_default() == CloudInit::Require {
        let mounted = runner.run_actions(&target::mount_all(&disk, &table));
        let found = has_cloud_init(Path::new(TARGET));
        let undone = runner.run_undo(&[program("umount", &["--recursive", TARGET])]);
        mounted.and(undone)?;
        if !found {
            return Err(ConfigDriveError::NoCloudInit);
        }
    }
    // The files go through a folder of mode 0700 in memory: they hold secrets, and meta-data is not as it came.
    let folder = handoff.folder().join("config-drive");
    for (name, bytes) in &files {
        let path = folder.join(name).to_string_lossy().into_owned();
        private(&folder, name, bytes).map_err(|source| RunError::Write { path, source })?;
    }
    let outcome = runner.run_actions(&plan(&device, &folder.to_string_lossy(), &files));
    let _ = std::fs::remove_dir_all(&folder);
    outcome?;
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    progress.say(&format!("config drive written: {}", names.join(", ")));
    Ok(())
}

fn private(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(folder.join(name))?;
    file.write_all(bytes)
}

#[cfg(test)]
#[path = "config_drive_tests.rs"]
mod tests;
