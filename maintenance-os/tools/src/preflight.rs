//! Step 1: proves that the rest can succeed before anything is erased. Writes nothing but `disk.json`.
//!
//! ```text
//!   lsblk, /sys, recipe ──▶ plan(): disk, layout, firmware, memory ──▶ Checks (what to ask the registry)
//!                                                                       │
//!   registry ◀── run(): manifest, every layer, every tool image ────────┘──▶ disk.json
//! ```

use std::fmt::Write as _;

use schema::layout::{Firmware, LayoutError, SolvedPartition, fits_firmware};
use schema::recipe::{Format, ImageKind, Wipe};
use schema::size;
use schema::task::TaskImage;

use crate::disk::{self, ChooseError, Disk, DiskIdentity};
use crate::handoff::{Handoff, HandoffError};
use crate::hardware::Hardware;
use crate::lsblk::{self, LsblkError};
use crate::manifest::{Manifest, ManifestError};
use crate::registry::{Registry, RegistryError};
use crate::runner::Runner;

/// Least memory: the maintenance OS keeps its root in RAM on machines of 4 GiB; an eighth of that is what
/// firmware and kernel may keep for themselves.
pub const MEMORY_MIN: u64 = (4 << 30) / 8 * 7;

/// What makes an installation impossible, found before anything was touched.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The hand-off.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The disks could not be listed.
    #[error(transparent)]
    Lsblk(#[from] LsblkError),
    /// Not exactly one disk.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The layout does not fit the disk or the firmware.
    #[error("laying out {disk}")]
    Layout {
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// Too little memory.
    #[error("the machine has {} of usable memory, but the maintenance OS and the tools need {}: add memory", size::human(*has), size::human(MEMORY_MIN))]
    Memory {
        /// Bytes there are.
        has: u64,
    },
    /// The disk cannot do what `wipe` asks.
    #[error("wipe: {mode} is asked for, but {disk} ({transport}) cannot do that: use {instead}")]
    Wipe {
        /// `discard` or `secure-erase`.
        mode: &'static str,
        /// The disk.
        disk: String,
        /// How it is connected.
        transport: String,
        /// What can be used.
        instead: &'static str,
    },
    /// The registry.
    #[error("checking the image before anything is erased")]
    Registry(#[from] RegistryError),
    /// The image is not what the job says.
    #[error("checking {repository}@{digest}")]
    Image {
        /// Repository.
        repository: String,
        /// Digest of the manifest.
        digest: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The image is too large.
    #[error("the image needs {} but {place} has {}: choose a larger disk or a larger partition", size::human(*needs), size::human(*has))]
    TooLarge {
        /// Bytes the image needs at least.
        needs: u64,
        /// Bytes there are.
        has: u64,
        /// Where.
        place: String,
    },
    /// A tool image without a digest.
    #[error(
        "tools.{step} names {reference:?}, which is no repository with a digest in the embedded registry"
    )]
    Tool {
        /// The step.
        step: String,
        /// As it stands there.
        reference: String,
    },
}

/// What has been settled without asking anybody, and what is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// The disk.
    pub disk: DiskIdentity,
    /// The partitions to come; empty when a whole-disk image brings its own.
    pub partitions: Vec<SolvedPartition>,
    /// How the machine boots.
    pub firmware: Firmware,
    /// Tool images to be found, as repository and digest.
    pub tools: Vec<(String, String)>,
}

/// Settles everything that needs no network.
pub fn plan(handoff: &Handoff, disks: Vec<Disk>, hardware: &Hardware) -> Result<Checks, PreflightError> {
    if hardware.memory_bytes < MEMORY_MIN {
        return Err(PreflightError::Memory { has: hardware.memory_bytes });
    }
    let recipe = &handoff.recipe;
    let all = disks.clone();
    let chosen = disk::choose(disks, recipe.target_disk.as_ref(), recipe.allow_kernel_name, &hardware.raid)?;
    let disk = disk::confirm(all, &chosen)?;
    check_wipe(&disk, recipe.wipe.unwrap_or_default())?;
    let whole_disk = handoff.job.image.as_ref().is_some_and(|image| image.kind == ImageKind::Disk);
    let partitions = if whole_disk {
        Vec::new()
    } else {
        let refuse = |source| PreflightError::Layout { disk: disk.path.clone(), source };
        let partitions = handoff.layout.solve(disk.geometry()).map_err(refuse)?;
        fits_firmware(&partitions, hardware.firmware).map_err(refuse)?;
        partitions
    };
    let mut tools = Vec::new();
    for (step, reference) in &recipe.tools {
        let parts = reference.split_once('@').and_then(|(name, digest)| {
            // A host in front of the repository can only be the embedded registry itself.
            let first = name.split('/').next().unwrap_or_default();
            let has_host = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
            let repository = if has_host { &name[first.len() + 1..] } else { name };
            let repository = match repository.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => repository,
                _ => repository,
            };
            digest.starts_with("sha256:").then(|| (repository.to_owned(), digest.to_owned()))
        });
        let unusable = || PreflightError::Tool { step: step.clone(), reference: reference.clone() };
        tools.push(parts.ok_or_else(unusable)?);
    }
    Ok(Checks { disk: chosen, partitions, firmware: hardware.firmware, tools })
}

