//! Step 3: writes the operating system image, streaming it from the registry straight into its place.
//!
//! Why an unpacker of our own and not GNU tar: layers need a walk of their own for whiteouts, names must be
//! resolved inside the target by the kernel, and a stream must be hashed, decoded and unpacked at the same
//! time in a few megabytes. Owners, set-id bits, xattrs (so capabilities), hard links, sparse files, devices
//! and times are kept, and POSIX ACLs, which tar writes as text.
//!
//! ```text
//!   kind       prepare            pour                         finish
//!   rootfs     mount all but ESP  one tar into the target      /etc/slipway/install.json, unmount
//!   container  mount all but ESP  layers in order, whiteouts   the same
//!   disk       –                  raw onto the disk, ends last move the backup GPT, add CIDATA
//! ```
//! The ESP is not mounted here: a disk whose image was damaged has an empty one and cannot boot.

pub mod acl;
pub mod archive;
pub mod codec;
pub mod fetch;
pub mod layer;
pub mod pipe;
pub mod pour;
pub mod raw;
pub mod tree;

mod whole_disk;

use std::path::Path;

use schema::recipe::ImageKind;

use crate::blkid;
use crate::disk::{self, ChooseError, Disk};
use crate::handoff::{Handoff, HandoffError, ImageRecord, PartitionTable};
use crate::lsblk::{self, LsblkError};
use crate::manifest::{Manifest, ManifestError};
use crate::partition::{ReadBackError, read_back};
use crate::plan::{Action, Plan, run as program};
use crate::progress::Progress;
use crate::registry::{Registry, RegistryError};
use crate::runner::{RunError, Runner};
use crate::target::{self, TARGET, TargetError};
use pour::{Meter, PourError};

/// An image that was not, or not wholly, written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The hand-off.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The disks could not be listed.
    #[error(transparent)]
    Lsblk(#[from] LsblkError),
    /// The disk is not there.
    #[error(transparent)]
    Disk(#[from] ChooseError),
    /// The disk is not partitioned as recorded.
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The image is not what the job says.
    #[error("reading the image's manifest")]
    Manifest(#[from] ManifestError),
    /// The stream.
    #[error("writing the image; the disk is left unable to boot")]
    Pour(#[from] PourError),
    /// Something around it did not work.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The mounted system.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A whole-disk image that cannot take a config drive.
    #[error(
        "the disk image has a partition table of type {found:?}, to which no config drive can be added: use a GPT image, or put the cloud-init data into the image"
    )]
    NotGpt {
        /// What blkid calls it.
        found: String,
    },
    /// There is no place for the config drive.
    #[error(
        "the image's partitions leave no {mib} MiB at the end of {disk} for the config drive: make its last partition smaller, take a larger disk, or leave the cloud-init data out of the recipe"
    )]
    NoRoom {
        /// The disk.
        disk: String,
        /// What a config drive takes.
        mib: u64,
        /// What sgdisk said.
        #[source]
        source: RunError,
    },
    /// The config drive did not appear.
    #[error("the config drive was added to {disk} but is not there")]
    NoConfigDrive {
        /// The disk.
        disk: String,
    },
}

/// What is done around the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePlan {
    /// Before it.
    pub before: Plan,
    /// The stream itself, in words.
    pub pour: String,
    /// After it, when it was right. `before.undo` follows in any case.
    pub after: Vec<Action>,
}

