//! The solver. Fixed sizes come first, then percentages of what they leave, then the one `rest`,
//! whatever their order in the list; on the disk they keep the order of the list.
//!
//! ```text
//!  0        1 MiB                                              floor(last usable)   size
//!  │ MBR,GPT │ 1 │    2    │        3 (rest)        │ CIDATA │         GPT backup    │
//! ```

use super::{
    CONFIG_DRIVE_BYTES, CONFIG_DRIVE_LABEL, DiskGeometry, LayoutError, Role, SolvedPartition, type_guid,
};
use crate::recipe::{Format, Partition};
use crate::size::{MIB, Size};

/// Bytes that the entries of a GPT with 128 partitions take, at each end of the disk.
const GPT_ENTRIES_BYTES: u64 = 128 * 128;
/// Smallest filesystem that mkfs.xfs makes.
const XFS_MINIMUM: u64 = 300 * MIB;
/// Smallest filesystem that mkfs.btrfs makes with its defaults, rounded up.
const BTRFS_MINIMUM: u64 = 128 * MIB;

/// What is made besides the partitions of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// A config drive of [`CONFIG_DRIVE_BYTES`] at the very end.
    pub config_drive: bool,
}

/// Byte ranges for the partitions on a disk of that geometry: aligned to 1 MiB, without overlap, in
/// list order, numbered from 1; the config drive comes last. Fixed sizes are rounded up to whole MiB,
/// percentages down.
pub fn solve(
    partitions: &[Partition],
    geometry: DiskGeometry,
    extras: Extras,
) -> Result<Vec<SolvedPartition>, LayoutError> {
    let end = usable_end(geometry)?;
    let reserved = if extras.config_drive { CONFIG_DRIVE_BYTES } else { 0 };
    let wanted = read_sizes(partitions)?;
    let sizes = share_out(&wanted, reserved, end.saturating_sub(MIB), geometry)?;

    let mut solved = Vec::with_capacity(partitions.len() + 1);
    let mut start = MIB;
    for ((partition, size), number) in partitions.iter().zip(sizes).zip(1..) {
        solved.push(place(partition, number, start, size)?);
        start += size;
    }
    if extras.config_drive {
        solved.push(config_drive(number_after(solved.len()), end - CONFIG_DRIVE_BYTES));
    }
    Ok(solved)
}

/// First byte that no partition may take: the backup GPT starts there or later.
fn usable_end(geometry: DiskGeometry) -> Result<u64, LayoutError> {
    let DiskGeometry { size_bytes, sector_bytes } = geometry;
    if !matches!(sector_bytes, 512 | 4096) {
        return Err(LayoutError::SectorSize { sector_bytes });
    }
    let backup = GPT_ENTRIES_BYTES + u64::from(sector_bytes);
    let whole_sectors = size_bytes / u64::from(sector_bytes) * u64::from(sector_bytes);
    Ok(whole_sectors.saturating_sub(backup) / MIB * MIB)
}

fn read_sizes(partitions: &[Partition]) -> Result<Vec<Size>, LayoutError> {
    let read = |(partition, number): (&Partition, u32)| {
        partition.size.parse().map_err(|source| LayoutError::Size { number, source })
    };
    let wanted: Vec<Size> = partitions.iter().zip(1..).map(read).collect::<Result<_, _>>()?;
    let mut rests = wanted.iter().zip(1..).filter(|(size, _)| **size == Size::Rest).map(|(_, number)| number);
    if let (Some(first), Some(second)) = (rests.next(), rests.next()) {
        return Err(LayoutError::TwoRests { first, second });
    }
    let percent = |size: &Size| if let Size::Percent(percent) = size { u32::from(*percent) } else { 0 };
    let sum = wanted.iter().map(percent).sum();
    if sum > 100 { Err(LayoutError::PercentOver { sum }) } else { Ok(wanted) }
}

fn share_out(
    wanted: &[Size],
    reserved: u64,
    available: u64,
    geometry: DiskGeometry,
) -> Result<Vec<u64>, LayoutError> {
    let fixed = |size: &Size| if let Size::Bytes(bytes) = size { round_up(*bytes) } else { 0 };
    let needed = wanted.iter().map(fixed).fold(reserved, u64::saturating_add);
    let left = available.checked_sub(needed).ok_or(LayoutError::DiskTooSmall {
        needed,
        available,
        disk: geometry.size_bytes,
    })?;
    let percent = |percent: u8| u128::from(left) * u128::from(percent) / 100;
    let floor = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX) / MIB * MIB;
    let given: u64 =
        wanted.iter().map(|size| if let Size::Percent(n) = size { floor(percent(*n)) } else { 0 }).sum();
    let size_of = |size: &Size| match size {
        Size::Bytes(_) => fixed(size),
        Size::Percent(n) => floor(percent(*n)),
        Size::Rest => left - given,
    };
    Ok(wanted.iter().map(size_of).collect())
}

fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(MIB).unwrap_or(u64::MAX)
}

fn place(partition: &Partition, number: u32, start: u64, size: u64) -> Result<SolvedPartition, LayoutError> {
    let format = partition.format.unwrap_or_default();
    let minimum = smallest(format);
    if size < minimum {
        return Err(LayoutError::TooSmall { number, size, minimum });
    }
    let type_guid = type_guid::resolve(&partition.type_guid)
        .ok_or_else(|| LayoutError::UnknownType { number, code: partition.type_guid.clone() })?;
    let role = role(&type_guid, format, partition.mountpoint.as_deref());
    let name = partition.label.clone().unwrap_or_else(|| default_name(role).to_owned());
    Ok(SolvedPartition {
        number,
        start_bytes: start,
        size_bytes: size,
        type_guid,
        name,
        format,
        label: partition.label.clone(),
        mountpoint: partition.mountpoint.clone(),
        role,
    })
}

fn smallest(format: Format) -> u64 {
    match format {
        Format::Xfs => XFS_MINIMUM,
        Format::Btrfs => BTRFS_MINIMUM,
        Format::Vfat | Format::Ext4 | Format::Ntfs | Format::Swap | Format::Raw => MIB,
    }
}

/// What a partition of that type, format and mountpoint is for.
pub(crate) fn role(type_guid: &str, format: Format, mountpoint: Option<&str>) -> Role {
    match type_guid {
        type_guid::ESP => Role::Esp,
        type_guid::BIOS_BOOT => Role::BiosBoot,
        type_guid::MSR => Role::Msr,
        _ if mountpoint == Some("/") => Role::Root,
        type_guid::SWAP => Role::Swap,
        _ if format == Format::Swap => Role::Swap,
        _ => Role::Data,
    }
}

fn default_name(role: Role) -> &'static str {
    match role {
        Role::Esp => "EFI system",
        Role::BiosBoot => "BIOS boot",
        Role::Root => "root",
        Role::Swap => "swap",
        Role::Msr => "Microsoft reserved",
        Role::ConfigDrive => CONFIG_DRIVE_LABEL,
        Role::Data => "data",
    }
}

fn config_drive(number: u32, start: u64) -> SolvedPartition {
    SolvedPartition {
        number,
        start_bytes: start,
        size_bytes: CONFIG_DRIVE_BYTES,
        type_guid: type_guid::BASIC_DATA.to_owned(),
        name: CONFIG_DRIVE_LABEL.to_owned(),
        format: Format::Vfat,
        label: Some(CONFIG_DRIVE_LABEL.to_owned()),
        mountpoint: None,
        role: Role::ConfigDrive,
    }
}

fn number_after(made: usize) -> u32 {
    u32::try_from(made).unwrap_or(u32::MAX).saturating_add(1)
}