fn check_wipe(disk: &Disk, wipe: Wipe) -> Result<(), PreflightError> {
    let refuse = |mode, instead| {
        let transport = disk.transport.clone().unwrap_or_else(|| "unknown transport".to_owned());
        Err(PreflightError::Wipe { mode, disk: disk.path.clone(), transport, instead })
    };
    match wipe {
        Wipe::Discard if !disk.discards => refuse("discard", "wipe: metadata"),
        Wipe::SecureErase if disk.transport.as_deref() != Some("nvme") => {
            refuse("secure-erase", "wipe: discard, or the drive maker's own tool")
        }
        Wipe::None | Wipe::Metadata | Wipe::Discard | Wipe::SecureErase => Ok(()),
    }
}

/// Whether the image has room: at least its stored bytes, or the unpacked ones where it names them.
fn check_room(checks: &Checks, kind: ImageKind, manifest: &Manifest) -> Result<(), PreflightError> {
    let needs = manifest.unpacked.unwrap_or(0).max(manifest.stored());
    let (has, place) = if kind == ImageKind::Disk {
        (checks.disk.size_bytes, checks.disk.path.clone())
    } else {
        let holds_files = |partition: &&SolvedPartition| {
            partition.mountpoint.is_some() && !matches!(partition.format, Format::Swap | Format::Raw)
        };
        let has = checks.partitions.iter().filter(holds_files).map(|partition| partition.size_bytes).sum();
        (has, format!("the layout's filesystems on {}", checks.disk.path))
    };
    if needs > has { Err(PreflightError::TooLarge { needs, has, place }) } else { Ok(()) }
}

/// Checks everything and records the chosen disk.
pub fn run(handoff: &Handoff, runner: &mut dyn Runner, hardware: &Hardware) -> Result<(), PreflightError> {
    let disks = lsblk::disks(runner)?;
    let checks = plan(handoff, disks, hardware)?;
    let disk = &checks.disk;
    runner.say(&format!(
        "target disk: {} {} {}",
        disk.path,
        size::human(disk.size_bytes),
        disk.by_id.as_deref().or(disk.serial.as_deref()).unwrap_or("without a serial number")
    ));
    let small = |partition| crate::partition::small_esp(partition, disk.sector_bytes);
    checks.partitions.iter().filter_map(small).for_each(|warning| runner.say(&warning));
    let image = handoff.image()?;
    let proxy = handoff.job.proxy_for(&image.registry);
    let site_ca = handoff.site_ca()?;
    let registry = Registry::new(image, handoff.token()?, site_ca.as_deref(), proxy)?;
    let manifest = registry.manifest(&image.digest)?;
    let refuse = |source| PreflightError::Image {
        repository: image.repository.clone(),
        digest: image.digest.clone(),
        source,
    };
    manifest.check_kind(image.kind).map_err(refuse)?;
    for layer in &manifest.layers {
        registry.has_blob(&layer.digest, layer.size)?;
    }
    check_room(&checks, image.kind, &manifest)?;
    for (repository, digest) in &checks.tools {
        let tool = TaskImage { repository: repository.clone(), ..image.clone() };
        let registry = Registry::new(&tool, handoff.token()?, site_ca.as_deref(), proxy)?;
        registry.has_manifest(digest)?;
    }
    runner.say(&format!(
        "image: {}@{} readable, {} layer(s), {} stored",
        image.repository,
        image.digest,
        manifest.layers.len(),
        size::human(manifest.stored())
    ));
    handoff.write_disk(disk)?;
    Ok(())
}

impl Checks {
    /// The checks as a shell transcript.
    pub fn transcript(&self, handoff: &Handoff) -> String {
        let mut text = format!(
            "# target disk: {} ({} bytes, sectors of {}), boots by {}\n",
            self.disk.path,
            self.disk.size_bytes,
            self.disk.sector_bytes,
            if self.firmware == Firmware::Uefi { "UEFI" } else { "BIOS" }
        );
        for partition in &self.partitions {
            let _ = writeln!(
                text,
                "# partition {}: {} at byte {} for {:?}",
                partition.number,
                size::human(partition.size_bytes),
                partition.start_bytes,
                partition.role
            );
        }
        if let Some(image) = &handoff.job.image {
            let base = format!("{}/v2", image.registry);
            let mut head = |repository: &str, what: &str| {
                let _ = writeln!(
                    text,
                    "curl --fail --head --header \"Authorization: Bearer $(cat token)\" {base}/{repository}/{what}"
                );
            };
            head(&image.repository, &format!("manifests/{}", image.digest));
            head(&image.repository, "blobs/<each layer of the manifest>");
            for (repository, digest) in &self.tools {
                head(repository, &format!("manifests/{digest}"));
            }
        }
        text
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
