//! Rules for `partition_layout`: each partition by itself, then all of them on the largest disk allowed.

use std::collections::BTreeSet;

use super::targets::role;
use super::{Faults, LINUX, text};
use crate::layout::{CONFIG_DRIVE_LABEL, DiskGeometry, LayoutError, LayoutPlan, Role, type_guid};
use crate::recipe::{DiskChoice, Format, Partition, Recipe};
use crate::size;

/// Most partitions in a layout.
const PARTITIONS_MAX: usize = 64;
/// The disk a layout is tried on when the recipe bounds none: larger than any.
const ENDLESS: u64 = 1 << 62;

pub(super) fn check(recipe: &Recipe, faults: &mut Faults) {
    let Some(layout) = &recipe.partition_layout else { return };
    let before = faults.count();
    faults.unless(!layout.is_empty(), "/partition_layout", "minItems", "must have at least 1 entry");
    faults.unless(
        layout.len() <= PARTITIONS_MAX,
        "/partition_layout",
        "maxItems",
        "must have at most 64 entries",
    );
    let plan = LayoutPlan::from_recipe(recipe);
    let mut mounted = BTreeSet::new();
    for (partition, at) in layout.iter().take(PARTITIONS_MAX).zip(0..) {
        let path = format!("/partition_layout/{at}");
        size_and_type(partition, &path, faults);
        label(partition, plan.config_drive, &path, faults);
        mountpoint(partition, &recipe.task_target, &path, faults);
        formats(partition, &path, faults);
        if let Some(place) = partition.mountpoint.as_deref().filter(|place| !mounted.insert(*place)) {
            // Two / have a message of their own.
            faults.unless(
                place == "/",
                format!("{path}/mountpoint"),
                "layout.mount_twice",
                "another partition is mounted here too",
            );
        }
    }
    if faults.count() == before {
        whole(recipe, &plan, faults);
    }
}

fn size_and_type(partition: &Partition, path: &str, faults: &mut Faults) {
    let size = partition.size.as_str();
    let percent = size.strip_suffix('%').is_some_and(|number| {
        number == "100"
            || ((1..=2).contains(&number.len())
                && !number.starts_with('0')
                && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if size != "rest" && !percent && !text::bytes(size) {
        faults.add(format!("{path}/size"), "pattern", "write a size as 512M, 10GiB, 25%, 100% or rest");
    } else if let Err(error) = size.parse::<size::Size>() {
        faults.add(format!("{path}/size"), "size.too_large", error.to_string());
    }
    if !text::type_guid(&partition.type_guid) {
        let message = "write an sgdisk code of four hex digits, such as 8304, or a GUID";
        faults.add(format!("{path}/type_guid"), "pattern", message);
    } else if type_guid::resolve(&partition.type_guid).is_none() {
        let message = format!(
            "{} is no known code: use a GUID or one of {}",
            partition.type_guid,
            type_guid::known_codes()
        );
        faults.add(format!("{path}/type_guid"), "layout.unknown_type", message);
    }
}

fn label(partition: &Partition, config_drive: bool, path: &str, faults: &mut Faults) {
    let Some(label) = &partition.label else { return };
    let path = format!("{path}/label");
    if !text::label(label) {
        let message = "write a label of at most 36 letters, digits, blanks and . _ + -, beginning with a letter or digit";
        return faults.add(path, "pattern", message);
    }
    let format = partition.format.unwrap_or_default();
    let limit = label_limit(format);
    if label.len() > limit {
        let (name, length) = (format_name(format), label.len());
        let message = format!("the label has {length} characters: {name} holds at most {limit}");
        return faults.add(path, "label.too_long", message);
    }
    if config_drive && label.eq_ignore_ascii_case(CONFIG_DRIVE_LABEL) {
        let message = "CIDATA is the config drive's label, and this recipe makes one: choose another";
        faults.add(path, "label.reserved", message);
    }
}

/// Longest filesystem label in characters; a GPT name holds 36.
fn label_limit(format: Format) -> usize {
    match format {
        Format::Vfat => 11,
        Format::Ext4 => 16,
        Format::Xfs => 12,
        Format::Ntfs => 32,
        Format::Swap => 15,
        Format::Btrfs | Format::Raw => 36,
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Vfat => "vfat",
        Format::Ext4 => "ext4",
        Format::Xfs => "xfs",
        Format::Btrfs => "btrfs",
        Format::Ntfs => "ntfs",
        Format::Swap => "swap",
        Format::Raw => "raw",
    }
}

fn mountpoint(partition: &Partition, target: &str, path: &str, faults: &mut Faults) {
    let Some(mountpoint) = &partition.mountpoint else { return };
    let path = format!("{path}/mountpoint");
    if !text::mountpoint(mountpoint) {
        let message =
            "write an absolute path such as / or /boot/efi, without . or .. and without a slash at the end";
        return faults.add(path, "pattern", message);
    }
    let format = partition.format.unwrap_or_default();
    let name = format_name(format);
    if matches!(format, Format::Swap | Format::Raw) {
        let message = format!(
            "a partition with format {name} cannot be mounted: give it a filesystem or no mountpoint"
        );
        faults.add(path, "layout.mount_format", message);
    } else if mountpoint == "/" && target == LINUX && matches!(format, Format::Vfat | Format::Ntfs) {
        let message = format!("Linux cannot be installed on {name}: use ext4, xfs or btrfs for /");
        faults.add(path, "layout.root_format", message);
    }
}

fn formats(partition: &Partition, path: &str, faults: &mut Faults) {
    let format = partition.format.unwrap_or_default();
    let path = format!("{path}/format");
    match role(partition) {
        Some(Role::Esp) if format != Format::Vfat => {
            faults.add(
                path,
                "layout.esp_format",
                "firmware reads an EFI system partition only as vfat: set format to vfat",
            );
        }
        Some(Role::BiosBoot) if format != Format::Raw => {
            faults.add(path, "layout.bios_format", "GRUB writes its core image into ef02: leave format out");
        }
        _ => {}
    }
}

/// The layout as a whole, on the largest disk the recipe allows: what does not fit there fits nowhere.
fn whole(recipe: &Recipe, plan: &LayoutPlan, faults: &mut Faults) {
    let bound = match &recipe.target_disk {
        Some(DiskChoice::Hints(hints)) => hints.max_size.as_deref().and_then(|max| size::absolute(max).ok()),
        _ => None,
    };
    let geometry = DiskGeometry { size_bytes: bound.unwrap_or(ENDLESS).min(ENDLESS), sector_bytes: 512 };
    let Err(error) = plan.solve(geometry) else { return };
    let at = |number: u32| format!("/partition_layout/{}/size", number.saturating_sub(1));
    let message = error.to_string();
    match error {
        LayoutError::TwoRests { second, .. } => faults.add(at(second), "layout.two_rests", message),
        LayoutError::PercentOver { .. } => faults.add("/partition_layout", "layout.percent", message),
        LayoutError::DiskTooSmall { .. } => faults.add("/partition_layout", "layout.sum", message),
        LayoutError::TooSmall { number, .. } => faults.add(at(number), "layout.too_small", message),
        LayoutError::Size { number, .. } => faults.add(at(number), "layout.size", message),
        LayoutError::UnknownType { .. }
        | LayoutError::SectorSize { .. }
        | LayoutError::NoEsp
        | LayoutError::NoBiosBoot => faults.add("/partition_layout", "layout.impossible", message),
    }
}
