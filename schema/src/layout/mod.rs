//! Disk layouts: from the sizes a recipe asks for to byte ranges on a real disk. Pure; nothing here
//! opens a disk, and nothing here knows which program writes the table.
//!
//! ```text
//!   Recipe ──▶ LayoutPlan (layout.json) ──solve(geometry)──▶ [SolvedPartition] (partitions.json)
//!                                                              │
//!                                                              └──▶ fits_firmware(UEFI | BIOS)
//! ```

mod solve;
pub mod type_guid;

use serde::{Deserialize, Serialize};

pub(crate) use self::solve::role;
pub use self::solve::{Extras, solve};
use crate::recipe::{Format, Partition, Recipe};
use crate::size::{self, MIB, SizeError};

/// Size of the config drive in bytes.
pub const CONFIG_DRIVE_BYTES: u64 = 16 * MIB;
/// Filesystem label and GPT name of the config drive, as cloud-init's NoCloud looks for it.
pub const CONFIG_DRIVE_LABEL: &str = "CIDATA";
/// The target that brings a layout of its own.
const WINDOWS_TARGET: &str = "install-windows.target";

/// What is to be on the disk, before anybody knows how large it is. Travels as `layout.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutPlan {
    /// The partitions in disk order; empty where a whole-disk image brings its own.
    pub partitions: Vec<Partition>,
    /// Whether a [`CONFIG_DRIVE_LABEL`] partition is made at the end of the disk.
    pub config_drive: bool,
}

impl LayoutPlan {
    /// The plan of a recipe: its own partitions, or the default of its target, and a config drive where
    /// the recipe brings cloud-init data.
    pub fn from_recipe(recipe: &Recipe) -> Self {
        let partitions = match &recipe.partition_layout {
            Some(partitions) => partitions.clone(),
            None if recipe.task_target == WINDOWS_TARGET => windows_default(),
            None => Vec::new(),
        };
        let config_drive =
            recipe.user_data.is_some() || recipe.meta_data.is_some() || recipe.network_config.is_some();
        Self { partitions, config_drive }
    }

    /// What is made besides the partitions listed.
    pub fn extras(&self) -> Extras {
        Extras { config_drive: self.config_drive }
    }

    /// Byte ranges of this plan on a disk of that geometry.
    pub fn solve(&self, geometry: DiskGeometry) -> Result<Vec<SolvedPartition>, LayoutError> {
        solve(&self.partitions, geometry, self.extras())
    }
}

/// Layout of a Windows installation that names none: ESP 300 MiB, MSR 16 MiB, NTFS on the rest.
pub fn windows_default() -> Vec<Partition> {
    let partition = |size: &str, type_guid: &str, format, label: Option<&str>| Partition {
        size: size.to_owned(),
        type_guid: type_guid.to_owned(),
        format: Some(format),
        label: label.map(str::to_owned),
        mountpoint: None,
    };
    vec![
        partition("300M", "ef00", Format::Vfat, Some("SYSTEM")),
        partition("16M", "0c01", Format::Raw, None),
        partition("rest", "0700", Format::Ntfs, Some("Windows")),
    ]
}

/// Size of a disk, as the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskGeometry {
    /// Whole size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_bytes: u32,
}

/// A partition with its place on the disk. The list of them travels as `partitions.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SolvedPartition {
    /// Number in the table, from 1, in disk order.
    pub number: u32,
    /// First byte; a multiple of 1 MiB.
    pub start_bytes: u64,
    /// Length in bytes; a multiple of 1 MiB.
    pub size_bytes: u64,
    /// Partition type, a full GUID in upper case.
    pub type_guid: String,
    /// Name in the GPT, at most 36 characters.
    pub name: String,
    /// What is made on it.
    pub format: Format,
    /// Filesystem label, when one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where it is mounted in the installed system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// What it is for.
    pub role: Role,
}

impl SolvedPartition {
    /// First byte after it.
    pub fn end_bytes(&self) -> u64 {
        self.start_bytes + self.size_bytes
    }

    /// Its first sector, on a disk with sectors of that many bytes.
    pub fn first_sector(&self, sector_bytes: u32) -> u64 {
        self.start_bytes / u64::from(sector_bytes.max(1))
    }