/// The plan for an image that is unpacked into filesystems.
pub fn plan(handoff: &Handoff, disk: &Disk, table: &PartitionTable) -> Result<ImagePlan, HandoffError> {
    let image = handoff.image()?;
    let url = format!("{}/v2/{}/blobs/$layer", image.registry, image.repository);
    let get = format!("curl --fail --header \"Authorization: Bearer $(cat token)\" {url}");
    if image.kind == ImageKind::Disk {
        return Ok(ImagePlan {
            before: Plan::default(),
            pour: format!("{get} | zstd --decompress --pass-through | dd of={} # both ends last", disk.path),
            after: Vec::new(),
        });
    }
    let evidence = serde_json::json!({
        "job_id": handoff.job.job_id,
        "attempt": handoff.job.attempt,
        "repository": image.repository,
        "digest": image.digest,
    });
    Ok(ImagePlan {
        before: Plan { actions: target::mount_all(disk, table), undo: target::unmount_all() },
        pour: format!(
            "for layer in $(layers {}); do {get} | zstd --decompress --pass-through | tar --extract --numeric-owner --xattrs --directory {TARGET}; done",
            image.digest
        ),
        after: vec![
            Action::Write {
                path: target::inside("/etc/slipway/install.json"),
                mode: 0o644,
                text: format!("{evidence:#}\n"),
            },
            program("sync", &["--file-system", TARGET]),
        ],
    })
}

impl ImagePlan {
    /// The plan as a shell transcript.
    pub fn transcript(&self) -> String {
        let actions = Plan { actions: self.before.actions.clone(), undo: Vec::new() }.transcript();
        let after = Plan { actions: self.after.clone(), undo: self.before.undo.clone() }.transcript();
        format!("{actions}{}\n{after}", self.pour)
    }
}

/// The disk, checked to be the chosen one and to be partitioned as recorded.
pub fn confirmed(handoff: &Handoff, runner: &mut dyn Runner) -> Result<(Disk, PartitionTable), ImageError> {
    let mut disk = disk::confirm(lsblk::disks(runner)?, &handoff.disk()?)?;
    blkid::complete(runner, &mut disk);
    let table = handoff.partitions()?;
    let table = if table.partitions.is_empty() { table } else { read_back(runner, &disk, &table)? };
    Ok((disk, table))
}

/// Writes the image.
pub fn run(handoff: &Handoff, runner: &mut dyn Runner) -> Result<(), ImageError> {
    let image = handoff.image()?;
    let record = ImageRecord {
        job_id: handoff.job.job_id.clone(),
        digest: image.digest.clone(),
        disk: handoff.partitions()?.disk_guid,
    };
    if handoff.image_record()?.as_ref() == Some(&record) {
        runner.say(&format!("{}@{} is written already; nothing changes", image.repository, image.digest));
        return Ok(());
    }
    let (disk, table) = confirmed(handoff, runner)?;
    let plan = plan(handoff, &disk, &table)?;
    let proxy = handoff.job.proxy_for(&image.registry);
    let registry = Registry::new(image, handoff.token()?, handoff.site_ca()?.as_deref(), proxy)?;
    let manifest = registry.manifest(&image.digest)?;
    manifest.check_kind(image.kind)?;
    runner.say(&format!("writing {}@{}", image.repository, image.digest));

    let mut progress = Progress::new("image-linux", &handoff.progress_socket());
    let mut meter = Meter::new(&mut progress, manifest.stored());
    if image.kind == ImageKind::Disk {
        whole_disk::write(handoff, runner, &registry, &manifest, &disk, table, &mut meter)?;
    } else {
        let outcome = runner.run_actions(&plan.before.actions).map_err(ImageError::from).and_then(|()| {
            let lost = unpack(&registry, &manifest, image.kind, Path::new(TARGET), &mut meter)?;
            if !lost.is_empty() {
                runner.say(&format!(
                    "warning: these attributes of the image could not be kept: {}",
                    lost.join(", ")
                ));
            }
            target::check_folders(Path::new(TARGET), &["etc/slipway"])?;
            Ok(runner.run_actions(&plan.after)?)
        });
        let undone = runner.run_undo(&plan.before.undo);
        outcome?;
        undone?;
    }
    handoff.write_image_record(&record)?;
    Ok(())
}

/// Unpacks the image below `root`.
pub fn unpack(
    source: &dyn fetch::Source,
    manifest: &Manifest,
    kind: ImageKind,
    root: &Path,
    meter: &mut Meter<'_>,
) -> Result<Vec<String>, PourError> {
    let role = if kind == ImageKind::Container { layer::Role::Layer } else { layer::Role::Root };
    pour::into_tree(source, manifest, role, root, meter)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