    /// Its last sector (inclusive), on a disk with sectors of that many bytes.
    pub fn last_sector(&self, sector_bytes: u32) -> u64 {
        self.end_bytes() / u64::from(sector_bytes.max(1)) - 1
    }
}

/// What a partition is for, read off its type, format and mountpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// EFI system partition.
    Esp,
    /// Where GRUB's core image lives on BIOS machines (ef02).
    BiosBoot,
    /// The installed system's `/`.
    Root,
    /// Swap space.
    Swap,
    /// Microsoft reserved.
    Msr,
    /// The cloud-init config drive.
    ConfigDrive,
    /// Anything else.
    Data,
}

/// How a machine's firmware boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// From an EFI system partition.
    Uefi,
    /// From the boot sector.
    Bios,
}

/// Whether a machine with that firmware can boot from this layout. Not for whole-disk images, whose
/// partitions nobody here has seen.
pub fn fits_firmware(layout: &[SolvedPartition], firmware: Firmware) -> Result<(), LayoutError> {
    let has = |role| layout.iter().any(|partition| partition.role == role);
    match firmware {
        Firmware::Uefi if !has(Role::Esp) => Err(LayoutError::NoEsp),
        Firmware::Bios if !has(Role::BiosBoot) => Err(LayoutError::NoBiosBoot),
        Firmware::Uefi | Firmware::Bios => Ok(()),
    }
}

/// Why a layout cannot be made. Partitions are named by their number, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A size that cannot be read.
    #[error("reading the size of partition {number}")]
    Size {
        /// The partition.
        number: u32,
        /// What is wrong with the size.
        #[source]
        source: SizeError,
    },
    /// A type that is neither a GUID nor a known alias.
    #[error(
        "partition {number} has the type {code:?}, which is neither a GUID nor a known code: use one of {}",
        type_guid::known_codes()
    )]
    UnknownType {
        /// The partition.
        number: u32,
        /// The type as given.
        code: String,
    },
    /// A sector size no partition table can be made for.
    #[error(
        "the disk has sectors of {sector_bytes} bytes: only 512 and 4096 can be partitioned; reformat the drive"
    )]
    SectorSize {
        /// Bytes in a sector.
        sector_bytes: u32,
    },
    /// The fixed sizes are more than the disk holds.
    #[error(
        "the fixed partitions need {} ({needed} bytes) but the disk of {} has {} ({available} bytes) to give: make them smaller or choose a larger disk",
        size::human(*needed), size::human(*disk), size::human(*available)
    )]
    DiskTooSmall {
        /// Bytes of the fixed partitions, aligned, with the config drive.
        needed: u64,
        /// Bytes that partitions may take.
        available: u64,
        /// Bytes of the whole disk.
        disk: u64,
    },
    /// Two partitions want all that remains.
    #[error("partitions {first} and {second} both want all that remains: give one of them a size")]
    TwoRests {
        /// The first of them.
        first: u32,
        /// The second of them.
        second: u32,
    },
    /// Percentages over the whole.
    #[error("the percentages add up to {sum}%: at most 100% of what the fixed sizes leave can be given out")]
    PercentOver {
        /// Their sum.
        sum: u32,
    },
    /// A partition that would get less than 1 MiB, or less than its filesystem needs.
    #[error(
        "partition {number} would get {} ({size} bytes) but needs at least {}: give it more, make the others smaller or choose a larger disk",
        size::human(*size), size::human(*minimum)
    )]
    TooSmall {
        /// The partition.
        number: u32,
        /// Bytes it would get.
        size: u64,
        /// Bytes it needs.
        minimum: u64,
    },
    /// UEFI firmware finds nothing to boot.
    #[error(
        "the machine boots by UEFI but the layout has no EFI system partition: add {{\"size\":\"512M\",\"type_guid\":\"ef00\",\"format\":\"vfat\",\"mountpoint\":\"/boot/efi\"}} or switch the machine to BIOS"
    )]
    NoEsp,
    /// BIOS firmware finds nothing to boot.
    #[error(
        "the machine boots by BIOS but the layout has no BIOS boot partition: add {{\"size\":\"1M\",\"type_guid\":\"ef02\"}} or switch the machine to UEFI"
    )]
    NoBiosBoot,
}

#[cfg(test)]
mod tests;
